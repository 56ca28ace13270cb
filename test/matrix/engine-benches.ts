import { type AppRequest, fakeApp, until } from "../../src/testing/index.ts";
import { complete, count, ScriptedWorker, schedule } from "../scenario/workflow-fixture.ts";
import type { Bench } from "./rig.ts";

/** `seller` publishes to `shop`, and gets what `shop` did not take. */
const deliver: Bench = {
  block: "deliver",
  target: "{ kind: Component, name: pubsub }",
  operation: "deliver",
  async open(plan) {
    const taken = new Set<number>();
    const dead = new Set<number>();
    const idOf = (request: AppRequest): number => (request.json() as { data: { id: number } }).data.id;
    const subscription = { pubsubname: "pubsub", topic: "orders", route: "/orders", deadLetterTopic: "dead" };
    const app = await fakeApp({
      subscriptions: [subscription],
      handlers: {
        async "POST /orders"(request) {
          const isGood = await plan.next();
          if (isGood) taken.add(idOf(request));
          return { status: isGood ? 200 : 503 };
        },
      },
    });
    const seller = await fakeApp({
      subscriptions: [{ pubsubname: "pubsub", topic: "dead", route: "/dead" }],
      handlers: { "POST /dead": (request) => void dead.add(idOf(request)) },
    });
    let next = 0;
    return {
      apps: [
        { appId: "shop", app },
        { appId: "seller", app: seller },
      ],
      resources: "",
      start: async (mecha) => async () => {
        const id = next++;
        await mecha.http("seller", "POST /v1.0/publish/pubsub/orders", { body: { id } });
        await until(() => taken.has(id) || dead.has(id), "the event to be handled");
        return { isGood: taken.has(id), text: "" };
      },
      async close() {
        await app.close();
        await seller.close();
      },
    };
  },
};

const actor: Bench = {
  block: "actor",
  target: "{ kind: ActorType, name: Cat }",
  operation: "invoke",
  async open(plan) {
    const otherwise = async ({ target }: { target: string }) => {
      if (!target.includes("/method/")) return {};
      return (await plan.next()) ? { body: "done" } : { status: 503, body: "broken" };
    };
    const app = await fakeApp({ config: { entities: ["Cat"] }, otherwise });
    let next = 0;
    return {
      apps: [{ appId: "shop", app }],
      resources: "",
      async start(mecha) {
        const isReady = async () => (await mecha.http("shop", "GET /v1.0/healthz")).status === 204;
        await until(isReady, "the host of actors");
        return async () => {
          const { status, text } = await mecha.http("shop", `PUT /v1.0/actors/Cat/tom${next++}/method/feed`);
          return { isGood: status === 200, text };
        };
      },
      close: () => app.close(),
    };
  },
};

const step: Bench = {
  block: "workflow step",
  target: "{ kind: Activity, name: pay }",
  operation: "schedule",
  async open(plan) {
    let worker: ScriptedWorker | undefined;
    let next = 0;
    return {
      apps: [{ appId: "shop" }],
      resources: "",
      async start(mecha) {
        const { grpc } = mecha.ports("shop");
        worker = new ScriptedWorker(grpc, {
          workflow(events) {
            if (count(events, "taskCompleted") > 0) return [complete(1, '"done"')];
            const failed = events.find(({ eventType }) => eventType.case === "taskFailed")?.eventType;
            if (failed?.case !== "taskFailed") return [schedule(0, "pay")];
            return [complete(1, JSON.stringify(`failed: ${failed.value.failureDetails?.errorMessage}`))];
          },
          async activity() {
            if (!(await plan.next())) throw new Error("broken");
            return '"done"';
          },
        });
        return async () => {
          const id = `w${next++}`;
          await mecha.http("shop", `POST /v1.0/workflows/dapr/pays/start?instanceID=${id}`);
          let text = "";
          await until(async () => {
            const status = (await mecha.http("shop", `GET /v1.0/workflows/dapr/${id}`)).text;
            text = /failed: [^"\\]*|done/.exec(status)?.[0] ?? "";
            return status.includes("COMPLETED");
          }, "the workflow to end");
          return { isGood: text === "done", text };
        };
      },
      close: () => worker?.close(),
    };
  },
};

/** A try of it is a start that a worker hears of. */
const workflow: Bench = {
  block: "workflow",
  target: "{ kind: Workflow, name: pays }",
  operation: "start",
  async open(plan) {
    let worker: ScriptedWorker | undefined;
    return {
      apps: [{ appId: "shop" }],
      resources: "",
      async start(mecha) {
        worker = new ScriptedWorker(mecha.ports("shop").grpc, {
          workflow() {
            void plan.next();
            return [complete(1, '"done"')];
          },
        });
        return async () => {
          const { status, text } = await mecha.http("shop", "POST /v1.0/workflows/dapr/pays/start");
          return { isGood: status === 202, text };
        };
      },
      close: () => worker?.close(),
    };
  },
};

export const engineBenches: readonly Bench[] = [deliver, actor, workflow, step];

import { expect } from "bun:test";
import { until } from "../../src/testing/index.ts";
import { trafficPolicy } from "../scenario/traffic-fixture.ts";
import type { BlockName, PolicyName } from "./cells.ts";
import type { Bench, Rig } from "./rig.ts";

export interface Proof {
  /** The resources beside the bench's own. */
  policy(bench: Bench): string;
  prove(rig: Rig, bench: Bench): Promise<void>;
}

function traffic(blocks: (bench: Bench) => string): Proof["policy"] {
  return (bench) =>
    trafficPolicy("matrix", `{ targetRefs: [ ${bench.target} ], from: [ { app: shop } ], ${blocks(bench)} }`);
}

/** Where a caller gets a body that a policy can write; elsewhere it is the text of the failure. */
const withBody: readonly BlockName[] = ["invoke HTTP", "invoke gRPC", "HTTPRoute", "AppVersion", "Gateway"];

async function failsSoMany(rig: Rig, times: number): Promise<void> {
  for (let i = 0; i < times; i++) expect((await rig.use()).isGood).toBe(false);
}

export const proofs = {
  "fault.delay": {
    policy: traffic(() => "fault: { delay: { percentage: 100, fixedDelay: 20ms } }"),
    async prove(rig) {
      expect((await rig.use()).isGood).toBe(true);
      expect(await rig.did("delay")).toBe(1);
      expect(rig.plan.tries).toBe(1);
    },
  },
  "fault.abort": {
    policy: traffic(() => "fault: { abort: { percentage: 100, error: chaos } }"),
    async prove(rig) {
      expect((await rig.use()).isGood).toBe(false);
      expect(await rig.did("abort")).toBeGreaterThan(0);
      expect(rig.plan.tries).toBe(0);
    },
  },
  retries: {
    policy: traffic(() => "retries: { attempts: 2, retryOn: '5xx,unavailable', backoff: 1ms }"),
    async prove(rig) {
      rig.plan.fail(2);
      expect((await rig.use()).isGood).toBe(true);
      expect(await rig.did("retry")).toBe(2);
      expect(rig.plan.tries).toBe(3);
    },
  },
  retryBudget: {
    policy: traffic(
      () =>
        "retries: { retryOn: '5xx,unavailable', backoff: 1ms }, retryBudget: { percent: 0, minRetryConcurrency: 0 }",
    ),
    async prove(rig) {
      rig.plan.fail(1);
      expect((await rig.use()).isGood).toBe(false);
      expect(await rig.did("over-budget")).toBe(1);
      expect(await rig.did("retry")).toBe(0);
    },
  },
  circuitBreaker: {
    policy: traffic(() => "circuitBreaker: { timeout: 1h }"),
    async prove(rig) {
      rig.plan.fail(6);
      await failsSoMany(rig, 6);
      // A step is put off, so nobody waits for its end.
      rig.use().catch(() => {});
      await until(async () => (await rig.did("rejected")) > 0, "the breaker to refuse");
      expect(await rig.did("open")).toBe(1);
      expect(rig.plan.tries).toBe(6);
    },
  },
  hedging: {
    policy: traffic(({ operation }) => `hedging: { delay: 20ms, methods: [ ${operation} ] }`),
    async prove(rig) {
      rig.plan.hang(1);
      expect((await rig.use()).isGood).toBe(true);
      expect(await rig.did("hedge-won")).toBe(1);
      expect(rig.plan.tries).toBe(2);
    },
  },
  fallback: {
    policy: traffic(({ block }) => {
      const status = withBody.includes(block) ? 200 : 418;
      return `fallback: { on: [ 5xx ], directResponse: { status: ${status}, body: instead } }`;
    }),
    async prove(rig, { block }) {
      rig.plan.fail(1);
      const { isGood, text } = await rig.use();
      expect(text).toContain("instead");
      expect(isGood).toBe(withBody.includes(block));
      expect(await rig.did("direct-response")).toBe(1);
    },
  },
  adaptiveConcurrency: {
    policy: traffic(() => "adaptiveConcurrency: { minRttCalcParams: { minConcurrency: 1 } }"),
    async prove(rig) {
      rig.plan.hang(1);
      const first = rig.use();
      await until(() => rig.plan.tries === 1, "the first use to be under way");
      expect((await rig.use()).isGood).toBe(false);
      expect(await rig.did("rejected")).toBeGreaterThan(0);
      expect(rig.plan.tries).toBe(1);
      rig.plan.release();
      expect((await first).isGood).toBe(true);
    },
  },
  admissionControl: {
    policy: traffic(() => "admissionControl: { srThreshold: 100 }"),
    async prove(rig) {
      rig.plan.fail(Number.POSITIVE_INFINITY);
      let uses = 0;
      while ((await rig.did("rejected")) === 0 && uses < 60) {
        expect((await rig.use()).isGood).toBe(false);
        uses++;
      }
      expect(await rig.did("rejected")).toBeGreaterThan(0);
    },
  },
  cache: {
    policy: traffic(() => "cache: { ttl: 1h }"),
    async prove(rig) {
      for (const _time of [1, 2]) expect((await rig.use()).text).toBe("done");
      expect(rig.plan.tries).toBe(1);
    },
  },
  collapse: {
    policy: traffic(() => "collapse: {}"),
    async prove(rig) {
      rig.plan.hang(1);
      const uses = [rig.use(), rig.use()];
      await until(() => rig.plan.tries === 1, "the first use to be under way");
      // Both have come in when another call, sent after them, has been answered.
      await rig.mecha.http("shop", "GET /v1.0/healthz");
      rig.plan.release();
      for (const { text } of await Promise.all(uses)) expect(text).toBe("done");
      expect(rig.plan.tries).toBe(1);
    },
  },
  AuthorizationPolicy: {
    policy({ block, target }) {
      const verbs: Partial<Record<BlockName, string>> = { publish: "publish", deliver: "subscribe" };
      const verb = verbs[block];
      const rule = verb === undefined ? "{}" : `{ to: [ { operation: { verbs: [ ${verb} ] } } ] }`;
      const spec = `{ targetRefs: [ ${target} ], action: DENY, rules: [ ${rule} ] }`;
      return `---
apiVersion: mecha.run/v1alpha1
kind: AuthorizationPolicy
metadata: { name: matrix }
spec: ${spec}
`;
    },
    async prove(rig) {
      rig.use().catch(() => {});
      await until(() => rig.mecha.log().includes("rule 0 of matrix matched"), "the denial");
      expect(rig.plan.tries).toBe(0);
    },
  },
  RateLimit: {
    policy({ block, target }) {
      const inbound: readonly BlockName[] = ["deliver", "binding in", "workflow", "workflow step", "Gateway"];
      const direction = inbound.includes(block) ? "inbound" : "outbound";
      const limits = "[ { requests: 1, per: 1h } ]";
      return `---
apiVersion: mecha.run/v1alpha1
kind: RateLimit
metadata: { name: matrix }
spec: { targetRefs: [ ${target} ], direction: ${direction}, limits: ${limits} }
`;
    },
    async prove(rig) {
      expect((await rig.use()).isGood).toBe(true);
      // An event or a step that is refused is offered again later: nobody waits for its end.
      rig.use().catch(() => {});
      await until(() => rig.mecha.log().includes("rate limit matrix"), "the refusal");
      expect(rig.plan.tries).toBe(1);
    },
  },
} satisfies Record<PolicyName, Proof>;

import { expect, test } from "bun:test";
import { realEdges } from "../../edges/edges.ts";
import { errors } from "../../errors.ts";
import type { Resource } from "../../resource/resource.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { Shape, Use, UseLayer, UseLayerKind, Work } from "./layer.ts";
import { runPlaced, UsePolicies } from "./use-policies.ts";

const { clock, random } = realEdges();
const telemetry = { metrics: createMetrics() } as unknown as Telemetry;
const context = { principal: { appId: "shop", namespace: "" }, telemetry, clock, random };
const use: Use = { operation: "get", names: ["k"], header: () => undefined };
const shape: Shape<string> = {
  answer({ fault }) {
    throw fault;
  },
};

function resource(kind: string, spec: unknown): Resource {
  const source = { file: "x.yaml", line: 1, column: 1 };
  return { apiVersion: "", kind, name: kind, namespace: "", scopes: [], spec, source, at: () => source };
}

/** Writes its name down round what it runs, where state stores are used. */
function noting(name: string, notes: string[], opened: string[] = []): UseLayerKind {
  const layer: UseLayer = {
    run: async <T>(_use: Use, work: Work<T>, { signal }: Shape<T>) => {
      notes.push(`>${name}`);
      const result = await work(signal);
      notes.push(`<${name}`);
      return result;
    },
  };
  return {
    name,
    kinds: [name],
    open() {
      opened.push(name);
      return { at: ({ block }) => (block === "state" ? layer : undefined) };
    },
  };
}

test("UsePolicies has nothing at a place without resources, or where no layer stands", () => {
  const policies = new UsePolicies(context, { outer: [noting("A", [])], inner: [] });
  policies.apply([]);
  expect(policies.at("state", "store")).toBeUndefined();
  policies.apply([resource("A", {})]);
  expect(policies.at("publish", "bus")).toBeUndefined();
  expect(policies.at("state", "store")).toBeDefined();
});

test("UsePolicies runs outer layers round inner ones, each list in its order", async () => {
  const notes: string[] = [];
  const [a, b, c] = ["A", "B", "C"].map((name) => noting(name, notes)) as [
    UseLayerKind,
    UseLayerKind,
    UseLayerKind,
  ];
  const policies = new UsePolicies(context, { outer: [a], inner: [b, c] });
  policies.apply(["A", "B", "C"].map((kind) => resource(kind, {})));
  const placed = policies.at("state", "store");
  expect(await runPlaced({ placed, resilience: undefined }, use, async () => "v", shape)).toBe("v");
  expect(notes.join(" ")).toBe(">A >B >C <C <B <A");
});

test("UsePolicies opens a layer anew only when one of its resources has changed", () => {
  const opened: string[] = [];
  const policies = new UsePolicies(context, {
    outer: [noting("A", [], opened), noting("B", [], opened)],
    inner: [],
  });
  policies.apply([resource("A", { x: 1 }), resource("B", {})]);
  policies.apply([resource("A", { x: 2 }), resource("B", {})]);
  expect(opened.join(" ")).toBe("A B A");
});

test("a layer may answer in the place of the target", async () => {
  const refusing: UseLayer = {
    run: async (_use, _work, { answer }) => answer({ fault: errors.POLICY("no") }),
  };
  const kind: UseLayerKind = { name: "R", kinds: ["R"], open: () => ({ at: () => refusing }) };
  const policies = new UsePolicies(context, { outer: [kind], inner: [] });
  policies.apply([resource("R", {})]);
  const placed = policies.at("state", "store");
  const work = async (): Promise<string> => {
    throw new Error("reached");
  };
  const error = await runPlaced({ placed, resilience: undefined }, use, work, shape).catch((e) => e);
  expect(error.code).toBe("ERR_POLICY");
});

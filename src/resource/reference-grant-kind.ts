import type { FieldReader } from "./field-reader.ts";
import { gatewayGroup, type ReferenceGrantSpec } from "./reference-grant.ts";

const entriesMax = 16;
const sources = ["HTTPRoute", "GRPCRoute", "Gateway"];
/** By group. */
const targets: Readonly<Record<string, readonly string[]>> = {
  "": ["Service", "Secret"],
  "mecha.run": ["App", "AppVersion", "HTTPEndpoint"],
  "dapr.io": ["HTTPEndpoint"],
};

/** Gateway API's ReferenceGrant: what of its namespace others may refer to (docs/guide/routes.md). */
export function readReferenceGrant(spec: FieldReader): ReferenceGrantSpec {
  const from = spec.list("from").map((one) => {
    const read = { group: one.text("group"), kind: one.requiredText("kind") };
    const isMeant = read.group === gatewayGroup && sources.includes(read.kind);
    if (!isMeant) one.warn(`${named(read)} refers to nothing here: known are ${sources.join(", ")}`, "kind");
    return { ...read, namespace: one.requiredText("namespace") };
  });
  const to = spec.list("to").map((one) => {
    const read = { group: one.text("group"), kind: one.requiredText("kind"), name: one.text("name") };
    if (!targets[read.group]?.includes(read.kind)) {
      const known = Object.values(targets).flat();
      one.warn(`nothing refers to ${named(read)}: known are ${[...new Set(known)].join(", ")}`, "kind");
    }
    return read;
  });
  for (const [name, list] of [
    ["from", from],
    ["to", to],
  ] as const) {
    if (list.length === 0) spec.fail(`spec.${name} is missing`, name);
    if (list.length > entriesMax) spec.fail(`spec.${name} has more than ${entriesMax} entries`, name);
  }
  return { from, to };
}

function named({ group, kind }: { group: string; kind: string }): string {
  return group === "" ? kind : `${group}/${kind}`;
}

import type { FieldReader } from "./field-reader.ts";
import type { IdempotencySpec, IdempotencyTarget } from "./resource.ts";

const dayMs = 86_400_000;
const waitDefaultMs = 30_000;
const storedBodyDefault = 256 * 1024;
const storedBodyMax = 4 * 1024 * 1024;
const windowMaxMs = 366 * dayMs;

/** Target kinds of the resource model that are left to later. */
const laterKinds = ["HTTPRoute", "Trigger", "Pipe", "ActorType"];
const kinds = ["App", "Subscription", "Workflow", "Component"] as const;
/** Fields that say something about some kinds of targets only. */
const fieldKinds: Record<string, readonly IdempotencyTarget["kind"][]> = {
  failureStatus: ["App"],
  maxStoredBody: ["App"],
  fingerprint: ["App", "Workflow"],
  atomicWith: ["App", "Subscription"],
};
const laterLanguages = ["jq", "jsonata", "jsonpath", "template"];

/** Once per key: an inbound call or an event is handled once, whatever is repeated (docs/guide/idempotency.md). */
export function readIdempotency(spec: FieldReader): IdempotencySpec {
  const targets = readTargets(spec);
  const mode = readMode(spec, targets);
  checkFields(spec, targets);
  if (spec.raw("store") !== undefined) {
    spec.fail("spec.store is not implemented; remove it: records live in mecha's own store", "store");
  }
  return {
    targets,
    key: readKey(spec),
    scope: spec.oneOf("scope", ["target", "app", "global"], "target"),
    windowMs: readWindow(spec),
    mode,
    inFlight: spec.oneOf("inFlight", ["wait", "reject"], "wait"),
    waitTimeoutMs: spec.duration("waitTimeout", waitDefaultMs),
    onFailure: readOnFailure(spec, targets),
    failureStatus: readFailureStatus(spec),
    fingerprint: spec.oneOf("fingerprint", ["body", "none"], "body"),
    atomicWith: spec.text("atomicWith", "statestore"),
    storedBodyBytesMax: readBytes(spec),
  };
}

function readTargets(spec: FieldReader): IdempotencyTarget[] {
  const targets = spec.list("targetRefs").flatMap((ref): IdempotencyTarget[] => {
    ref.text("group");
    const name = ref.requiredText("name");
    const kind = ref.text("kind");
    const known = kinds.find((one) => one === kind);
    if (known !== undefined) return [{ kind: known, name }];
    if (laterKinds.includes(kind)) ref.fail(`a target of kind ${kind} is not implemented`, "kind");
    else if (kind === "Service") return [{ kind: "App", name }];
    else
      ref.fail(`kind must be App, Subscription, Workflow or Component, got ${JSON.stringify(kind)}`, "kind");
    return [];
  });
  if (!spec.has("targetRefs")) spec.fail("spec.targetRefs is missing");
  return targets;
}

function readMode(spec: FieldReader, targets: readonly IdempotencyTarget[]): IdempotencySpec["mode"] {
  const mode = spec.oneOf("mode", ["replay", "skip", ""], "");
  for (const { kind } of targets) {
    if (mode === "replay" && (kind === "Subscription" || kind === "Component")) {
      spec.fail(`mode replay needs a caller: a ${kind} has none; use skip`, "mode");
    }
    if (mode === "skip" && kind === "Workflow") {
      spec.fail("mode skip has no id to answer the start of a Workflow with; use replay", "mode");
    }
  }
  return mode === "" ? undefined : mode;
}

function readOnFailure(spec: FieldReader, targets: readonly IdempotencyTarget[]): "forget" | "remember" {
  const onFailure = spec.oneOf("onFailure", ["forget", "remember"], "forget");
  for (const { kind } of targets) {
    if (onFailure !== "remember" || kind === "App") continue;
    const lost = kind === "Workflow" ? "starts" : "events";
    spec.fail(`onFailure remember would lose the failed ${lost} of a ${kind}; use forget`, "onFailure");
  }
  return onFailure;
}

/** What no target can use is refused, and so is a target that has no key. */
function checkFields(spec: FieldReader, targets: readonly IdempotencyTarget[]): void {
  const has = (wanted: readonly string[]): boolean => targets.some(({ kind }) => wanted.includes(kind));
  const keyless = targets.find(({ kind }) => kind === "Workflow" || kind === "Component");
  if (keyless !== undefined && !spec.has("key")) {
    spec.fail(`spec.key is missing: a ${keyless.kind} has no key of its own`, "targetRefs");
  }
  for (const [field, wanted] of Object.entries(fieldKinds)) {
    if (targets.length === 0 || !spec.has(field) || has(wanted)) continue;
    spec.fail(`spec.${field} is for targets of kind ${wanted.join(" or ")}; remove it`, field);
  }
}

/** CEL texts, in the order they are put together. */
function readKey(spec: FieldReader): string[] | undefined {
  const raw = spec.raw("key");
  if (raw === undefined) return undefined;
  const list = Array.isArray(raw) ? raw : [raw];
  if (list.length === 0) spec.fail("spec.key must not be empty; leave it out for the default", "key");
  return list.map((item: unknown, index) => {
    const at = Array.isArray(raw) ? ["key", index] : ["key"];
    if (typeof item === "string" && item !== "") return item;
    const names = typeof item === "object" && item !== null ? Object.keys(item) : [];
    const [name = ""] = names;
    const value = (item as Record<string, unknown> | null)?.[name];
    if (names.length === 1 && name === "cel" && typeof value === "string") return value;
    if (names.length === 1 && name === "constant") return JSON.stringify(value);
    const what = laterLanguages.includes(name) ? `a key in ${name} is not implemented; ` : "";
    spec.fail(`${what}a key is a CEL text, {cel: text} or {constant: value}`, ...at);
    return "";
  });
}

function readWindow(spec: FieldReader): number {
  const windowMs = spec.duration("window", dayMs);
  if (windowMs >= 1000 && windowMs <= windowMaxMs) return windowMs;
  spec.fail("spec.window must be from 1s to 8784h", "window");
  return dayMs;
}

/** Codes and ranges: `429`, `"500-599"`, `5xx`. */
function readFailureStatus(spec: FieldReader): { from: number; to: number }[] {
  if (!spec.has("failureStatus")) {
    return [
      { from: 500, to: 599 },
      { from: 429, to: 429 },
    ];
  }
  return spec.texts("failureStatus").flatMap((text, index) => {
    const group = /^([1-5])xx$/i.exec(text)?.[1];
    if (group !== undefined) return [{ from: Number(group) * 100, to: Number(group) * 100 + 99 }];
    const [, from, to = from] = /^(\d{3})(?:-(\d{3}))?$/.exec(text) ?? [];
    if (from !== undefined) return [{ from: Number(from), to: Number(to) }];
    spec.fail(
      `failureStatus must hold codes like 429, 500-599 or 5xx, got ${JSON.stringify(text)}`,
      "failureStatus",
      index,
    );
    return [];
  });
}

function readBytes(spec: FieldReader): number {
  const text = spec.text("maxStoredBody");
  if (text === "") return storedBodyDefault;
  const [, amount, unit = ""] = /^(\d+)\s*(|B|Ki|KiB|Mi|MiB)$/.exec(text) ?? [];
  const factor = unit.startsWith("K") ? 1024 : unit.startsWith("M") ? 1024 * 1024 : 1;
  const bytes = Number(amount) * factor;
  if (bytes <= storedBodyMax) return bytes;
  spec.fail(`spec.maxStoredBody must be a size like 256KiB of at most 4MiB, got ${text}`, "maxStoredBody");
  return storedBodyDefault;
}

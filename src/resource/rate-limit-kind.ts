import type { FieldReader } from "./field-reader.ts";
import {
  headersInExpression,
  type RateLimitKey,
  type RateLimitRule,
  type RateLimitSpec,
  type RateLimitTarget,
  rateLimitFields,
} from "./rate-limit.ts";

type Kind = RateLimitTarget["kind"];
type Direction = RateLimitTarget["direction"];

/** The directions of each kind, the one that is meant when none is given first. */
const directions: Record<Kind, readonly Direction[]> = {
  App: ["inbound", "outbound"],
  AppVersion: ["inbound", "outbound"],
  Component: ["outbound", "inbound"],
  Topic: ["inbound", "outbound"],
  Workflow: ["inbound"],
  Activity: ["inbound"],
  ActorType: ["outbound"],
  HTTPRoute: ["outbound"],
  GRPCRoute: ["outbound"],
  Gateway: ["inbound"],
};
/** Kinds that consist of rules or listeners with names. */
const sectionedKinds: readonly (Kind | undefined)[] = ["HTTPRoute", "GRPCRoute", "Gateway"];
const periodsMs: Record<string, number> = { "1s": 1000, "1m": 60_000, "1h": 3_600_000, "1d": 86_400_000 };
const periodMaxMs = 31 * 86_400_000;
const requestsMax = 1_000_000_000;
const limitsMax = 32;
const keysMax = 8;
const waitDefaultMs = 5000;
const waitMaxMs = 3_600_000;

/** Anybody can write them: a key made of them is no limit. */
const forgedHeaders = ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"];

/** How much of something may be used in a time (docs/guide/rate-limits.md). Its CEL is checked in rate-limit-cel.ts. */
export function readRateLimit(spec: FieldReader): RateLimitSpec {
  const targets = readTargets(spec);
  return {
    targets,
    scope: spec.oneOf("scope", ["instance", "app", "global"], "instance"),
    limits: readLimits(spec),
    onLimit: readOnLimit(spec),
    isShadow: spec.oneOf("mode", ["enforce", "shadow"], "enforce") === "shadow",
    failurePolicy: spec.oneOf("failurePolicy", ["open", "closed"], "open"),
  };
}

function readTargets(spec: FieldReader): RateLimitTarget[] {
  const asked = spec.oneOf("direction", ["inbound", "outbound", ""], "");
  if (!spec.has("targetRefs")) spec.fail("spec.targetRefs is missing");
  return spec.list("targetRefs").flatMap((ref): RateLimitTarget[] => {
    ref.text("group");
    const kind = readKind(ref);
    const named = kind === "Topic" ? readTopic(ref) : { name: readName(ref, kind) };
    if (kind === undefined) return [];
    const possible = directions[kind];
    const direction = asked === "" ? possible[0] : possible.find((one) => one === asked);
    if (direction !== undefined) return [{ kind, ...named, direction }];
    spec.fail(`a target of kind ${kind} has no ${asked} direction, only ${possible.join(", ")}`, "direction");
    return [];
  });
}

/** With the rule of a route, or the listener of a Gateway, behind it. */
function readName(ref: FieldReader, kind: Kind | undefined): string {
  const name = ref.requiredText("name");
  if (!sectionedKinds.includes(kind)) return name;
  const section = ref.text("sectionName");
  return section === "" ? name : `${name}/${section}`;
}

function readKind(ref: FieldReader): Kind | undefined {
  const given = ref.text("kind");
  const known = Object.keys(directions) as Kind[];
  const kind = known.find((one) => one === (given === "Service" ? "App" : given));
  if (kind !== undefined) return kind;
  ref.fail(`kind must be ${known.join(", ")}, got ${JSON.stringify(given)}`, "kind");
  return undefined;
}

/** `name: pubsub/topic`, or the two as fields. */
function readTopic(ref: FieldReader): { name: string; topic: string } {
  if (!ref.has("name")) return { name: ref.requiredText("pubsub"), topic: ref.requiredText("topic") };
  const text = ref.requiredText("name");
  const slash = text.indexOf("/");
  if (slash > 0 && slash < text.length - 1) {
    return { name: text.slice(0, slash), topic: text.slice(slash + 1) };
  }
  if (text !== "") ref.fail(`a Topic is named pubsub/topic, got ${JSON.stringify(text)}`, "name");
  return { name: "", topic: "" };
}

function readLimits(spec: FieldReader): RateLimitRule[] {
  const limits = spec.list("limits").map(readLimit);
  if (limits.length === 0) spec.fail("spec.limits is missing", "limits");
  if (limits.length > limitsMax) spec.fail(`spec.limits may have at most ${limitsMax} entries`, "limits");
  return limits;
}

function readLimit(limit: FieldReader): RateLimitRule {
  const algorithm = limit.oneOf("algorithm", ["tokenBucket", "slidingWindow"], "tokenBucket");
  const requests = readCount(limit, "requests");
  if (algorithm === "slidingWindow" && limit.has("burst")) {
    limit.fail("a slidingWindow has no burst: it never lets more than requests through in a window", "burst");
  }
  const burst = limit.has("burst") ? readCount(limit, "burst") : requests;
  return {
    match: readMatch(limit),
    keys: readKeys(limit),
    requests,
    perMs: readPer(limit),
    burst,
    algorithm,
  };
}

function readCount(limit: FieldReader, name: "requests" | "burst"): number {
  const count = limit.number(name, 0);
  if (Number.isInteger(count) && count >= 1 && count <= requestsMax) return count;
  limit.fail(`${name} must be a whole number from 1 to ${requestsMax}`, ...(limit.has(name) ? [name] : []));
  return 1;
}

function readPer(limit: FieldReader): number {
  const known = periodsMs[limit.text("per")];
  if (known !== undefined) return known;
  const perMs = limit.duration("per", 0);
  if (perMs >= 100 && perMs <= periodMaxMs) return perMs;
  limit.fail("per must be 1s, 1m, 1h, 1d or a duration from 100ms to 744h", "per");
  return 1000;
}

function readMatch(limit: FieldReader): string {
  const match = limit.text("match");
  const why = whyNotExpression(match);
  if (why !== undefined) limit.fail(`match: ${why}`, "match");
  return match;
}

function readKeys(limit: FieldReader): RateLimitKey[] {
  const raw = limit.raw("key") ?? [];
  const list: unknown[] = Array.isArray(raw) ? raw : [raw];
  if (list.length > keysMax) limit.fail(`key may have at most ${keysMax} entries`, "key");
  return list.flatMap((item, index): RateLimitKey[] => {
    const key = keyOf(item);
    if (typeof key !== "string") return [key];
    limit.fail(key, ...(Array.isArray(raw) ? ["key", index] : ["key"]));
    return [];
  });
}

/** The key, or what is wrong with it. */
function keyOf(item: unknown): RateLimitKey | string {
  const cel = (item as { cel?: unknown } | null)?.cel;
  const text = typeof cel === "string" ? cel : item;
  if (typeof text !== "string" || text.trim() === "") return "a key is a name, a CEL text or {cel: text}";
  const header = /^request\.headers\[([A-Za-z0-9_-]+)\]$/.exec(text)?.[1]?.toLowerCase();
  if (header !== undefined) return whyNotHeader(header) ?? { kind: "header", lowerName: header };
  const field = rateLimitFields.find((one) => one === text);
  if (field !== undefined) return { kind: "field", name: field };
  return whyNotExpression(text) ?? { kind: "cel", expression: text };
}

function whyNotHeader(lowerName: string): string | undefined {
  if (!forgedHeaders.includes(lowerName)) return undefined;
  return `the header ${lowerName} is written by the caller: whoever sends another one would have a count of its own`;
}

function whyNotExpression(expression: string): string | undefined {
  for (const [, double, single] of expression.matchAll(headersInExpression)) {
    const why = whyNotHeader((double ?? single ?? "").toLowerCase());
    if (why !== undefined) return why;
  }
  if (!expression.replace(headersInExpression, "").includes("request.headers")) return undefined;
  return `headers are asked for by their names: request.headers["x-user"]`;
}

function readOnLimit(spec: FieldReader): RateLimitSpec["onLimit"] {
  const onLimit = spec.object("onLimit");
  const action = onLimit?.oneOf("action", ["reject", "delay", "queue"], "reject") ?? "reject";
  const maxWaitMs = onLimit?.duration("maxWait", waitDefaultMs) ?? waitDefaultMs;
  if (maxWaitMs <= 0 || maxWaitMs > waitMaxMs) onLimit?.fail("maxWait must be from 1ms to 1h", "maxWait");
  if (action === "reject" && onLimit?.has("maxWait")) {
    onLimit.fail("maxWait is for the actions delay and queue; remove it", "maxWait");
  }
  const status = onLimit?.number("status", 429) ?? 429;
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    onLimit?.fail("status must be from 400 to 599", "status");
  }
  const hasHeaders = (onLimit?.oneOf("headers", ["draft03", "off"], "draft03") ?? "draft03") === "draft03";
  return { action, maxWaitMs, status, hasHeaders };
}

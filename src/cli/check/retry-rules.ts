import { parseDuration } from "../../kit/duration.ts";
import type { Problem } from "../../resource/problem.ts";
import type { ResiliencyResource, Resource } from "../../resource/resource.ts";
import { type CallWay, waysTo } from "./call-ways.ts";
import { trafficPolicies } from "./reference-rules.ts";
import { type CheckedResources, type Rule, warning } from "./rule.ts";

type Plain = Record<string, unknown>;

/** More tries than this for one call are taken for a mistake. */
const triesMax = 10;
const safeMethods = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

/** What Resiliency does for calls of an app. */
interface ResilientApp {
  resource: ResiliencyResource;
  name: string;
  retry: Plain | undefined;
  timeoutMs: number;
  path: string[];
}

/** Tries of a Resiliency multiply with those of the nearest policy within it. */
export const retryAmplification: Rule = ({ set }) =>
  resilientApps(set).flatMap(({ resource, name, retry, path }): Problem[] => {
    if (retry === undefined) return [];
    const retries = numberOf(retry.maxRetries, -1);
    if (retries < 0) {
      const message = `the retries for app ${name} have no end while the caller waits; set maxRetries`;
      return [warning(resource, path, message)];
    }
    const [worst] = waysTo(set, name).sort((one, other) => other.attempts - one.attempts);
    const tries = (retries + 1) * (1 + (worst?.attempts ?? 0));
    if (tries <= triesMax) return [];
    const product = worst
      ? `${retries + 1} tries of ${resource.name} x ${1 + worst.attempts} of ${worst.by}`
      : `${tries} tries`;
    return [warning(resource, path, `one call of app ${name} can become ${tries} (${product})`)];
  });

/** A caller that gives up before its callee has had its tries. */
export const timeoutBudgets: Rule = ({ set }) =>
  resilientApps(set).flatMap(({ resource, name, timeoutMs, path }): Problem[] => {
    if (timeoutMs <= 0) return [];
    const [worst] = waysTo(set, name).sort((one, other) => timeOf(other) - timeOf(one));
    if (worst === undefined || timeOf(worst) <= timeoutMs) return [];
    const { by, attempts, tryMs, wholeMs } = worst;
    const sum = wholeMs > 0 ? `${wholeMs} ms` : `${attempts + 1} x ${tryMs} ms`;
    const message = `the timeout of ${timeoutMs} ms for app ${name} ends before the tries of ${by} do (${sum})`;
    return [warning(resource, path, message)];
  });

/** What is known of how long all tries may take; 0: nothing. */
function timeOf({ attempts, tryMs, wholeMs }: CallWay): number {
  return wholeMs > 0 ? wholeMs : tryMs * (attempts + 1);
}

/** A repeated POST is a second order, unless somebody counts. */
export const repeatedWrites: Rule = ({ set }) => {
  const guarded = new Set(
    set.idempotencies.flatMap(({ spec }) =>
      spec.targets.filter(({ kind }) => kind === "App").map(({ name }) => name),
    ),
  );
  const message = (name: string): string =>
    `calls of app ${name} are repeated, writes too, and nothing makes them count once; add an Idempotency for it`;
  const repeated = resilientApps(set).filter(
    ({ name, retry }) => retry !== undefined && numberOf(retry.maxRetries, -1) !== 0 && !guarded.has(name),
  );
  return repeated.map(({ resource, name, path }) => warning(resource, path, message(name)));
};

export const hedgedWrites: Rule = ({ set }) =>
  trafficPolicies(set).flatMap((policy): Problem[] => {
    const unsafe = policy.spec.hedging?.methods.filter((method) => !safeMethods.has(method)) ?? [];
    if (unsafe.length === 0) return [];
    const message = `${unsafe.join(", ")} would be sent twice at the same time; hedge reads only`;
    return [warning(policy, ["spec", "hedging", "methods"], message)];
  });

/** Two policies that say the same thing about one target: the second one does not count. */
export const conflictingPolicies: Rule = ({ set }) => {
  const first = new Map<string, Resource>();
  return trafficPolicies(set).flatMap((policy): Problem[] => {
    const blocks = Object.entries(policy.spec).filter(
      ([name, value]) => name !== "targets" && name !== "from" && value !== undefined,
    );
    return policy.spec.targets.flatMap(({ kind, name, sectionName }) =>
      blocks.flatMap(([block]): Problem[] => {
        const key = JSON.stringify([kind, name, sectionName, policy.spec.from, block]);
        const before = first.get(key);
        first.set(key, before ?? policy);
        if (before === undefined) return [];
        const message = `${block} of ${kind} ${name} is already said by TrafficPolicy ${before.name}; this one does not count`;
        return [warning(policy, ["spec", block], message)];
      }),
    );
  });
};

/** Breakers that no run of failures opens, and those that open without one. */
export async function checkBreakers(set: CheckedResources["set"]): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const resource of set.resiliencies) {
    const breakers = objectOf(objectOf(resource.spec.policies).circuitBreakers);
    for (const [name, breaker] of Object.entries(breakers)) {
      const { trip } = objectOf(breaker);
      if (typeof trip !== "string" || trip.trim() === "") continue;
      const why = await tripProblem(trip);
      const path = ["spec", "policies", "circuitBreakers", name, "trip"];
      if (why !== undefined) problems.push(warning(resource, path, `circuit breaker ${name} ${why}`));
    }
  }
  return problems;
}

async function tripProblem(trip: string): Promise<string | undefined> {
  const { celEnv, parse, plan } = await import("@bufbuild/cel");
  const program = plan(celEnv(), parse(trip));
  const opens = (failures: bigint, successes: bigint): boolean =>
    program({
      requests: failures + successes,
      totalSuccesses: successes,
      totalFailures: failures,
      consecutiveSuccesses: failures === 0n ? successes : 0n,
      consecutiveFailures: failures,
    }) === true;
  if (!outages.some((failures) => opens(failures, 0n))) return "never opens, however many calls fail";
  return opens(0n, 1000n) ? "opens although nothing fails" : undefined;
}

const outages = [1n, 2n, 3n, 5n, 10n, 20n, 50n, 100n, 1000n, 10_000n, 1_000_000n];

function resilientApps(set: CheckedResources["set"]): ResilientApp[] {
  return set.resiliencies.flatMap((resource) => {
    const { retries = {}, timeouts = {} } = objectOf(resource.spec.policies) as Record<string, Plain>;
    const apps = objectOf(objectOf(resource.spec.targets).apps);
    return Object.entries(apps).map(([name, target]): ResilientApp => {
      const { retry, timeout } = objectOf(target);
      const found = typeof retry === "string" ? retries[retry] : undefined;
      return {
        resource,
        name,
        retry: found === undefined ? undefined : objectOf(found),
        timeoutMs: typeof timeout === "string" ? durationOf(timeouts[timeout]) : 0,
        path: ["spec", "targets", "apps", name],
      };
    });
  });
}

function objectOf(value: unknown): Plain {
  return typeof value === "object" && value !== null ? (value as Plain) : {};
}

function numberOf(value: unknown, otherwise: number): number {
  const number = Number(value ?? otherwise);
  return Number.isFinite(number) ? number : otherwise;
}

/** A bare number is milliseconds, as in Dapr. */
function durationOf(value: unknown): number {
  const text = String(value ?? "");
  if (/^\d+$/.test(text)) return Number(text);
  return text === "" ? 0 : parseDuration(text);
}

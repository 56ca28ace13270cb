import type { Problem } from "./problem.ts";
import type { ResiliencyResource, Resource } from "./resource.ts";
import type { TrafficPolicyResource } from "./traffic.ts";

const expressionLengthMax = 4096;

/** What a trip condition can ask: the counts of its breaker. */
const noCounts = {
  requests: 0n,
  totalSuccesses: 0n,
  totalFailures: 0n,
  consecutiveSuccesses: 0n,
  consecutiveFailures: 0n,
};

/** Checks the CEL of circuit breakers. Apart from the reading, because CEL is loaded only where there is some. */
export async function checkTrips(resources: readonly Resource[], isStrict: boolean): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const resource of resources) {
    for (const { trip, place } of tripsOf(resource)) {
      const why = await whyNot(trip);
      if (why === undefined) continue;
      problems.push({
        // daprd logs it and goes on.
        severity: isStrict ? "warning" : "error",
        message: `trip must be a CEL condition over ${Object.keys(noCounts).join(", ")}: ${why}`,
        source: resource.at(...place),
      });
    }
  }
  return problems;
}

interface PlacedTrip {
  trip: string;
  place: string[];
}

function tripsOf(resource: Resource): PlacedTrip[] {
  if (resource.kind === "Resiliency") return resiliencyTrips(resource as ResiliencyResource);
  if (resource.kind !== "TrafficPolicy") return [];
  const trip = (resource as TrafficPolicyResource).spec.circuitBreaker?.trip ?? "";
  return trip.trim() === "" ? [] : [{ trip, place: ["spec", "circuitBreaker", "trip"] }];
}

function resiliencyTrips({ spec }: ResiliencyResource): PlacedTrip[] {
  const { circuitBreakers } = (spec.policies ?? {}) as { circuitBreakers?: Record<string, unknown> };
  return Object.entries(circuitBreakers ?? {}).flatMap(([name, breaker]): PlacedTrip[] => {
    const { trip } = (breaker ?? {}) as { trip?: unknown };
    const place = ["spec", "policies", "circuitBreakers", name, "trip"];
    return typeof trip === "string" && trip.trim() !== "" ? [{ trip, place }] : [];
  });
}

async function whyNot(trip: string): Promise<string | undefined> {
  if (trip.length > expressionLengthMax) return `longer than ${expressionLengthMax} characters`;
  const { celEnv, isCelError, parse, plan } = await import("@bufbuild/cel");
  try {
    const result = plan(celEnv(), parse(trip))(noCounts);
    // With other counts it may well have a value: 0 requests can not be divided by.
    if (isCelError(result)) return /divi|modulus/i.test(result.message) ? undefined : result.message;
    return typeof result === "boolean" ? undefined : `${JSON.stringify(trip)} is no condition`;
  } catch (error) {
    return (error as Error).message;
  }
}

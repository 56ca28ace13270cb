import type { Problem } from "./problem.ts";
import type { ResiliencyResource, Resource } from "./resource.ts";

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
    if (resource.kind !== "Resiliency") continue;
    for (const [name, trip] of tripsOf(resource as ResiliencyResource)) {
      const why = await whyNot(trip);
      if (why === undefined) continue;
      const place = ["spec", "policies", "circuitBreakers", name, "trip"];
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

function tripsOf({ spec }: ResiliencyResource): [name: string, trip: string][] {
  const { circuitBreakers } = (spec.policies ?? {}) as { circuitBreakers?: Record<string, unknown> };
  return Object.entries(circuitBreakers ?? {}).flatMap(([name, breaker]): [string, string][] => {
    const { trip } = (breaker ?? {}) as { trip?: unknown };
    return typeof trip === "string" && trip.trim() !== "" ? [[name, trip]] : [];
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

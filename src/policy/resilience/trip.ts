import type { BreakerCounts } from "./breaker.ts";

/** Whether a breaker opens, from its counts after a failure. */
export type Trip = (counts: BreakerCounts) => boolean;

const failuresInRowMax = 5;
const expressionLengthMax = 4096;

export const tripByDefault: Trip = ({ consecutiveFailures }) => consecutiveFailures > failuresInRowMax;

/**
 * Compiles a CEL condition over the counts. CEL is loaded only when a breaker has one; until then, and when the
 * expression fails, the breaker stays closed: it is not safe to assume that it may open.
 */
export function compileTrip(expression: string, warn: (error: Error) => void): Trip {
  if (expression.trim() === "") return tripByDefault;
  let trip: Trip = () => false;
  load(expression).then(
    (loaded) => {
      trip = loaded;
    },
    (error) => warn(error as Error),
  );
  return (counts) => trip(counts);
}

async function load(expression: string): Promise<Trip> {
  if (expression.length > expressionLengthMax) {
    throw new Error(`trip is longer than ${expressionLengthMax} characters`);
  }
  const { celEnv, parse, plan } = await import("@bufbuild/cel");
  const evaluate = plan(celEnv(), parse(expression));
  return (counts) => {
    const values = Object.entries(counts).map(([name, count]) => [name, BigInt(count)]);
    return evaluate(Object.fromEntries(values)) === true;
  };
}

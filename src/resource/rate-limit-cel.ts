import type { Problem } from "./problem.ts";
import type { RateLimitResource } from "./rate-limit.ts";
import type { Resource } from "./resource.ts";

const expressionLengthMax = 4096;

/** Checks the CEL of rate limits. Apart from the reading, because CEL is loaded only where there is some. */
export async function checkRateLimitCel(resources: readonly Resource[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const resource of resources) {
    if (resource.kind !== "RateLimit") continue;
    for (const { expression, place } of expressionsOf(resource as RateLimitResource)) {
      const why = await whyNot(expression);
      if (why === undefined) continue;
      const message = `${place.at(-1) === "match" ? "match" : "key"} must be CEL over request and source: ${why}`;
      problems.push({ severity: "error", message, source: resource.at(...place) });
    }
  }
  return problems;
}

function expressionsOf({ spec }: RateLimitResource) {
  return (spec.limits ?? []).flatMap(({ match, keys }, index) => {
    const at = ["spec", "limits", index];
    const found = keys.flatMap((key) =>
      key.kind === "cel" ? [{ expression: key.expression, place: [...at, "key"] }] : [],
    );
    return match === "" ? found : [...found, { expression: match, place: [...at, "match"] }];
  });
}

async function whyNot(expression: string): Promise<string | undefined> {
  if (expression.length > expressionLengthMax) return `longer than ${expressionLengthMax} characters`;
  const { celEnv, parse, plan } = await import("@bufbuild/cel");
  try {
    plan(celEnv(), parse(expression));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

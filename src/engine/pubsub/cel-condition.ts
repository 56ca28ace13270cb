import { type CelInput, celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { InvalidRoute } from "./routes.ts";

/** CEL has no loops but its macros; nesting them multiplies the work, so both are bounded. */
const expressionLengthMax = 4096;
const macroDepthMax = 2;
const macroCalls = new Set(["all", "exists", "exists_one", "map", "filter"]);

const environment = celEnv();

/** Compiles a CEL condition over the variable `event`. */
export function compileCondition(expression: string): (event: Record<string, unknown>) => boolean {
  if (expression.length > expressionLengthMax) {
    throw new InvalidRoute(expression.slice(0, 60), `longer than ${expressionLengthMax} characters`);
  }
  if (macroDepth(expression) > macroDepthMax) {
    throw new InvalidRoute(expression, `more than ${macroDepthMax} nested macros`);
  }
  const evaluate = planned(expression);
  return (event) => {
    const result = evaluate({ event: event as CelInput });
    if (isCelError(result)) throw new InvalidRoute(expression, result.message, result);
    if (typeof result !== "boolean") throw new InvalidRoute(expression, "the result was not a boolean");
    return result;
  };
}

function planned(expression: string): ReturnType<typeof plan> {
  try {
    return plan(environment, parse(expression));
  } catch (error) {
    throw new InvalidRoute(expression, error instanceof Error ? error.message : String(error), error);
  }
}

/** How deep macro calls nest, by their parentheses. Strings are taken out first. */
function macroDepth(expression: string): number {
  const code = expression.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '""');
  const open: boolean[] = [];
  let deepest = 0;
  for (const token of code.match(/\w+\s*\(|[()]/g) ?? []) {
    if (token === ")") open.pop();
    else open.push(macroCalls.has(token.replace(/\W/g, "")));
    deepest = Math.max(deepest, open.filter(Boolean).length);
  }
  return deepest;
}

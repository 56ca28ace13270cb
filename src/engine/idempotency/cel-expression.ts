import { type CelInput, celEnv, isCelError, parse, plan } from "@bufbuild/cel";

/** CEL has no loops but its macros: a bound on the text bounds the work of a key. */
const expressionLengthMax = 4096;
const environment = celEnv();

/**
 * Compiles a CEL expression to a text. What is absent, null or can not be worked out is `undefined`: then there is no
 * key. Throws for a text that is no expression.
 */
export function compileExpression(
  expression: string,
): (variables: Record<string, unknown>) => string | undefined {
  if (expression.length > expressionLengthMax) {
    throw new Error(`the key expression is longer than ${expressionLengthMax} characters`);
  }
  const evaluate = planned(expression);
  return (variables) => {
    const result: unknown = evaluate(variables as Record<string, CelInput>);
    if (isCelError(result) || result === null || result === undefined) return undefined;
    if (typeof result === "string") return result;
    if (typeof result === "number" || typeof result === "bigint" || typeof result === "boolean") {
      return String(result);
    }
    return undefined;
  };
}

function planned(expression: string): ReturnType<typeof plan> {
  try {
    return plan(environment, parse(expression));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`key expression ${expression}: ${why}`, { cause: error });
  }
}

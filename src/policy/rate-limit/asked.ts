import { createHash } from "node:crypto";
import { headersInExpression, type RateLimitKey, type RateLimitRule } from "../../resource/rate-limit.ts";

/** What limits know of a use or a call. */
export interface Asked {
  sourceApp: string;
  sourceNamespace: string;
  method: string;
  path: string;
  operation: string;
  header(lowerName: string): string | undefined;
  /** How many it counts for. */
  count: number;
}

/** The key of what is asked; `undefined`: the limit is not for it. */
export type KeyOf = (asked: Asked) => string | undefined;

type Read = (asked: Asked) => string;
type Evaluate = (variables: object) => unknown;

/** Longer keys are kept by their hash. */
const keyLengthMax = 256;
const separator = "\u0000";

const fields: Record<Extract<RateLimitKey, { kind: "field" }>["name"], Read> = {
  "source.app": ({ sourceApp }) => sourceApp,
  "source.namespace": ({ sourceNamespace }) => sourceNamespace,
  "request.method": ({ method }) => method,
  "request.path": ({ path }) => path,
  "request.operation": ({ operation }) => operation,
};

/** Without CEL the function is there at once; else when CEL is loaded. */
export function keyOfRule({ match, keys }: RateLimitRule): KeyOf | Promise<KeyOf> {
  const needsCel = match !== "" || keys.some(({ kind }) => kind === "cel");
  if (!needsCel) return keyReader(keys.map((key) => readerOf(key, never)));
  return import("@bufbuild/cel").then(({ celEnv, isCelError, parse, plan }) => {
    const compile = (expression: string): Evaluate => {
      const evaluate = plan(celEnv(), parse(expression));
      return (variables) => {
        const result = evaluate(variables as Parameters<typeof evaluate>[0]);
        return isCelError(result) ? undefined : result;
      };
    };
    const read = keyReader(keys.map((key) => readerOf(key, compile)));
    if (match === "") return read;
    const names = headerNames(match);
    const matches = compile(match);
    return (asked) => (matches(variablesOf(asked, names)) === true ? read(asked) : undefined);
  });
}

function never(): never {
  throw new Error("CEL is not loaded");
}

function keyReader(readers: readonly Read[]): KeyOf {
  const [first] = readers;
  if (first === undefined) return () => "";
  if (readers.length === 1) return (asked) => bounded(first(asked));
  return (asked) => bounded(readers.map((read) => read(asked)).join(separator));
}

function bounded(key: string): string {
  return key.length <= keyLengthMax ? key : createHash("sha256").update(key).digest("base64url");
}

function readerOf(key: RateLimitKey, compile: (expression: string) => Evaluate): Read {
  if (key.kind === "field") return fields[key.name];
  if (key.kind === "header") return ({ header }) => header(key.lowerName) ?? "";
  const names = headerNames(key.expression);
  const evaluate = compile(key.expression);
  return (asked) => {
    const value = evaluate(variablesOf(asked, names));
    return value === undefined || value === null ? "" : String(value);
  };
}

function headerNames(expression: string): string[] {
  return [...expression.matchAll(headersInExpression)].map(([, double, single]) => double ?? single ?? "");
}

/** Headers that are not there are empty texts. */
function variablesOf(asked: Asked, headers: readonly string[]): object {
  const { method, path, operation, sourceApp: app, sourceNamespace: namespace } = asked;
  const given = headers.map((name) => [name, asked.header(name.toLowerCase()) ?? ""]);
  return {
    request: { method, path, operation, headers: Object.fromEntries(given) },
    source: { app, namespace },
  };
}

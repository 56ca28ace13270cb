import type { CacheReply, CacheRequest } from "./reply.ts";

const expressionLengthMax = 4096;
const tagsMax = 32;
const tagLengthMax = 256;

export type TagsOf = (request: CacheRequest, reply: CacheReply) => string[];

/**
 * Compiles a CEL expression over `request` and `response` to a list of texts. What has no value has no tags; CEL is
 * loaded only where there is an expression.
 */
export async function compileTags(expression: string): Promise<TagsOf> {
  if (expression.length > expressionLengthMax) {
    throw new Error(`tags is longer than ${expressionLengthMax} characters`);
  }
  const { celEnv, parse, plan } = await import("@bufbuild/cel");
  const evaluate = plan(celEnv(), parse(expression));
  return (request, reply) => textsOf(evaluate(variables(request, reply) as never));
}

function variables(request: CacheRequest, reply: CacheReply) {
  const { method, target, rawHeaders } = request;
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  return {
    request: { method, path, query: queryOf(target, mark), headers: fields(rawHeaders) },
    response: { status: BigInt(reply.status), headers: fields(reply.headers) },
  };
}

function queryOf(target: string, mark: number): Record<string, string> {
  return mark < 0 ? {} : Object.fromEntries(new URLSearchParams(target.slice(mark + 1)));
}

function fields(lines: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const name = (lines[i] as string).toLowerCase();
    const before = found[name];
    found[name] = before === undefined ? (lines[i + 1] as string) : `${before}, ${lines[i + 1]}`;
  }
  return found;
}

/** A text is a list of one; lists of CEL can be walked. */
function textsOf(result: unknown): string[] {
  if (typeof result === "string") return [result.slice(0, tagLengthMax)];
  if (typeof result !== "object" || result === null || !(Symbol.iterator in result)) return [];
  const texts: string[] = [];
  for (const one of result as Iterable<unknown>) {
    if (typeof one === "string" && one !== "" && texts.length < tagsMax)
      texts.push(one.slice(0, tagLengthMax));
  }
  return [...new Set(texts)];
}

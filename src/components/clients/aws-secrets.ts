import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { mapBounded } from "../../kit/bounded.ts";
import { messageOf } from "../../kit/message-of.ts";

type Secret = Record<string, string>;

interface Names {
  names: string[];
  next: string | undefined;
}

const secretsMax = 10_000;
const atOnce = 8;

/** Every secret of a store that AWS lists by name, page after page; `what` they are is for messages. */
export async function secretsOfPages(
  what: string,
  pageAt: (token: string | undefined) => Promise<Names>,
  get: (name: string) => Promise<Secret>,
): Promise<Record<string, Secret>> {
  const all: string[] = [];
  let token: string | undefined;
  do {
    const { names, next } = await pageAt(token);
    all.push(...names);
    if (all.length > secretsMax) throw new Error(`there are more than ${secretsMax} ${what}`);
    token = next;
  } while (token !== undefined);
  return Object.fromEntries(await mapBounded(all, atOnce, async (name) => [name, await get(name)] as const));
}

/** The text is Dapr's. */
export function noSecret(error: unknown): Error {
  const why = `couldn't get secret: ${messageOf(error)}`;
  return error instanceof ServerUnavailable
    ? new ServerUnavailable(why, error.outcome, error)
    : new Error(why, { cause: error });
}

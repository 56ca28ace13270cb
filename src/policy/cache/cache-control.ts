/** The directives of Cache-Control that mean something here (RFC 9111 §5.2, RFC 5861), of requests and responses. */
export interface CacheControl {
  noStore: boolean;
  /** Also when it names fields: revalidating more than asked is safe. */
  noCache: boolean;
  private: boolean;
  public: boolean;
  mustRevalidate: boolean;
  proxyRevalidate: boolean;
  mustUnderstand: boolean;
  onlyIfCached: boolean;
  /** Seconds; what is no number is 0: such an answer counts as stale. */
  maxAge: number | undefined;
  sMaxAge: number | undefined;
  minFresh: number | undefined;
  /** Infinity without a value. */
  maxStale: number | undefined;
  staleWhileRevalidate: number | undefined;
  staleIfError: number | undefined;
}

export const noDirectives: CacheControl = Object.freeze(empty());

/** RFC 9111 §1.2.2: what does not fit is this. */
const secondsMax = 2 ** 31;
const directive = /([^\s,=;"]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?/g;

export function parseCacheControl(value: string | undefined): CacheControl {
  if (value === undefined || value === "") return noDirectives;
  const found = empty();
  for (const [, name = "", quoted, token] of value.matchAll(directive)) {
    note(found, name.toLowerCase(), quoted ?? token);
  }
  return found;
}

function empty(): CacheControl {
  return {
    ...{ noStore: false, noCache: false, private: false, public: false, mustRevalidate: false },
    ...{ proxyRevalidate: false, mustUnderstand: false, onlyIfCached: false },
    ...{ maxAge: undefined, sMaxAge: undefined, minFresh: undefined, maxStale: undefined },
    ...{ staleWhileRevalidate: undefined, staleIfError: undefined },
  };
}

const flags: Record<string, keyof CacheControl> = {
  "no-store": "noStore",
  "no-cache": "noCache",
  private: "private",
  public: "public",
  "must-revalidate": "mustRevalidate",
  "proxy-revalidate": "proxyRevalidate",
  "must-understand": "mustUnderstand",
  "only-if-cached": "onlyIfCached",
};

const amounts: Record<string, keyof CacheControl> = {
  "max-age": "maxAge",
  "s-maxage": "sMaxAge",
  "min-fresh": "minFresh",
  "max-stale": "maxStale",
  "stale-while-revalidate": "staleWhileRevalidate",
  "stale-if-error": "staleIfError",
};

function note(found: CacheControl, name: string, value: string | undefined): void {
  const values = found as unknown as Record<string, boolean | number | undefined>;
  const flag = Object.hasOwn(flags, name) ? flags[name] : undefined;
  if (flag !== undefined) values[flag] = true;
  const amount = Object.hasOwn(amounts, name) ? amounts[name] : undefined;
  if (amount === undefined) return;
  const seconds = secondsOf(name, value);
  const before = values[amount] as number | undefined;
  // Said twice: what keeps it for less time.
  values[amount] = before === undefined ? seconds : Math.min(before, seconds);
}

function secondsOf(name: string, value: string | undefined): number {
  if (name === "max-stale" && value === undefined) return Number.POSITIVE_INFINITY;
  return /^\d+$/.test(value ?? "") ? Math.min(Number(value), secondsMax) : 0;
}

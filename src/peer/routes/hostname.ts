/** Hostnames a request's may match, the most specific first: `a.b.c`, `*.b.c`, `*.c`, and any. */
export function hostnamesFor(hostname: string): string[] {
  const names = [hostname];
  for (let at = hostname.indexOf("."); at >= 0; at = hostname.indexOf(".", at + 1)) {
    if (at < hostname.length - 1) names.push(`*${hostname.slice(at)}`);
  }
  return names.at(-1) === "" ? names : [...names, ""];
}

/** Whether a hostname or a wildcard takes a name. */
export function isHostname(pattern: string, hostname: string): boolean {
  if (pattern === "" || pattern === hostname) return true;
  return (
    pattern.startsWith("*.") && hostname.endsWith(pattern.slice(1)) && hostname.length > pattern.length - 1
  );
}

/** What two patterns have in common: the narrower one; `undefined`: nothing. */
export function commonHostname(a: string, b: string): string | undefined {
  if (isCovered(a, b)) return a;
  return isCovered(b, a) ? b : undefined;
}

/** Whether all that `narrow` takes is taken by `wide`. */
function isCovered(narrow: string, wide: string): boolean {
  if (wide === "" || wide === narrow) return true;
  if (narrow === "") return false;
  return isHostname(wide, narrow.startsWith("*.") ? `x${narrow.slice(1)}` : narrow);
}

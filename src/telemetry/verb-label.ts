const verbs = new Set(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"]);

/** The `method` label of an HTTP call: any word may be a verb on the wire, so those nobody knows share one label. */
export function verbLabel(verb: string, isExcluded: boolean): string {
  if (isExcluded) return "";
  return verbs.has(verb) ? verb : "UNKNOWN";
}

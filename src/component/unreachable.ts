const codes =
  /\b(ECONNREFUSED|ECONNRESET|ECONNABORTED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|CONNECTION_REFUSED|CONNECT_TIMEOUT)\b/;
const names = new Set(["ServerUnavailable", "ConnectionError", "NoAnswer"]);
const depthMax = 8;

/** Whether an error says that a server is not there, not yet, or too busy to answer: trying again may help. */
export function isUnreachable(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > depthMax) return false;
  const { code = "" } = error as { code?: unknown };
  if (names.has(error.name) || codes.test(String(code)) || codes.test(error.message)) return true;
  const inner = error instanceof AggregateError ? error.errors : [];
  return [error.cause, ...inner].some((one) => isUnreachable(one, depth + 1));
}

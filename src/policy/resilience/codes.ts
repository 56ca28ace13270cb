/** What a failed call answered, in the words of its protocol; `unknown` failures are always worth another try. */
export type FailureCode = { http: number } | { grpc: number } | { unknown: true };

/** Whether a failure with that code is worth another try. */
export type CodeMatcher = (code: FailureCode) => boolean;

type Range = [from: number, to: number];

/** Matches lists such as `429,500-599` and `1,2,13-14`; `undefined` without any, which matches everything. */
export function codeMatcher(httpCodes: string, grpcCodes: string): CodeMatcher | undefined {
  const http = rangesOf(httpCodes);
  const grpc = rangesOf(grpcCodes);
  if (http.length === 0 && grpc.length === 0) return undefined;
  // An empty list of one protocol leaves that protocol unrestricted.
  return (code) => {
    if ("http" in code) return http.length === 0 || contains(http, code.http);
    return !("grpc" in code) || grpc.length === 0 || contains(grpc, code.grpc);
  };
}

function rangesOf(text: string): Range[] {
  const parts = text.split(",").flatMap((part) => part.trim() || []);
  return parts.map((part): Range => {
    const [from = "", to = from] = part.split("-");
    return [Number(from), Number(to)];
  });
}

function contains(ranges: Range[], code: number): boolean {
  return ranges.some(([from, to]) => code >= from && code <= to);
}

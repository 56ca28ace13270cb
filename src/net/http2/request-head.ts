/** The header lines of a request, checked. */
export class RequestHead {
  readonly method: string;
  readonly path: string;
  readonly authority: string | undefined;
  /** Without pseudo headers: name, value, name, value … */
  readonly lines: readonly string[];

  constructor(method: string, path: string, authority: string | undefined, lines: readonly string[]) {
    this.method = method;
    this.path = path;
    this.authority = authority;
    this.lines = lines;
  }

  /** The first value of a name. */
  header(lowerName: string): string | undefined {
    return lineOf(this.lines, lowerName);
  }
}

const fieldName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const fieldValue = /^(?:[!-~\x80-\xff](?:[\t !-~\x80-\xff]*[!-~\x80-\xff])?)?$/;

/** Fields of one connection, which HTTP/2 does not have (RFC 9113 §8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** `undefined` when the request is malformed (RFC 9113 §8.1.1). */
export function readRequestHead(received: readonly string[]): RequestHead | undefined {
  let method: string | undefined;
  let scheme: string | undefined;
  let path: string | undefined;
  let authority: string | undefined;
  let at = 0;
  for (; at < received.length && received[at]?.charCodeAt(0) === colon; at += 2) {
    const value = received[at + 1] as string;
    if (!fieldValue.test(value)) return undefined;
    switch (received[at]) {
      case ":method":
        if (method !== undefined) return undefined;
        method = value;
        break;
      case ":scheme":
        if (scheme !== undefined) return undefined;
        scheme = value;
        break;
      case ":path":
        if (path !== undefined) return undefined;
        path = value;
        break;
      case ":authority":
        if (authority !== undefined) return undefined;
        authority = value;
        break;
      default:
        return undefined;
    }
  }
  if (!method || !scheme || !isPath(path, method) || !areFields(received, at)) return undefined;
  return new RequestHead(method, path, authority, at === 0 ? received : received.slice(at));
}

/** Whether lines behind a body may be taken: no pseudo headers among them. */
export function areTrailers(lines: readonly string[]): boolean {
  return areFields(lines, 0);
}

/**
 * The status of an answer; `undefined` when its head is malformed. It stands before the other lines.
 */
export function statusOf(lines: readonly string[]): number | undefined {
  const [name, value = ""] = lines;
  if (name !== ":status" || !/^[1-9]\d\d$/.test(value) || !areFields(lines, 2)) return undefined;
  return Number(value);
}

/** The first value of a name among header lines. */
export function lineOf(lines: readonly string[], lowerName: string): string | undefined {
  for (let i = 0; i < lines.length; i += 2) if (lines[i] === lowerName) return lines[i + 1];
  return undefined;
}

const colon = 58;

function isPath(path: string | undefined, method: string): path is string {
  return path !== undefined && (path.startsWith("/") || (path === "*" && method === "OPTIONS"));
}

function areFields(lines: readonly string[], from: number): boolean {
  let hasLength = false;
  for (let i = from; i < lines.length; i += 2) {
    const name = lines[i] as string;
    const value = lines[i + 1] as string;
    if (!fieldName.test(name) || connectionFields.has(name) || !fieldValue.test(value)) return false;
    if (name === "te" && value !== "trailers") return false;
    if (name === "content-length") {
      // Equal ones too: the next hop may choose differently.
      if (hasLength) return false;
      hasLength = true;
    }
  }
  return true;
}

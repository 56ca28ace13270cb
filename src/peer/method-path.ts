/** The path of a called method cannot be passed on safely. The text is the one Dapr's callers know. */
export class InvalidMethod extends Error {
  constructor(why: string) {
    super(`invalid method: ${why}`);
    this.name = "InvalidMethod";
  }
}

/**
 * The one form of a method's path that policies judge and that goes on the wire (dapr-api.md §12.2): decoded once,
 * empty and dot segments resolved, encoded again. `target` begins with a slash and may carry a query, which stays.
 */
export function canonicalTarget(target: string): string {
  const queryAt = target.indexOf("?");
  const path = queryAt < 0 ? target : target.slice(0, queryAt);
  if (isCanonical(path)) return target;
  const clean = encodePath(plainPath(checkPath(decodeOnce(path))));
  return queryAt < 0 ? clean : clean + target.slice(queryAt);
}

/** A method named by a gRPC caller: literal text, never percent-decoded. A slash in front stays as it is. */
export function canonicalMethod(method: string): string {
  const path = plainPath(checkPath(method));
  return method.startsWith("/") ? path : path.slice(1);
}

/** The operation that policies judge a canonical method name by: of `a` and `/a` the same. */
export function operationOf(method: string): string {
  return method.startsWith("/") ? method : `/${method}`;
}

/** The wire path of a canonical method name: `a b` → `/a%20b`. */
export function methodTarget(method: string, querystring: string): string {
  const path = encodePath(toBinary(operationOf(method)));
  return querystring === "" ? path : `${path}?${querystring}`;
}

const slash = 47;
const dot = 46;
const percent = 37;

/** Characters that stand for themselves in a path: RFC 3986 pchar, the slash, and the brackets Go leaves alone. */
const literal = new Uint8Array(256);
for (const char of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@[]/") {
  literal[char.charCodeAt(0)] = 1;
}

/** The common path needs no work: nothing encoded, no empty segment, none that begins with a dot, no slash at the end. */
function isCanonical(path: string): boolean {
  let previous = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code > 255 || literal[code] === 0) return false;
    if (previous === slash && (code === slash || code === dot)) return false;
    previous = code;
  }
  return previous !== slash || path.length === 1;
}

/** Percent-decodes to one character per byte. */
function decodeOnce(path: string): string {
  if (!path.includes("%")) return path;
  return path.replace(/%(..?)?/g, (sequence, digits: string | undefined) => {
    if (digits === undefined || !/^[0-9a-fA-F]{2}$/.test(digits)) {
      throw new InvalidMethod(`invalid URL escape ${JSON.stringify(sequence)}`);
    }
    return String.fromCharCode(Number.parseInt(digits, 16));
  });
}

/** Refuses what would end the path early or break the line it is sent in. */
function checkPath(path: string): string {
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === 35 || code === 63 || code === 0) {
      throw new InvalidMethod(`method contains forbidden character: ${JSON.stringify(path)}`);
    }
    if (code < 0x20 || code === 0x7f) {
      throw new InvalidMethod(`method contains control character at position ${i}: ${JSON.stringify(path)}`);
    }
  }
  return path;
}

// A segment that some servers take for a dot segment: `..;x` with parameters, `..\\` on others' separators.
const disguisedDots = /(?:^|[/\\])\.{1,2}(?=[;\\]|$)/;

/** The clean path, when it leads nowhere else for servers that read more into a segment. */
function plainPath(path: string): string {
  const clean = cleanPath(path);
  if (disguisedDots.test(clean))
    throw new InvalidMethod(`method contains a disguised dot segment: ${JSON.stringify(path)}`);
  return clean;
}

function cleanPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "" && segment !== ".") segments.push(segment);
  }
  return `/${segments.join("/")}`;
}

/**
 * A percent sign that is left after decoding is data: encoded again, so that the app sees what policies saw. Dapr
 * cannot build a URL from one that two hex digits do not follow and answers an error: so do we.
 */
function encodePath(path: string): string {
  let encoded = "";
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (literal[code] === 1) encoded += path[i];
    else {
      if (code === percent && !/^[0-9a-fA-F]{2}/.test(path.slice(i + 1))) {
        throw new InvalidMethod(`invalid URL escape ${JSON.stringify(path.slice(i, i + 3))}`);
      }
      encoded += `%${code.toString(16).toUpperCase().padStart(2, "0")}`;
    }
  }
  return encoded;
}

function toBinary(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

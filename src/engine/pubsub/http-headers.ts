/** Fields that belong to the connection, to the delivery or to the channel. */
const withheld = new Set([
  "connection",
  "content-length",
  "content-type",
  "dapr-api-token",
  "host",
  "keep-alive",
  "proxy-connection",
  "pubsubname",
  "te",
  "traceparent",
  "tracestate",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
const namePattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/;
const plainPattern = /^[\t\x20-\x7e]*$/;
const valueLengthMax = 8192;

/** Appends message metadata as header lines; what HTTP cannot carry is left out. */
export function metadataHeaders(headers: string[], metadata: Record<string, string>): void {
  for (const name in metadata) {
    const value = metadata[name];
    if (typeof value !== "string" || !namePattern.test(name) || withheld.has(name.toLowerCase())) continue;
    const line = plainPattern.test(value) ? value : asBytes(value);
    if (line !== undefined && line.length <= valueLengthMax) headers.push(name, line);
  }
}

/** UTF-8, one byte per character, as Go writes header values; `undefined` with control characters. */
function asBytes(value: string): string | undefined {
  const bytes = Buffer.from(value).toString("latin1");
  return /[^\t\x20-\x7e\x80-\xff]/.test(bytes) ? undefined : bytes;
}

const targetPattern = /^\/[\x21-\x22\x24-\x7e]*$/;
const targets = new Map<string, string>();
const targetsMax = 1000;

/** The request target of a route: with a leading slash, and without characters that cannot stand in a request line. */
export function requestTarget(path: string): string {
  if (targetPattern.test(path)) return path;
  let target = targets.get(path);
  if (target === undefined) {
    target = encodeTarget(path);
    if (targets.size < targetsMax) targets.set(path, target);
  }
  return target;
}

function encodeTarget(path: string): string {
  const rooted = path.startsWith("/") ? path : `/${path}`;
  const bytes = Buffer.from(rooted).toString("latin1");
  return bytes.replace(
    /[^\x21-\x22\x24-\x7e]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Whether a connection that began with `bytes` speaks HTTP/2 by prior knowledge (RFC 9113 §3.4), as far as one can tell. */
export function isHttp2(bytes: Buffer): boolean | "perhaps" {
  const known = Math.min(bytes.length, preface.length);
  if (bytes.compare(preface, 0, known, 0, known) !== 0) return false;
  return known === preface.length ? true : "perhaps";
}

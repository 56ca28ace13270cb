import type { HttpReply, RawHeaders } from "../net/http1/types.ts";

const none: RawHeaders = [];
const json: RawHeaders = ["Content-Type", "application/json"];

/** 204 without a body. Shared: replies are never changed once made. */
export const noContent: HttpReply = { status: 204, headers: none };

/** A JSON reply. The newline is Dapr's: its encoder ends every document with one. */
export function jsonReply(value: unknown, status = 200): HttpReply {
  return { status, headers: json, body: `${JSON.stringify(value)}\n` };
}

/** A reply whose JSON text is already written. */
export function jsonTextReply(text: string | Uint8Array, status = 200): HttpReply {
  return { status, headers: json, body: text };
}

/** Plain text as Go's `http.Error` writes it, trailing newline included: clients of daprd compare it. */
export function textReply(status: number, text: string): HttpReply {
  return {
    status,
    headers: ["Content-Type", "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff"],
    body: `${text}\n`,
  };
}

/** Adds `metadata.<name>` headers to a list of header lines. */
export function pushMetadata(headers: RawHeaders, metadata: Readonly<Record<string, string>>): void {
  for (const name in metadata) {
    const value = metadata[name];
    if (value !== undefined && isHeaderSafe(name) && isHeaderSafe(value))
      headers.push(`metadata.${name}`, value);
  }
}

/** Components choose metadata: what can not stand in a header line is left out rather than splitting the reply. */
function isHeaderSafe(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code === 127 || code > 255) return false;
  }
  return true;
}

import type { HeaderObject } from "../../net/grpc/metadata.ts";
import type { Metadata } from "../../net/grpc/types.ts";
import type { RawHeaders } from "../../net/http1/types.ts";
import type { HeaderChange } from "../../resource/route.ts";

/** Header lines after `set`, `add` and `remove`, in this order; what is added makes a list with what was there. */
export function changeHeaders(raw: RawHeaders, change: HeaderChange | undefined): RawHeaders {
  if (change === undefined) return raw;
  const gone = new Set([...change.remove, ...change.set.map(({ name }) => name.toLowerCase())]);
  const lines: RawHeaders = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!gone.has((raw[i] as string).toLowerCase())) lines.push(raw[i] as string, raw[i + 1] as string);
  }
  const removed = new Set(change.remove);
  for (const { name, value } of change.set) if (!removed.has(name.toLowerCase())) lines.push(name, value);
  for (const { name, value } of change.add) {
    if (!removed.has(name.toLowerCase())) addTo(lines, name, value);
  }
  return lines;
}

function addTo(lines: RawHeaders, name: string, value: string): void {
  const lowerName = name.toLowerCase();
  for (let i = lines.length - 2; i >= 0; i -= 2) {
    if ((lines[i] as string).toLowerCase() !== lowerName) continue;
    lines[i + 1] = `${lines[i + 1]},${value}`;
    return;
  }
  lines.push(name, value);
}

/** The same for gRPC, whose names are lower case. */
export function changeMetadata(metadata: Metadata, change: HeaderChange | undefined): Metadata {
  if (change === undefined) return metadata;
  const lines = changeHeaders(metadata.flat(), change);
  const changed: Metadata = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    changed.push([(lines[i] as string).toLowerCase(), lines[i + 1] as string]);
  }
  return changed;
}

/** The same for the head of an answer; names that begin with a colon are no metadata and stay. */
export function changeHeaderObject(headers: HeaderObject, change: HeaderChange): HeaderObject {
  const metadata: Metadata = [];
  const changed: HeaderObject = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || typeof value === "number") changed[name] = value;
    else for (const one of [value].flat()) metadata.push([name, one]);
  }
  for (const [name, value] of changeMetadata(metadata, change)) {
    const before = changed[name];
    changed[name] = before === undefined ? value : [before, value].flat().map(String);
  }
  return changed;
}

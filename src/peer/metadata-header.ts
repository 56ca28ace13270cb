import type { Metadata } from "../net/grpc/types.ts";

/** Looks metadata up by lower-case name; the first of a name counts. */
export function headerOf(metadata: Metadata): (lowerName: string) => string | undefined {
  return (lowerName) => metadata.find(([name]) => name === lowerName)?.[1];
}

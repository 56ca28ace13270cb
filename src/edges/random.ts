import { randomBytes, randomUUID } from "node:crypto";

/** Chance as the rest of mecha sees it: the system's in production, seeded in the simulator. */
export interface Random {
  /** At least 0, below 1. Not for secrets. */
  next(): number;
  bytes(length: number): Uint8Array;
  uuid(): string;
}

export const realRandom: Random = {
  next: Math.random,
  bytes: (length) => new Uint8Array(randomBytes(length)),
  uuid: () => randomUUID(),
};

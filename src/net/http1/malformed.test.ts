import { expect, test } from "bun:test";
import { type WireCase, wireCases } from "./fixture-malformed.ts";
import { FixtureSocket } from "./fixture-socket.ts";
import { createHttpServer } from "./server.ts";
import type { HttpRequest } from "./types.ts";

/** What the handler saw and what the client got for `pieces` arriving one after another. */
async function exchange(pieces: string[]): Promise<{ seen: string[]; statuses: number[]; isEnded: boolean }> {
  const seen: string[] = [];
  const server = createHttpServer({
    maxHeaderBytes: 4_096,
    maxFields: 100,
    handler: async (request: HttpRequest) => {
      const body = await request.body.bytes(100_000);
      seen.push(`${request.method} ${request.target} ${Buffer.from(body).toString("latin1")}`);
      return { status: 200, headers: [], body: "ok\n" };
    },
  });
  const socket = new FixtureSocket();
  server.accept(socket.asSocket());
  for (const piece of pieces) {
    if (!socket.destroyed) socket.push(Buffer.from(piece, "latin1"));
    await settled();
  }
  const { sent, isEnded } = socket;
  await server.close();
  const statuses = Array.from(sent.matchAll(/^HTTP\/1\.1 (\d{3})/gm), (match) => Number(match[1]));
  return { seen, statuses, isEnded };
}

/** Handlers here wait for nothing but bodies: a few microtasks are enough. */
async function settled(): Promise<void> {
  for (let i = 0; i < 6; i++) await Promise.resolve();
}

function splitsOf({ bytes }: WireCase): string[][] {
  // Long cases are long by repetition: their first kilobyte and their end have every kind of byte.
  const points = Array.from({ length: bytes.length - 1 }, (_, i) => i + 1);
  const kept = points.filter((at) => at < 400 || at > bytes.length - 40);
  return [[bytes], ...kept.map((at) => [bytes.slice(0, at), bytes.slice(at)]), Array.from(bytes)];
}

test("the corpus is as large as promised, without names twice", () => {
  expect(wireCases.length).toBeGreaterThanOrEqual(120);
  expect(new Set(wireCases.map((wire) => wire.name)).size).toBe(wireCases.length);
});

for (const wire of wireCases) {
  const verdict = wire.refused === undefined ? "is read as it stands" : `is refused with ${wire.refused}`;
  test(`server: ${wire.name} ${verdict}, however it is split`, async () => {
    const seen = wire.seen ?? [];
    const statuses = [...seen.map(() => 200), ...(wire.refused === undefined ? [] : [wire.refused])];
    const isEnded = wire.refused !== undefined || wire.closes === true;
    for (const pieces of splitsOf(wire)) {
      const result = await exchange(pieces);
      expect({ ...result, pieces }).toEqual({ seen, statuses, isEnded, pieces });
    }
  });
}

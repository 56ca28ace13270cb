import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import { Renewed } from "./renewed.ts";

/** Words that a server has; `undefined` while it is away. */
async function open() {
  const clock = new SimulatedClock();
  const server = { words: "a" as string | undefined, asked: 0 };
  const warnings: string[] = [];
  const warn = (_fields: object, text: string): void => void warnings.push(text);
  const words = await Renewed.open<string>({
    ...{ name: "the words", clock, freshMs: 60_000, pauseMs: 10_000, log: { warn } as never },
    async load() {
      server.asked++;
      if (server.words === undefined) throw new Error("away");
      return server.words;
    },
  });
  const has = (word: string) => words.get((known) => known.includes(word));
  return { clock, server, warnings, has };
}

test("is fetched once, and behind the calls when it is old", async () => {
  const { clock, server, has } = await open();
  for (let call = 0; call < 20; call++) expect(await has("a")).toBe("a");
  expect(server.asked).toBe(1);
  server.words = "ab";
  clock.advance(60_000);
  expect(await has("a")).toBe("a");
  expect(await has("b")).toBe("ab");
  expect(server.asked).toBe(2);
});

test("is fetched again for what it does not have, though not for each call", async () => {
  const { clock, server, has } = await open();
  server.words = "ab";
  expect(await has("b")).toBe("a");
  clock.advance(10_000);
  expect(await Promise.all([has("b"), has("b")])).toEqual(["ab", "ab"]);
  expect(server.asked).toBe(2);
});

test("the last good one stays while the server is away; what it lacks is an error", async () => {
  const { clock, server, warnings, has } = await open();
  server.words = undefined;
  clock.advance(60_000);
  for (let call = 0; call < 20; call++) expect(await has("a")).toBe("a");
  const error = await has("b").catch((reason: unknown) => reason);
  expect((error as Error).message).toBe("away");
  expect(server.asked).toBe(2);
  expect(warnings).toEqual(["the words could not be renewed; what was there before stays"]);
  server.words = "ab";
  clock.advance(1_000);
  expect(await has("b")).toBe("ab");
});

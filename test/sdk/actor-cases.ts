// What the actors of every SDK are asked to do; what one lacks is named with its reason.
import { expect } from "bun:test";
import type { ActorProgram } from "./actor-programs.ts";
import { runSdk } from "./harness.ts";

export const actorCases = [
  "actor-state",
  "actor-state-ttl",
  "actor-turns",
  "actor-timer",
  "actor-reminder",
  "actor-reminder-repeats",
  "actor-calls",
  "actor-reentrancy",
  "actor-deactivation",
  "actor-error",
] as const;

export type ActorCase = (typeof actorCases)[number];

/** Runs one SDK's program: an app that hosts the actors, and a client that calls them. */
export async function expectActors({ absent = {}, ...program }: ActorProgram): Promise<void> {
  const result = await runSdk(program);
  const wanted = actorCases.map((name) => {
    const reason = absent[name];
    return [name, reason === undefined ? "ok" : `skip: ${reason}`];
  });
  expect(Object.fromEntries(result)).toEqual(Object.fromEntries(wanted));
}

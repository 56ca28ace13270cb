import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RecordedTurn } from "./recorded-turn.ts";

export const fixtures = join(import.meta.dirname, "../fixtures/turns");

export function readTurns(file: string): RecordedTurn[] {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as RecordedTurn);
}

export function writeTurns(file: string, turns: readonly RecordedTurn[]): void {
  writeFileSync(file, turns.map((turn) => `${JSON.stringify(turn)}\n`).join(""));
}

// Takes the place of src/engine/workflow/turn.ts in a runtime that is recorded.
import { appendFileSync } from "node:fs";
import type { Decision, TurnRequest } from "../../src/engine/workflow/turn.ts";
import { decideRecorded } from "./recorded-turn.ts";

export * from "../../src/engine/workflow/turn.ts";

export function decide(request: TurnRequest): Decision {
  const file = process.env.MECHA_RECORDS_TURNS_TO as string;
  return decideRecorded(request, (turn) => appendFileSync(file, `${JSON.stringify(turn)}\n`));
}

import type { Flag, FlagValues } from "./flags.ts";

/** What a command sees of the world: nothing else in cli/ reads `process`. */
export interface CommandContext {
  env: Record<string, string | undefined>;
  folder: string;
  values: FlagValues;
  positionals: string[];
  /** Words after `--`; `undefined` when there was none. */
  rest: string[] | undefined;
  /** Data goes to stdout, talk to stderr. */
  out: (text: string) => void;
  talk: (text: string) => void;
  isTerminal: boolean;
}

/** One command of the CLI, as data and a function. Its file is loaded only when it runs. */
export interface Command {
  name: string;
  /** Help groups commands by it. */
  category: "run" | "talk" | "look" | "data" | "other";
  summary: string;
  usage: string;
  flags: readonly Flag[];
  examples?: readonly string[];
  /** Flags end at the first positional (`mecha run node app.js`). */
  stopAtPositional?: boolean;
  /** Returns the exit code: 0 ok, 1 failure, 2 usage, 3 configuration, 4 unreachable. */
  run(context: CommandContext): Promise<number>;
}

export function command(definition: Command): Command {
  return definition;
}

import { nearest } from "../kit/nearest.ts";
import { causeChain } from "../telemetry/log.ts";
import type { Command, CommandContext } from "./command.ts";
import { commands } from "./commands.ts";
import { FlagValues, parseFlags, UsageError } from "./flags.ts";
import { commandHelp, generalHelp } from "./output/help.ts";
import { CommandError } from "./runtime-client.ts";

export interface CliOptions {
  argv: readonly string[];
  env: Record<string, string | undefined>;
  folder: string;
  out: (text: string) => void;
  talk: (text: string) => void;
  isTerminal: boolean;
}

/** Runs one command line and returns the exit code. */
export async function runCli(options: CliOptions): Promise<number> {
  const [word, ...argv] = options.argv;
  if (word === undefined || word === "help" || word === "--help" || word === "-h")
    return help(options, argv[0]);
  const load = commands[word === "--version" || word === "-v" ? "version" : word];
  if (load === undefined) return unknownCommand(options, word);
  const { default: command } = await load();
  if (wantsHelp(argv)) {
    options.out(commandHelp(command));
    return 0;
  }
  return runCommand(command, argv, options);
}

async function runCommand(command: Command, argv: readonly string[], options: CliOptions): Promise<number> {
  try {
    const parsed = parseFlags(command.flags, argv, { stopAtPositional: command.stopAtPositional === true });
    const context: CommandContext = {
      ...options,
      values: new FlagValues(command.flags, parsed.given),
      positionals: parsed.positionals,
      rest: parsed.rest,
    };
    return await command.run(context);
  } catch (error) {
    if (error instanceof CommandError) return failed(error, options);
    if (!(error instanceof UsageError)) return unexpected(error, options);
    options.talk(`error: ${error.message}\n`);
    if (error.hint !== undefined) options.talk(`hint: ${error.hint}\n`);
    options.talk(`usage: ${command.usage}\n       mecha ${command.name} --help lists the flags\n`);
    return 2;
  }
}

function failed(error: CommandError, options: CliOptions): number {
  options.talk(`error: ${error.message}\n`);
  if (error.hint !== undefined) options.talk(`hint: ${error.hint}\n`);
  return error.exitCode;
}

/** What the outside world did: said in one line with its cause. Resource files that can not be used are exit code 3. */
function unexpected(error: unknown, options: CliOptions): number {
  if (!(error instanceof Error)) throw error;
  options.talk(`error: ${causeChain(error)}\n`);
  if (options.env.MECHA_DEBUG !== undefined) options.talk(`${error.stack}\n`);
  return error.name === "ResourceErrors" ? 3 : 1;
}

/** `--help` counts only before `--` and before the app's own words. */
function wantsHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  return own.includes("--help") || own[0] === "-h";
}

async function help(options: CliOptions, name: string | undefined): Promise<number> {
  const load = name === undefined ? undefined : commands[name];
  if (load !== undefined) {
    options.out(commandHelp((await load()).default));
    return 0;
  }
  const all = await Promise.all(Object.values(commands).map(async (each) => (await each()).default));
  options.out(generalHelp(all));
  return 0;
}

function unknownCommand(options: CliOptions, word: string): number {
  const near = nearest(word, Object.keys(commands));
  options.talk(`error: unknown command "${word}"\n`);
  options.talk(
    near === undefined ? "hint: mecha help lists the commands\n" : `hint: did you mean mecha ${near}?\n`,
  );
  return 2;
}

import type { Command } from "../command.ts";
import type { Flag } from "../flags.ts";

const categories: Record<Command["category"], string> = {
  run: "Run apps",
  talk: "Talk to apps",
  look: "Look inside",
  data: "Data",
  other: "Other",
};

/** `mecha help`. */
export function generalHelp(commands: readonly Command[]): string {
  let text =
    "mecha: a multi-runtime for microservices that speaks the Dapr API\n\nusage: mecha COMMAND [flags]\n";
  for (const category of Object.keys(categories) as Command["category"][]) {
    const group = commands.filter((command) => command.category === category);
    if (group.length === 0) continue;
    text += `\n${categories[category]}\n`;
    for (const command of group) text += `  ${command.name.padEnd(14)} ${command.summary}\n`;
  }
  text += "\nmecha COMMAND --help shows the flags and examples of a command.\n";
  text += "Exit codes: 0 ok, 1 failure, 2 usage, 3 configuration, 4 unreachable, 130 interrupted.\n";
  return text;
}

/** `mecha COMMAND --help`. */
export function commandHelp(command: Command): string {
  let text = `${command.summary}\n\nusage: ${command.usage}\n`;
  const shown = command.flags.filter((flag) => !flag.hidden);
  if (shown.length > 0) text += `\nflags:\n${shown.map(flagLine).join("")}`;
  if (command.examples !== undefined)
    text += `\nexamples:\n${command.examples.map((line) => `  ${line}\n`).join("")}`;
  return text;
}

function flagLine(flag: Flag): string {
  const short = flag.short === undefined ? "   " : `-${flag.short},`;
  const value = flag.type === "boolean" ? "" : ` ${flag.placeholder ?? flag.type.toUpperCase()}`;
  const known = flag.default;
  const isShown =
    known !== undefined && known !== "" && known !== false && !(Array.isArray(known) && known.length === 0);
  const suffix = isShown ? ` (default ${String(known)})` : "";
  return `  ${short} --${`${flag.name}${value}`.padEnd(42)} ${flag.description}${suffix}\n`;
}

import { styleText } from "node:util";

const colours = [
  "cyan",
  "magenta",
  "yellow",
  "green",
  "blue",
  "cyanBright",
  "magentaBright",
  "yellowBright",
  "greenBright",
] as const;

export interface PrefixOptions {
  isTerminal: boolean;
  env: Record<string, string | undefined>;
  /** Width of the name column. */
  width: number;
}

/** `orders │ ` in a colour that depends on the name only. */
export function linePrefix(name: string, options: PrefixOptions): string {
  const text = `${name.padEnd(options.width)} │ `;
  return usesColour(options) ? styleText(colourOf(name), text, { validateStream: false }) : text;
}

export function dim(text: string, options: Pick<PrefixOptions, "isTerminal" | "env">): string {
  return usesColour(options) ? styleText("dim", text, { validateStream: false }) : text;
}

/** NO_COLOR and FORCE_COLOR (https://no-color.org) win over what the terminal says. */
function usesColour(options: Pick<PrefixOptions, "isTerminal" | "env">): boolean {
  if (options.env.NO_COLOR !== undefined && options.env.NO_COLOR !== "") return false;
  if (options.env.FORCE_COLOR !== undefined && options.env.FORCE_COLOR !== "0") return true;
  return options.isTerminal;
}

function colourOf(name: string): (typeof colours)[number] {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return colours[hash % colours.length] ?? "cyan";
}

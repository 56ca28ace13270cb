// Writes docs/reference/cli.md from the commands themselves.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "../src/cli/command.ts";
import { commands } from "../src/cli/commands.ts";
import type { Flag } from "../src/cli/flags.ts";

export const cliPath = join(resolve(import.meta.dirname, ".."), "docs", "reference", "cli.md");

const opening = `# Commands

Written by \`npm run docs\` from the commands themselves. Do not edit.

Flags may be written \`--flag value\` or \`--flag=value\`. Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failure,
2 usage, 3 configuration, 4 unreachable, 130 interrupted.
`;

export async function renderCliReference(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map(async (load) => (await load()).default));
  all.sort((a, b) => (a.name < b.name ? -1 : 1));
  return `${[opening, ...all.map(section)].join("\n")}`;
}

function section({ name, summary, usage, examples = [], flags }: Command): string {
  const rows = flags.filter(({ hidden }) => hidden !== true).map(row);
  const table = rows.length === 0 ? [] : ["", "| flag | default | what it does |", "|---|---|---|", ...rows];
  const shown = examples.length === 0 ? [] : ["", "```sh", ...examples, "```"];
  return [`## mecha ${name}`, "", `${summary}.`, "", `    ${usage}`, ...shown, ...table, ""].join("\n");
}

function row({ name, short, type, description, choices, default: standard }: Flag): string {
  const spelling = `\`--${name}\`${short === undefined ? "" : `, \`-${short}\``}`;
  const value = type === "boolean" ? spelling : `${spelling} ${choices?.join("\\|") ?? type}`;
  const isEmpty = standard === undefined || standard === "" || String(standard) === "" || standard === false;
  return `| ${value} | ${isEmpty ? "" : `\`${String(standard)}\``} | ${description.replaceAll("|", "\\|")} |`;
}

if (import.meta.main) writeFileSync(cliPath, await renderCliReference());

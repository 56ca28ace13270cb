// Rules for what people read: links, commands, the changelog.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { root } from "./source-file.ts";

/** Every Markdown file of the root, docs/ and examples/. */
export function documentPaths(): string[] {
  const top = readdirSync(root).filter((name) => name.endsWith(".md"));
  const inner = ["docs", "examples", "bench", "test"].flatMap((folder) => markdownBelow(folder));
  return [...top, ...inner];
}

function markdownBelow(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  const names = readdirSync(join(root, folder), { recursive: true }) as string[];
  return names
    .filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
    .map((name) => join(folder, name));
}

/** Relative links whose file, or whose heading, does not exist. */
export function brokenLinks(path: string): string[] {
  const text = withoutCode(read(path));
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = ""]) => {
    if (/^(https?:|mailto:)/.test(link)) return [];
    const [file = "", heading] = link.split("#");
    const target = file === "" ? path : normalize(join(dirname(path), file));
    if (!existsSync(join(root, target))) return [`${path}: ${link} does not exist`];
    const isMissing = heading !== undefined && target.endsWith(".md") && !headings(target).includes(heading);
    return isMissing ? [`${path}: ${target} has no heading #${heading}`] : [];
  });
}

function headings(path: string): string[] {
  const lines = withoutCode(read(path)).split("\n");
  return lines.filter((line) => /^#+ /.test(line)).map(slug);
}

/** As GitHub makes anchors of headings. */
function slug(line: string): string {
  const text = line.replace(/^#+ /, "").toLowerCase();
  return text.replace(/[^\p{Letter}\p{Number}\s_-]/gu, "").replaceAll(" ", "-");
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "");
}

export interface Command {
  path: string;
  /** `npm run ok`, `./mecha run`. */
  text: string;
  kind: "npm" | "mecha";
  name: string;
}

/** The npm scripts and mecha commands that a document tells its reader to type. */
export function commandsIn(path: string): Command[] {
  const code = [...read(path).matchAll(/^```(?:sh|console|bash)?\n([\s\S]*?)^```|`([^`\n]+)`/gm)];
  return code.flatMap(([, block, span]) =>
    (block ?? span ?? "").split("\n").flatMap((line) => commandsOfLine(path, line)),
  );
}

function commandsOfLine(path: string, line: string): Command[] {
  const text = line.replace(/^\s*\$ /, "").trim();
  const npm = /^npm (?:run )?([a-z][\w:-]*)/.exec(text);
  const builtIn = new Set(["i", "install", "ci", "pack", "publish", "view"]);
  if (npm?.[1] !== undefined && !builtIn.has(npm[1])) return [{ path, text, kind: "npm", name: npm[1] }];
  const mecha = /^(?:\.\/|dist\/|[\w/.]*\/)?mecha ([a-z][\w-]*)/.exec(text);
  return mecha?.[1] === undefined ? [] : [{ path, text, kind: "mecha", name: mecha[1] }];
}

const sections = new Set(["Added", "Changed", "Fixed", "Removed", "Deprecated", "Security"]);

/** What is wrong with the changelog's form: releases newest first, known sections, one sentence per bullet. */
export function changelogFaults(text: string): string[] {
  const lines = text.trimEnd().split("\n");
  const faults = lines[0] === "# Changelog" ? [] : ["line 1: must be `# Changelog`"];
  let hasRelease = false;
  lines.forEach((line, index) => {
    const at = `line ${index + 1}`;
    const release = /^## (Unreleased|\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2})$/.test(line);
    if (line.startsWith("## ") && !release)
      faults.push(`${at}: a release is \`## Unreleased\` or \`## 1.2.3 - 2026-01-31\``);
    if (line.startsWith("### ") && !sections.has(line.slice(4)))
      faults.push(`${at}: unknown section ${line.slice(4)}`);
    if (line.startsWith("- ") && !hasRelease) faults.push(`${at}: a line before the first release`);
    if (line.length > 160) faults.push(`${at}: longer than 160 characters`);
    hasRelease ||= release;
  });
  return faults;
}

export function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

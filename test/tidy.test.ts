// The habits of this repository, held by a test. Each rule prints every place that breaks it.
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../package.json";
import { currentCatalog, renderCatalog } from "../scripts/catalog.ts";
import { cliPath, renderCliReference } from "../scripts/cli-reference.ts";
import { errorsPath, renderErrorReference } from "../scripts/error-reference.ts";
import { policiesPath, renderPolicyReference } from "../scripts/policy-reference.ts";
import { errors } from "../src/errors.ts";
import { brokenLinks, changelogFaults, commandsIn, documentPaths, read } from "./tidy/documents.ts";
import { areaOf, layerBreaks, moduleBreaks } from "./tidy/layers.ts";
import { deadFiles, eagerLoads } from "./tidy/reachability.ts";
import { isTest, packageOf, readSourceFile, root, type SourceFile } from "./tidy/source-file.ts";

const fileLinesMax = 500;
const functionLinesMax = 70;

const paths = ["src", "scripts", "test", "bench", "examples"].flatMap(filesBelow).sort();
const files = paths.map(readSourceFile);
const typescript = files.filter((file) => file.path.endsWith(".ts"));

describe("imports", () => {
  test("go downwards only", () => none(files.filter((file) => !isTest(file.path)).flatMap(layerBreaks)));
  test("open HTTP where it belongs", () =>
    none(files.filter((file) => !isTest(file.path)).flatMap(moduleBreaks)));
  test("load heavy packages on use", () => none(eagerLoads(files)));
  test("name packages that package.json holds", () => none(files.flatMap(unknownPackages)));
  test("reach every file", () => none(deadFiles(files)));
});

describe("files", () => {
  test(`are at most ${fileLinesMax} lines long`, () => {
    none(over(files, (file) => file.lineCount > fileLinesMax && [`${file.path}: ${file.lineCount} lines`]));
  });
  test(`hold functions of at most ${functionLinesMax} lines`, () => none(files.flatMap(longFunctions)));
  test("have names in kebab-case that say what they hold", () => none(paths.flatMap(badNames)));
  test("have no type any", () => {
    none(files.flatMap((file) => file.anyLines.map((line) => `${file.path}:${line}`)));
  });
  test("leave no reminders", () => {
    const reminder = new RegExp(
      `\\b(${["TO", "FIX"].map((half, index) => half + (index === 0 ? "DO" : "ME")).join("|")}|XXX)\\b`,
    );
    none(
      over(files, (file) =>
        file.comments.filter(({ text }) => reminder.test(text)).map(({ line }) => `${file.path}:${line}`),
      ),
    );
  });
  test("run every test", () => none(members(typescript, /^(test|it|describe)\.only$/)));
});

describe("the product", () => {
  const product = files.filter((file) => areaOf(file.path) !== undefined && !isTest(file.path));
  test("reads the environment only in cli, host and main", () => {
    const mayRead = /^src\/(cli\/|host\/|main\.ts$)/;
    none(
      members(
        product.filter((file) => !mayRead.test(file.path)),
        /^(process|Bun)\.env$/,
      ),
    );
  });
  test("uses no Bun.serve and no fetch", () => {
    const fetches = product.flatMap((file) =>
      file.calls.filter(({ text }) => text === "fetch").map(({ line }) => `${file.path}:${line} fetch`),
    );
    none([...members(product, /^Bun\.(serve|fetch|connect|listen)$/), ...fetches]);
  });
  test("throws every error of its table", () => {
    const thrown = new Set(product.flatMap((file) => file.members.map(({ text }) => text)));
    none(Object.keys(errors).filter((name) => !thrown.has(`errors.${name}`)));
  });
  test("has an up-to-date catalog of components", async () => {
    expect(await renderCatalog(), "run `npm run catalog`").toBe(currentCatalog());
  });
});

describe("documents", () => {
  const documents = documentPaths();
  test("link to what exists", () => none(documents.flatMap(brokenLinks)));
  test("name npm scripts that exist", () => {
    const scripts = new Set(Object.keys(manifest.scripts));
    const commands = documents.flatMap(commandsIn).filter((command) => command.kind === "npm");
    none(
      commands
        .filter((command) => !scripts.has(command.name))
        .map((command) => `${command.path}: ${command.text}`),
    );
  });
  test("name mecha commands that exist", async () => {
    const known = await mechaCommands();
    const commands = documents.flatMap(commandsIn).filter((command) => command.kind === "mecha");
    none(
      commands
        .filter((command) => !known.has(command.name))
        .map((command) => `${command.path}: ${command.text}`),
    );
  });
  test("argue every dependency in a line", () => {
    const text = read("docs/internals/dependencies.md");
    const names = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
    none(names.filter((name) => !text.includes(`\`${name}\``)));
  });
  test("show the commands and errors as they are", async () => {
    expect(readFileSync(cliPath, "utf8"), "run `npm run docs`").toBe(await renderCliReference());
    expect(readFileSync(errorsPath, "utf8"), "run `npm run docs`").toBe(renderErrorReference());
    expect(readFileSync(policiesPath, "utf8"), "run `npm run docs`").toBe(renderPolicyReference());
  });
  test("keep the changelog's form", () => none(changelogFaults(read("CHANGELOG.md"))));
});

function filesBelow(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    const isLeftOut = ["node_modules", "target", "testdata"].includes(entry.name) || path === "src/wire";
    if (entry.isDirectory()) return isLeftOut ? [] : filesBelow(path);
    return /\.(ts|tsx|mjs)$/.test(entry.name) ? [path] : [];
  });
}

function over(all: SourceFile[], look: (file: SourceFile) => string[] | false): string[] {
  return all.flatMap((file) => look(file) || []);
}

function members(all: SourceFile[], pattern: RegExp): string[] {
  return over(all, (file) => {
    return file.members
      .filter(({ text }) => pattern.test(text))
      .map(({ line, text }) => `${file.path}:${line} ${text}`);
  });
}

/** A function that holds tests, such as the body of a `describe`, is a chapter. */
function longFunctions(file: SourceFile): string[] {
  const uses = [...file.calls, ...file.members];
  const tests = uses.filter(({ text }) => /^(test|it)(\.|$)/.test(text)).map(({ line }) => line);
  const chapters = new Set(uses.filter(({ text }) => /^describe(\.|$)/.test(text)).map(({ line }) => line));
  const isChapter = (from: number, lineCount: number) =>
    chapters.has(from) || tests.some((line) => line > from && line < from + lineCount);
  return file.functions
    .filter(({ line, lineCount }) => lineCount > functionLinesMax && !isChapter(line, lineCount))
    .map(({ line, lineCount }) => `${file.path}:${line} has a function of ${lineCount} lines`);
}

const emptyNames = new Set([
  "utils",
  "util",
  "helpers",
  "helper",
  "manager",
  "service",
  "impl",
  "base",
  "misc",
]);

function badNames(path: string): string[] {
  const parts = path.split("/");
  const stem = (parts.at(-1) as string).replace(/(\.(test|worker|d))?\.(ts|tsx|mjs)$/, "");
  const isComponent = path.startsWith("src/components/");
  const isKebab = (isComponent ? /^[a-z0-9]+([-.][a-z0-9]+)*$/ : /^[a-z0-9]+(-[a-z0-9]+)*$/).test(stem);
  const words = [...parts.slice(0, -1), stem].filter((word) => emptyNames.has(word));
  return isKebab && words.length === 0 ? [] : [path];
}

function unknownPackages(file: SourceFile): string[] {
  const isShipped = areaOf(file.path) !== undefined && !isTest(file.path);
  const known = isShipped ? manifest.dependencies : { ...manifest.dependencies, ...manifest.devDependencies };
  // An example is a project of its own; the SDK tests drive such projects.
  if (/^(examples|test\/sdk)\//.test(file.path)) return [];
  return file.imports.flatMap((one) => {
    const name = packageOf(one);
    return name === undefined || name in known ? [] : [`${file.path}:${one.line} ${name}`];
  });
}

async function mechaCommands(): Promise<Set<string>> {
  const { commands } = await import("../src/cli/commands.ts");
  return new Set(["help", ...Object.keys(commands)]);
}

/** Fails with a readable list. */
function none(found: string[]): void {
  expect(found.length === 0 ? "nothing" : `${found.length} places:\n${found.join("\n")}`).toBe("nothing");
}

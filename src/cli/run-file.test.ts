import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readRunFile } from "./run-file.ts";

const folder = mkdtempSync(join(tmpdir(), "mecha-run-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(text: string, name = "dapr.yaml"): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("readRunFile()", () => {
  test("merges the common part and resolves paths against the file", () => {
    mkdirSync(join(folder, "a/.dapr/resources"), { recursive: true });
    const path = write(`version: 1
common:
  resourcesPath: ./shared
  env: { COLOUR: red, SIZE: 1 }
  daprdLogDestination: console
apps:
  - appDirPath: ./a
    appPort: 8080
    command: ["node", "app.js"]
    env: { SIZE: 2 }
  - appID: b
    appProtocol: grpc
`);
    const [a, b] = readRunFile(path).apps;
    expect(a).toMatchObject({
      appId: "a",
      folder: join(folder, "a"),
      command: ["node", "app.js"],
      daprdLog: "console",
    });
    expect(a?.env).toEqual({ COLOUR: "red", SIZE: "2" });
    expect(a?.flags.get("resources-path")).toEqual([join(folder, "a/.dapr/resources")]);
    expect(a?.flags.get("app-port")).toBe(8080);
    expect(b?.flags.get("resources-path")).toEqual([join(folder, "shared")]);
    expect(b?.flags.get("app-protocol")).toBe("grpc");
  });

  test("gives an app its version and labels", () => {
    write("version: 1\napps:\n  - { appID: x, version: 2, labels: { tier: gold, zone: a } }\n");
    const [app] = readRunFile(folder).apps;
    expect(String(app?.flags.get("app-version"))).toBe("2");
    expect(app?.flags.get("labels")).toEqual(["tier=gold", "zone=a"]);
  });

  test("finds the conventional file in a folder", () => {
    write("version: 1\napps:\n  - appID: x\n");
    expect(readRunFile(folder).path).toBe(join(folder, "dapr.yaml"));
  });

  test.each([
    [
      "version: 1\napps:\n  - appID: x\n    appPrt: 1\n",
      /:4:5: unknown field "appPrt"/,
      /did you mean appPort/,
    ],
    [
      "version: 1\napps:\n  - appID: x\n    command: node app.js\n",
      /:4:14: command has to be a list/,
      /like command/,
    ],
    ["version: 1\n", /:1:1: the file has no apps/, /apps:/],
    [
      "version: 1\napps:\n  - appID: x\n    appLogDestination: tape\n",
      /:4:24: appLogDestination is "tape"/,
      /console/,
    ],
    ["version: [1\n", /:\d+:\d+: /, undefined],
  ])("refuses %p with the position", (text, message, hint) => {
    const path = write(text, "bad.yaml");
    try {
      readRunFile(path);
      throw new Error("nothing was refused");
    } catch (error) {
      expect((error as Error).message).toMatch(message);
      if (hint !== undefined) expect((error as { hint?: string }).hint).toMatch(hint);
    }
  });

  test("refuses two apps of one name and unknown dependencies", () => {
    const twice = write("apps:\n  - appID: x\n  - appID: x\n", "twice.yaml");
    expect(() => readRunFile(twice)).toThrow("two apps are called x");
    const missing = write("apps:\n  - appID: x\n    dependsOn: [y]\n", "missing.yaml");
    expect(() => readRunFile(missing)).toThrow("app x depends on y");
  });
});

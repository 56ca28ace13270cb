import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataFolder } from "./data-folder.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mecha-home-"));
});
afterEach(() => rmSync(home, { recursive: true }));

describe("openDataFolder()", () => {
  test("takes the flag, then MECHA_HOME, then the home directory, then the temporary one", () => {
    const env = { HOME: home, MECHA_HOME: join(home, "b"), TMPDIR: home };
    expect(openDataFolder({ given: join(home, "a"), env })).toBe(join(home, "a"));
    expect(openDataFolder({ env })).toBe(join(home, "b"));
    expect(openDataFolder({ env: { HOME: home } })).toBe(join(home, ".mecha"));
    expect(openDataFolder({ env: { TMPDIR: home } })).toStartWith(join(home, "mecha-"));
  });

  test("is its owner's alone, also when it was open before", () => {
    const folder = openDataFolder({ given: join(home, "a", "b"), env: {} });
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    chmodSync(folder, 0o755);
    openDataFolder({ given: folder, env: {} });
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  test("says which folder can not be made", () => {
    const file = join(home, "file");
    writeFileSync(file, "");
    expect(() => openDataFolder({ given: join(file, "data"), env: {} })).toThrow(
      `data folder ${join(file, "data")} can not be made`,
    );
  });
});

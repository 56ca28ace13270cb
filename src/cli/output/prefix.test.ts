import { describe, expect, test } from "bun:test";
import { linePrefix } from "./prefix.ts";

const style = { isTerminal: true, env: {}, width: 8 };
const escapeCode = String.fromCharCode(27);

describe("linePrefix()", () => {
  test("is as wide for each app, and in a colour of its own that stays", () => {
    const orders = linePrefix("orders", style);
    expect(orders).toContain("orders   │ ");
    expect(orders).toStartWith(`${escapeCode}[`);
    expect(linePrefix("orders", style)).toBe(orders);
    const plain = { ...style, isTerminal: false };
    expect(linePrefix("a", plain).length).toBe(linePrefix("payments", plain).length);
    const colours = ["a", "b", "c", "d"].map((name) => linePrefix(name, style).slice(0, 5));
    expect(new Set(colours).size).toBeGreaterThan(1);
  });

  test("has colours where a person looks, unless the environment says otherwise", () => {
    const isColoured = (isTerminal: boolean, env: Record<string, string>) =>
      linePrefix("a", { ...style, isTerminal, env }).includes(escapeCode);
    expect(isColoured(true, {})).toBe(true);
    expect(isColoured(false, {})).toBe(false);
    expect(isColoured(true, { NO_COLOR: "1" })).toBe(false);
    expect(isColoured(false, { FORCE_COLOR: "1" })).toBe(true);
    expect(isColoured(true, { FORCE_COLOR: "1", NO_COLOR: "1" })).toBe(false);
  });
});

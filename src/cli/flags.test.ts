import { describe, expect, test } from "bun:test";
import { type Flag, FlagValues, parseFlags, UsageError } from "./flags.ts";

const flags: readonly Flag[] = [
  { name: "app-id", short: "a", type: "text", description: "" },
  { name: "app-port", short: "p", type: "number", default: 0, takesAuto: true, description: "" },
  { name: "log-as-json", type: "boolean", default: false, description: "" },
  { name: "resources-path", short: "d", type: "list", default: [], description: "" },
  { name: "log-level", type: "text", default: "info", choices: ["debug", "info"], description: "" },
];
const parse = (...argv: string[]): FlagValues => new FlagValues(flags, parseFlags(flags, argv).given);

describe("parseFlags()", () => {
  test.each([
    [["--app-id", "x"], "x"],
    [["--app-id=x"], "x"],
    [["-app-id", "x"], "x"],
    [["-a", "x"], "x"],
    [["--app-id=a=b"], "a=b"],
  ])("reads %p as pflag does", (argv, value) => {
    expect(parse(...argv).text("app-id")).toBe(value);
  });

  test.each([
    [["--log-as-json"], true],
    [["--log-as-json=false"], false],
    [["--log-as-json=true"], true],
    [[], false],
  ])("reads booleans: %p", (argv, value) => {
    expect(parse(...argv).boolean("log-as-json")).toBe(value);
  });

  test("gathers repeated and comma separated lists", () => {
    expect(parse("-d", "a,b", "--resources-path=c").list("resources-path")).toEqual(["a", "b", "c"]);
  });

  test("takes the word auto where a number may be chosen", () => {
    expect(parse("--app-port", "auto").number("app-port")).toBe(-1);
  });

  test("ends the flags at --", () => {
    const parsed = parseFlags(flags, ["--app-id", "x", "--", "node", "--app-id", "y"]);
    expect(parsed.rest).toEqual(["node", "--app-id", "y"]);
  });

  test("ends the flags at the first positional when asked to", () => {
    const parsed = parseFlags(flags, ["-a", "x", "node", "-p", "1"], { stopAtPositional: true });
    expect(parsed.positionals).toEqual(["node", "-p", "1"]);
  });

  test.each([
    [["--app-idd", "x"], "unknown flag: --app-idd", "did you mean --app-id?"],
    [["--app-port", "x"], 'invalid argument "x" for --app-port: not a number', undefined],
    [["--app-id"], "flag needs an argument: --app-id", undefined],
    [
      ["--log-as-json=maybe"],
      'invalid argument "maybe" for --log-as-json: not a boolean',
      "use true or false",
    ],
    [["--log-level", "loud"], 'invalid argument "loud" for --log-level', "one of: debug, info"],
  ])("refuses %p with a hint", (argv, message, hint) => {
    const failure = catchUsage(() => parse(...argv));
    expect(failure.message).toBe(message);
    expect(failure.hint).toBe(hint);
  });
});

function catchUsage(work: () => unknown): UsageError {
  try {
    work();
  } catch (error) {
    if (error instanceof UsageError) return error;
  }
  throw new Error("nothing was refused");
}

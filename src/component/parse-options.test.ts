import { expect, test } from "bun:test";
import { component } from "./component.ts";
import { describe } from "./describe.ts";
import { choice, duration, flag, json, list, number, pairs, quantity, text } from "./fields.ts";
import { FieldError, parseOptions } from "./parse-options.ts";

const definition = component({
  type: "state.sample",
  version: "v1",
  status: "stable",
  summary: "for these tests",
  metadata: {
    host: text({ description: "where", required: true }),
    password: text({ description: "secret", sensitive: true, aliases: ["pwd"] }),
    retries: number({ description: "tries", default: 3, min: 0, max: 10 }),
    enableTLS: flag({ description: "TLS", default: false }),
    timeout: duration({ description: "wait", default: 5000, min: 1 }),
    size: quantity({ description: "bytes", default: 1024 }),
    mode: choice(["fast", "safe"], { description: "how", default: "safe" }),
    topics: list({ description: "names" }),
    headers: pairs({ description: "pairs" }),
    extra: json({ description: "anything" }),
    cluster: text({ description: "later", missing: "clusters come later" }),
  },
  open: async () => {
    throw new Error("never opened");
  },
});

const parse = (values: Record<string, string>) => parseOptions(definition, new Map(Object.entries(values)));

test("parseOptions() reads every type of field, whatever the case of its name", () => {
  const { options, unknown } = parse({
    HOST: "h",
    Pwd: "p",
    retries: "7",
    enabletls: "Yes",
    timeout: "PT2S",
    size: "4Ki",
    mode: "FAST",
    topics: "a, b,,c",
    headers: "a=1, b=x=y",
    extra: '{"k":[1]}',
  });
  expect(options).toEqual({
    host: "h",
    password: "p",
    retries: 7,
    enableTLS: true,
    timeout: 2000,
    size: 4096,
    mode: "fast",
    topics: ["a", "b", "c"],
    headers: { a: "1", b: "x=y" },
    extra: { k: [1] },
    cluster: undefined,
  });
  expect(unknown).toEqual([]);
});

test("parseOptions() fills defaults in", () => {
  expect(parse({ host: "h", timeout: "" }).options).toMatchObject({
    retries: 3,
    enableTLS: false,
    timeout: 5000,
    mode: "safe",
    password: undefined,
  });
});

test("parseOptions() counts a bare number of a duration in seconds", () => {
  expect(parse({ host: "h", timeout: "20" }).options.timeout).toBe(20_000);
});

const wrong: [Record<string, string>, string][] = [
  [{}, "state.sample needs metadata field host"],
  [{ host: " " }, "state.sample needs metadata field host: a text"],
  [
    { host: "h", retries: "many" },
    'metadata field retries of state.sample: expected a whole number, 0 to 10, got "many"',
  ],
  [{ host: "h", retries: "1.5" }, "expected a whole number"],
  [{ host: "h", retries: "11" }, 'expected a whole number, 0 to 10, got "11"'],
  [{ host: "h", enableTLS: "perhaps" }, 'expected true or false, got "perhaps"'],
  [{ host: "h", timeout: "5 minutes" }, "expected a duration such as 500ms, 1h30m or PT5M, at least 1ms"],
  [{ host: "h", mode: "slow" }, 'expected one of fast, safe, got "slow"'],
  [{ host: "h", extra: "{" }, "expected JSON"],
  [{ host: "h", cluster: "yes" }, "not implemented: clusters come later"],
  [{ host: "h", actorStateStore: "perhaps" }, "expected true or false"],
];
test.each(wrong)("parseOptions() refuses %j", (values, message) => {
  expect(() => parse(values)).toThrow(FieldError);
  expect(() => parse(values)).toThrow(message);
});

test("parseOptions() does not show the value of a sensitive field", () => {
  const secretive = { ...definition, metadata: { pin: number({ description: "", sensitive: true }) } };
  expect(() => parseOptions(secretive, new Map([["pin", "hunter2"]]))).toThrow("got (hidden)");
});

test("parseOptions() does not show values that come from secrets", () => {
  const wait = duration({ description: "" });
  const values = new Map([["wait", "hunter2"]]);
  const error = (hidden: string[]): string => {
    try {
      parseOptions({ ...definition, metadata: { wait } }, values, new Set(hidden));
      return "";
    } catch (thrown) {
      return (thrown as Error).message;
    }
  };
  expect(error([])).toContain("hunter2");
  expect(error(["wait"])).toContain("(hidden)");
  expect(error(["wait"])).not.toContain("hunter2");
});

test("parseOptions() reports fields that nobody knows, and knows those of the layer above", () => {
  const { unknown } = parse({ host: "h", keyPrefix: "none", actorStateStore: "true", retreis: "1" });
  expect(unknown).toEqual([
    {
      field: "retreis",
      message: 'metadata field retreis is not known to state.sample; did you mean "retries"?',
    },
  ]);
});

test("describe() yields a schema, a table and what to hide", () => {
  const { schema, table, sensitive, fields } = describe(definition);
  expect(schema).toMatchObject({
    type: "object",
    required: ["host"],
    properties: { mode: { enum: ["fast", "safe"] }, password: { writeOnly: true }, keyPrefix: {} },
  });
  expect(table).toContain("| `retries` | number, 0 to 10 | 3 | tries |");
  expect(table).toContain("| `password` | text |  | secret (also `pwd`) |");
  expect(sensitive.has("pwd")).toBe(true);
  expect(fields.map((field) => field.name)).not.toContain("cluster");
});

import { expect, test } from "bun:test";
import { createLog } from "../telemetry/log.ts";
import { SecretHider } from "./hide-secrets.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

test.each([
  ["hunter2", "the password hunter2 is wrong", "the password (hidden) is wrong"],
  ["postgresql://u:p%40ss@db/x", "password p%40ss or p@ss of u", "password (hidden) or (hidden) of u"],
  ["u:pa55word@tcp(db:3306)/x", "using password pa55word", "using password (hidden)"],
  ["host=db password='a b c d' user=u", "got a b c d", "got (hidden)"],
  [
    "http://u:pa55word@host/",
    `Authorization: Basic ${base64("u:pa55word")}`,
    "Authorization: Basic (hidden)",
  ],
  ["AccountName=a;AccountKey=c2VjcmV0;x=y", "the key c2VjcmV0", "the key (hidden)"],
  ['quo"ted', JSON.stringify({ key: 'quo"ted' }), '{"key":"(hidden)"}'],
  [
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQ==\n-----END PRIVATE KEY-----",
    "at MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQ==",
    "at (hidden)",
  ],
  ['{"keys":[{"k":"c2VjcmV0IG9mIGEga2V5"}]}', "k is c2VjcmV0IG9mIGEga2V5", "k is (hidden)"],
  ["abc", "too short to be one: abc", "too short to be one: abc"],
])("of %p the text %p is %p", (secret, text, hidden) => {
  expect(new SecretHider([secret]).text(text)).toBe(hidden);
});

class Refused extends Error {}

/** A component as they are written: with private fields, and methods that not every one has. */
class Store {
  #secret: string;
  readonly features = new Set(["ETAG"]);
  constructor(secret: string) {
    this.#secret = secret;
  }
  async get(): Promise<never> {
    throw new Refused(`no ${this.#secret}`, { cause: new AggregateError([new Error(this.#secret)], "all") });
  }
  parse(): never {
    throw new Error(this.#secret);
  }
  async close(): Promise<string> {
    return this.#secret;
  }
}

test("what a component throws keeps its class and loses its secrets; what it answers stays", async () => {
  const store: Store & { bulkGet?: unknown } = new SecretHider(["hunter2"]).instance(new Store("hunter2"));
  const error = (await store.get().catch((caught: unknown) => caught)) as Refused;
  expect(error).toBeInstanceOf(Refused);
  const cause = error.cause as AggregateError;
  expect([error.message, cause.message, (cause.errors[0] as Error).message]).toEqual([
    "no (hidden)",
    "all",
    "(hidden)",
  ]);
  expect(`${error.stack} ${error.cause}`).not.toContain("hunter2");
  expect(() => store.parse()).toThrow("(hidden)");
  expect(await store.close()).toBe("hunter2");
  expect([store instanceof Store, "get" in store, store.bulkGet, store.features.has("ETAG")]).toEqual([
    true,
    true,
    undefined,
    true,
  ]);
  const plain = new Store("x");
  expect(new SecretHider([]).instance(plain)).toBe(plain);
});

test("lines of the log lose them, in texts, fields and errors", () => {
  const lines: string[] = [];
  const options = { appId: "a", instance: "i", version: "v", level: "debug" as const, asJson: true };
  const log = new SecretHider(["hunter2"]).log(
    createLog({ ...options, write: (line) => void lines.push(line) }),
  );
  log.scope("x").warn({ server: "u:hunter2@db", error: new Error("bad hunter2") }, "refused hunter2");
  expect(lines.join()).not.toContain("hunter2");
  expect(lines.join()).toContain("refused (hidden)");
});

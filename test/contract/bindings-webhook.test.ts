import { afterEach, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { connect } from "node:net";
import { freePort } from "../../scripts/free-port.ts";
import type { Binding, BindingEvent } from "../../src/component/binding.ts";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import definition from "../../src/components/bindings/webhook.ts";
import { componentHost, eventually } from "./component-host.ts";
import { rejection } from "./state.ts";

const opened: Binding[] = [];
afterEach(async () => {
  for (const binding of opened.splice(0)) await binding.close();
});

async function open(items: Record<string, string>): Promise<{ binding: Binding; url: string }> {
  const port = items.port ?? String(await freePort());
  const values = new Map(Object.entries({ port, path: "/hook", ...items }));
  const { options } = parseOptions(definition as unknown as ComponentDefinition<ComponentKind>, values);
  const binding = await definition.open(options as never, componentHost({ name: "hook" }));
  opened.push(binding);
  return { binding, url: `http://127.0.0.1:${port}/hook` };
}

async function listen(items: Record<string, string>, handle: (text: string) => unknown = () => undefined) {
  const events: BindingEvent[] = [];
  const { binding, url } = await open(items);
  await binding.read?.(async (event) => {
    events.push(event);
    const reply = await handle(Buffer.from(event.data).toString());
    return reply === undefined ? undefined : Buffer.from(String(reply));
  });
  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(url, { method: "POST", body, headers });
  return { events, post, url, binding };
}

const sign = (text: string, secret = "s3cret", encoding: "hex" | "base64" = "hex") =>
  createHmac("sha256", secret).update(text).digest(encoding);
const seconds = (laterS = 0) => String(Math.floor(Date.now() / 1_000) + laterS);

test("GitHub's own example is good, and every change of it is not", async () => {
  const secret = "It's a Secret to Everybody";
  const body = "Hello, World!";
  const good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
  const { events, post } = await listen({ signature: "github", secret });
  const headers = {
    "X-Hub-Signature-256": good,
    "X-GitHub-Event": "push",
    "dapr-app-id": "x",
    "X-Other": "y",
  };
  expect((await post(body, { ...headers, "Content-Type": "text/plain" })).status).toBe(200);
  expect(events).toEqual([
    { data: Buffer.from(body), metadata: { "x-github-event": "push" }, contentType: "text/plain" },
  ] as never);
  const bad: [string, Record<string, string>][] = [
    [body, {}],
    ["Hello, World?", headers],
    [body, { "X-Hub-Signature-256": good.slice(7) }],
    [body, { "X-Hub-Signature-256": `${good.slice(0, -1)}f` }],
    [body, { "X-Hub-Signature-256": "sha256=" }],
    [body, { "X-Hub-Signature": good }],
    [body, { "X-Hub-Signature-256": `sha256=${sign(body, "other")}` }],
  ];
  for (const [text, wrong] of bad) {
    const reply = await post(text, wrong);
    expect([reply.status, await reply.text()]).toEqual([401, ""]);
  }
  expect(events.length).toBe(1);
});

test("Stripe's: one good signature of several, near enough in time", async () => {
  const { events, post } = await listen({ signature: "stripe", secret: "s3cret", tolerance: "1m" });
  const send = (t: string, v1: string[]) =>
    post('{"id":1}', { "Stripe-Signature": [`t=${t}`, ...v1.map((one) => `v1=${one}`), "v0=x"].join(",") });
  const now = seconds();
  expect((await send(now, [sign(`${now}.{"id":1}`, "other"), sign(`${now}.{"id":1}`)])).status).toBe(200);
  for (const late of [-100, 100]) {
    const then = seconds(late);
    expect((await send(then, [sign(`${then}.{"id":1}`)])).status).toBe(401);
  }
  // The time is signed too.
  expect((await send(seconds(), [sign(`${seconds(-100)}.{"id":1}`)])).status).toBe(401);
  expect((await send("now", [sign('now.{"id":1}')])).status).toBe(401);
  expect((await send(now, [])).status).toBe(401);
  expect(events.length).toBe(1);
});

test("headers of any name, with a time or without, and two secrets while one is changed", async () => {
  const items = {
    signature: "header",
    secret: "s3cret",
    signatureHeader: "X-Sig",
    signatureEncoding: "base64",
  };
  const simple = await listen({ ...items, previousSecret: "old", signaturePrefix: "v1:" });
  for (const secret of ["s3cret", "old"])
    expect((await simple.post("a", { "x-sig": `v1:${sign("a", secret, "base64")}` })).status).toBe(200);
  expect((await simple.post("a", { "x-sig": sign("a", "s3cret", "base64") })).status).toBe(401);
  const timed = await listen({ ...items, timestampHeader: "X-Time", headers: "X-Kind" });
  const at = async (time: string, signed = time) => {
    const headers = { "X-Time": time, "X-Sig": sign(`${signed}.b`, "s3cret", "base64"), "X-Kind": "k" };
    return (await timed.post("b", headers)).status;
  };
  const now = seconds();
  expect([await at(now), await at(seconds(-301)), await at(now, seconds(-5))]).toEqual([200, 401, 401]);
  expect(timed.events[0]?.metadata).toEqual({ "x-kind": "k" });
});

test("a request that was taken is not delivered twice; one that failed may come again", async () => {
  let isUp = false;
  const gate = Promise.withResolvers<void>();
  const handle = async (text: string) => {
    if (text === "slow") await gate.promise;
    if (!isUp && text === "retry") throw new Error("no");
    return '{"ok":true}';
  };
  const { events, post } = await listen({ signature: "github", secret: "s3cret" }, handle);
  const send = (text: string) => post(text, { "X-Hub-Signature-256": `sha256=${sign(text)}` });
  expect([(await send("retry")).status, (await send("retry")).status]).toEqual([500, 500]);
  isUp = true;
  const taken = await send("retry");
  expect([taken.status, await taken.text()]).toEqual([200, '{"ok":true}']);
  expect((await send("retry")).status).toBe(200);
  expect(events.length).toBe(3);
  const both = [send("slow"), send("slow")];
  await eventually("it is at work", () => events.length === 4);
  gate.resolve();
  expect((await Promise.all(both)).map(({ status }) => status)).toEqual([200, 200]);
  expect(events.length).toBe(4);
  const open = await listen({ signature: "github", secret: "s3cret", replayWindow: "0" });
  for (let count = 0; count < 2; count++)
    await open.post("x", { "X-Hub-Signature-256": `sha256=${sign("x")}` });
  expect(open.events.length).toBe(2);
});

test("bodies, requests at work, waits and paths have their bounds", async () => {
  const gate = Promise.withResolvers<void>();
  const handle = (text: string) => (text === "wait" ? gate.promise : undefined);
  const items = { signature: "none", maxBodySize: "1Ki", concurrency: "2", timeout: "300ms" };
  const { events, post, url } = await listen(items, handle);
  expect((await post("x".repeat(1_024))).status).toBe(200);
  expect((await post("x".repeat(1_025))).status).toBe(413);
  const pieces = new ReadableStream({
    start(controller) {
      for (let count = 0; count < 4; count++) controller.enqueue(Buffer.alloc(400));
      controller.close();
    },
  });
  expect((await fetch(url, { method: "POST", body: pieces })).status).toBe(413);
  expect((await fetch(url)).status).toBe(405);
  expect((await fetch(`${url}/more`, { method: "POST" })).status).toBe(404);
  expect((await fetch(`${url}?a=b`, { method: "POST", body: "q" })).status).toBe(200);
  const waiting = [post("wait"), post("wait")];
  await eventually("they are at work", () => events.length === 4);
  const refused = await post("third");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([504, 504]);
  gate.resolve();
  expect((await post("after")).status).toBe(200);
});

test("a sender that breaks off in its body is nobody's event", async () => {
  const { events, post, url } = await listen({ signature: "none", concurrency: "1" });
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write("POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
  await eventually("it is at work", async () => (await post("probe")).status === 503);
  socket.destroy();
  await eventually("its place is free", async () => (await post("whole")).status === 200);
  expect(events.map(({ data }) => Buffer.from(data).toString())).not.toContain("half");
});

test("waits for its port, and gives it back", async () => {
  const first = await listen({ signature: "none" });
  const { port } = new URL(first.url);
  const second = await listen({ signature: "none", port });
  await first.binding.close();
  await eventually("the second has it", () =>
    second.post("x").then(
      () => true,
      () => false,
    ),
  );
  expect([first.events.length, second.events.length]).toEqual([0, 1]);
  await second.binding.close();
  expect(await rejection(second.post("x"))).toBeInstanceOf(Error);
});

test("says what is wrong with its metadata", async () => {
  const cases: [Record<string, string>, string][] = [
    [{}, "signature"],
    [{ signature: "md5", secret: "x" }, "signature"],
    [{ signature: "github" }, "secret is missing: signature github needs one"],
    [{ signature: "none", secret: "x" }, "signature none has no secret"],
    [{ signature: "none", port: "0" }, "port"],
    [{ signature: "none", path: "a b" }, 'path "/a b" is no path'],
    [{ signature: "none", maxBodySize: "1Gi" }, "maxBodySize"],
  ];
  for (const [items, message] of cases) expect(String(await rejection(open(items)))).toContain(message);
});

// All components on NATS against servers that ask for TLS with certificates, and for a JWT.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding } from "../../src/component/binding.ts";
import type { PubSub } from "../../src/component/pubsub.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import nats from "../../src/components/bindings/nats.ts";
import jetstreamPubSub from "../../src/components/pubsub/jetstream.ts";
import jetstreamState from "../../src/components/state/jetstream.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startNats, type TestNats } from "./nats.ts";
import { natsLogin } from "./nats-login.ts";
import { subscription } from "./pubsub.ts";
import { type TlsFiles, tlsFiles } from "./tls-files.ts";

let files: TlsFiles;
let secure: TestNats;
let plain: TestNats;
const login = natsLogin("denied.>");
beforeAll(async () => {
  files = await tlsFiles();
  const { tlsCa, tlsCert, tlsKey } = files.paths;
  const tls = `{ cert_file: "${tlsCert}", key_file: "${tlsKey}", ca_file: "${tlsCa}", verify: true }`;
  secure = await startNats({ tls });
  plain = await startNats(login.server);
}, 60_000);
afterAll(async () => {
  await secure.stop();
  await plain.stop();
  await files.remove();
});

type Items = Record<string, string>;
const options = (definition: { metadata: object }, items: Items) =>
  secure.options<never>(definition, { timeout: "3s", ...items });

async function roundOfPubSub(items: Items): Promise<void> {
  const all = { createStreams: "true", ...items };
  const pubsub: PubSub = await jetstreamPubSub.open(options(jetstreamPubSub, all), componentHost());
  try {
    const seen: string[] = [];
    await pubsub.subscribe(subscription(), async ({ data }) => void seen.push(Buffer.from(data).toString()));
    await pubsub.publish({ topic: "topic", data: Buffer.from("x"), contentType: "", metadata: {} });
    await eventually("it is there", () => seen.length === 1);
  } finally {
    await pubsub.close();
  }
}

async function roundOfState(items: Items): Promise<void> {
  const all = { bucket: "secure", createBucket: "true", ...items };
  const store: StateStore = await jetstreamState.open(options(jetstreamState, all), componentHost());
  try {
    await store.set({ key: "a", value: Buffer.from("1"), metadata: {} });
    const got = await store.get({ key: "a", metadata: {} });
    expect(Buffer.from(got?.value ?? []).toString()).toBe("1");
  } finally {
    await store.close();
  }
}

async function roundOfBinding(items: Items): Promise<void> {
  const all = { subjects: "asked", ...items };
  const binding: Binding = await nats.open(options(nats, all), componentHost());
  try {
    await binding.read?.(async ({ data }) => data);
    const request = { operation: "request", data: Buffer.from("x"), metadata: { subject: "asked" } };
    expect(Buffer.from((await binding.invoke?.(request))?.data ?? []).toString()).toBe("x");
  } finally {
    await binding.close();
  }
}

const rounds = {
  "pubsub.jetstream": roundOfPubSub,
  "state.jetstream": roundOfState,
  "bindings.nats": roundOfBinding,
};

for (const [type, round] of Object.entries(rounds)) {
  const refusal = async (items: Items): Promise<string> => String(await round(items).catch((error) => error));

  test(`${type} over TLS, with a certificate of its own, as text or as files`, async () => {
    const { ca, leaf, paths } = files;
    const natsURL = secure.url.replace("nats://127.0.0.1", "tls://localhost");
    await round({ natsURL, tls_ca: ca, tls_client_cert: leaf.cert, tls_client_key: leaf.key });
    const inFiles = { tls_ca: paths.tlsCa, tls_client_cert: paths.tlsCert, tls_client_key: paths.tlsKey };
    await round({ natsURL: secure.url, ...inFiles });
  }, 20_000);

  test(`${type} trusts no server of another authority, and is not taken without a certificate`, async () => {
    const { ca, leaf } = files;
    const natsURL = secure.url.replace("127.0.0.1", "localhost");
    const pair = { tls_client_cert: leaf.cert, tls_client_key: leaf.key };
    for (const items of [{ tls_ca: createAuthority("other").ca }, {}] as Items[])
      expect(await refusal({ natsURL, ...pair, ...items })).toContain("certificate");
    const without = await refusal({ natsURL, tls_ca: ca, timeout: "500ms" });
    expect(without).toContain("error connecting to nats at");
  }, 30_000);

  test(`${type} sends nothing to a server without TLS when it is to use it`, async () => {
    const credentials = { jwt: login.jwt, seedKey: login.seedKey };
    expect(await refusal({ natsURL: plain.url.replace("nats:", "tls:"), ...credentials })).toContain("'tls'");
    expect(await refusal({ natsURL: plain.url, tls_ca: files.ca, ...credentials })).toContain("'tls'");
  }, 20_000);

  test(`${type} with a JWT and the seed of its key`, async () => {
    const { jwt, seedKey } = login;
    await round({ natsURL: plain.url, jwt, seedKey });
    const other = natsLogin("none");
    for (const items of [
      { jwt, seedKey: other.seedKey },
      { jwt: other.jwt, seedKey: other.seedKey },
      {},
    ] as Items[])
      expect(await refusal({ natsURL: plain.url, ...items })).toContain("Authorization Violation");
    expect(await refusal({ natsURL: plain.url, jwt, seedKey: "SU" })).toContain("nkeys");
  }, 20_000);
}

test("what a user may not send is refused at once, not taken for unanswered, and nothing else suffers", async () => {
  const { jwt, seedKey } = login;
  const items = { natsURL: plain.url, jwt, seedKey, createStreams: "true" };
  const pubsub: PubSub = await jetstreamPubSub.open(options(jetstreamPubSub, items), componentHost());
  const publish = (topic: string) =>
    pubsub.publish({ topic, data: Buffer.from("x"), contentType: "", metadata: {} });
  const { createStreams: _, ...rest } = items;
  const binding: Binding = await nats.open(options(nats, rest), componentHost());
  const ask = async (operation: string, subject: string) =>
    binding.invoke?.({ operation, data: Buffer.from("x"), metadata: { subject } });
  const asked = [ask("create", "denied.a"), ask("request", "denied.a"), publish("denied.b")];
  const fine = Promise.all([ask("create", "fine.a"), publish("fine.b")]);
  for (const error of await Promise.all(asked.map((one) => one.catch((reason: Error) => reason)))) {
    expect(String(error)).toContain("Permissions Violation for Publish");
    expect(error).not.toBeInstanceOf(ServerUnavailable);
  }
  await fine;
  await binding.close();
  await pubsub.close();
});

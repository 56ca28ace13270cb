import { afterAll, beforeAll, expect, test } from "bun:test";
import { freePort } from "../../scripts/free-port.ts";
import rabbitmq from "../../src/components/pubsub/rabbitmq.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { componentHost, eventually } from "./component-host.ts";
import { subscription } from "./pubsub.ts";
import { startRabbitmq, type TestRabbitmq } from "./rabbitmq.ts";
import { type TlsFiles, tlsFiles } from "./tls-files.ts";

let files: TlsFiles;
let port: number;
let server: TestRabbitmq;
beforeAll(async () => {
  files = await tlsFiles();
  port = await freePort();
  server = await startRabbitmq({
    ...{ ...files.paths, tlsPort: String(port), plugins: "rabbitmq_auth_mechanism_ssl" },
    ...{ "auth_mechanisms.1": "EXTERNAL", "auth_mechanisms.2": "PLAIN", ssl_cert_login_from: "common_name" },
    // The name in the certificate.
    ...{ default_user: "localhost", default_pass: "sesame" },
  });
}, 120_000);
afterAll(async () => {
  await server.stop();
  await files.remove();
}, 60_000);

const open = (items: Record<string, string>) => {
  const connectionString = `amqps://localhost:${port}`;
  return rabbitmq.open(
    server.options(rabbitmq, { connectionString, timeout: "5s", ...items }),
    componentHost(),
  );
};

async function delivers(items: Record<string, string>): Promise<void> {
  const pubsub = await open(items);
  const seen: string[] = [];
  await pubsub.subscribe(subscription(), async ({ data }) => void seen.push(Buffer.from(data).toString()));
  await pubsub.publish({ topic: "topic", data: Buffer.from("x"), contentType: "", metadata: {} });
  await eventually("it is there", () => seen.length === 1);
  expect(seen).toEqual(["x"]);
  await pubsub.close();
}

test("publishes and subscribes over TLS, with a password", () =>
  delivers({ caCert: files.ca, username: "localhost", password: "sesame" }));

test("logs in by its certificate, without a password", () => {
  const { ca, leaf } = files;
  return delivers({ caCert: ca, clientCert: leaf.cert, clientKey: leaf.key, saslExternal: "true" });
});

test("does not trust a broker of another authority, and is not taken with a wrong password", async () => {
  const { ca } = createAuthority("other");
  const stranger = await open({ caCert: ca, username: "localhost", password: "sesame" }).catch((e) => e);
  expect(stranger.message).toContain(`error connecting to rabbitmq at localhost:${port}`);
  const denied = await open({ caCert: files.ca, username: "localhost", password: "x" }).catch((e) => e);
  expect(denied.message).toContain("ACCESS_REFUSED");
});

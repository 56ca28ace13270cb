import { afterAll, beforeAll, expect, test } from "bun:test";
import { freePort } from "../../scripts/free-port.ts";
import mqtt3 from "../../src/components/pubsub/mqtt3.ts";
import mqtt5 from "../../src/components/pubsub/mqtt5.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startMosquitto, type TestMosquitto } from "./mosquitto.ts";
import { subscription } from "./pubsub.ts";
import { type TlsFiles, tlsFiles } from "./tls-files.ts";

let files: TlsFiles;
let port: number;
let server: TestMosquitto;
beforeAll(async () => {
  files = await tlsFiles();
  port = await freePort();
  server = await startMosquitto({ ...files.paths, tlsPort: String(port) });
}, 60_000);
afterAll(async () => {
  await server.stop();
  await files.remove();
});

for (const component of [mqtt3, mqtt5]) {
  const open = (items: Record<string, string>) => {
    const url = `ssl://localhost:${port}`;
    return component.open(server.options(component, { url, timeout: "5s", ...items }), componentHost());
  };

  test(`${component.type} publishes and subscribes over TLS with a certificate of its own`, async () => {
    const { ca, leaf } = files;
    const pubsub = await open({ caCert: ca, clientCert: leaf.cert, clientKey: leaf.key });
    const seen: string[] = [];
    await pubsub.subscribe(subscription(), async ({ data }) => void seen.push(Buffer.from(data).toString()));
    await pubsub.publish({ topic: "topic", data: Buffer.from("x"), contentType: "", metadata: {} });
    await eventually("it is there", () => seen.length === 1);
    expect(seen).toEqual(["x"]);
    await pubsub.close();
  });

  test(`${component.type} does not trust a broker of another authority, and is not taken without a certificate`, async () => {
    const { ca, leaf } = files;
    const pair = { clientCert: leaf.cert, clientKey: leaf.key };
    for (const items of [{ ...pair, caCert: createAuthority("other").ca }, pair, { caCert: ca }]) {
      const error = await open(items).catch((e) => e);
      expect(error.message).toContain(`error connecting to mqtt at localhost:${port}`);
    }
  });
}

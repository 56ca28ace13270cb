import { expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import blobs from "../../src/components/bindings/azure.blobstorage.ts";
import { until } from "../../src/testing/index.ts";
import { startAzurite, type TestAzurite } from "../contract/azurite.ts";
import { componentHost } from "../contract/component-host.ts";
import { rejection } from "../contract/state.ts";
import { signalTree } from "../signal-tree.ts";
import { isDone } from "./is-done.ts";
import { networkedCalls } from "./network-calls.ts";

let azurite: TestAzurite;
let count = 0;

async function openAt(port: number) {
  const items = { containerName: "net", endpoint: `http://127.0.0.1:${port}`, timeout: "1s" };
  const options = azurite.options<Parameters<typeof blobs.open>[0]>(blobs, items);
  const binding = await blobs.open(options, componentHost());
  return {
    async call(text: string) {
      const metadata = { blobName: `blob-${++count}` };
      await binding.invoke?.({ operation: "create", metadata, data: Buffer.from(text) });
      const reply = await binding.invoke?.({ operation: "get", metadata, data: new Uint8Array() });
      return Buffer.from(reply?.data ?? []).toString();
    },
    close: () => binding.close(),
  };
}

networkedCalls({
  name: "bindings.azure.blobstorage",
  async start() {
    azurite = await startAzurite();
    return { port: azurite.server.port, open: openAt, stop: () => azurite.server.stop() };
  },
});

test("bindings.azure.blobstorage: a frozen server is a typed error in time, and it goes on", async () => {
  azurite = await startAzurite();
  const caller = await openAt(azurite.server.port);
  expect(await caller.call("before")).toBe("before");
  signalTree(azurite.server.pid, "STOP");
  try {
    const errors = await Promise.all([1, 2, 3].map((number) => rejection(caller.call(`frozen ${number}`))));
    for (const error of errors) expect(error).toBeInstanceOf(ServerUnavailable);
  } finally {
    signalTree(azurite.server.pid, "CONT");
  }
  await until(() => isDone(caller.call("after")), "it is back", 20_000);
  await caller.close();
  await azurite.server.stop();
}, 60_000);

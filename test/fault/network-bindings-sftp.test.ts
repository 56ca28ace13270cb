import { expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { until } from "../../src/testing/index.ts";
import { startSftp } from "../contract/sftp.ts";
import { rejection } from "../contract/state.ts";
import { signalTree } from "../signal-tree.ts";
import { isDone } from "./is-done.ts";
import { networkedCalls } from "./network-calls.ts";

const backMs = 20_000;

networkedCalls({
  name: "bindings.sftp",
  // Each exchanges keys and logs in: 240 ms.
  cycles: 50,
  async start() {
    const sftp = await startSftp();
    let count = 0;
    return {
      port: sftp.server.port,
      async open(port) {
        const binding = await sftp.open({ address: `127.0.0.1:${port}`, timeout: "1500ms" });
        return {
          async call(text) {
            const metadata = { fileName: `file-${++count}` };
            await binding.invoke?.({ operation: "create", metadata, data: Buffer.from(text) });
            const reply = await binding.invoke?.({ operation: "get", metadata, data: new Uint8Array() });
            return Buffer.from(reply?.data ?? []).toString();
          },
          close: () => binding.close(),
        };
      },
      stop: () => sftp.server.stop(),
    };
  },
});

test("bindings.sftp: a frozen server is a typed error in time, and it goes on by itself", async () => {
  const sftp = await startSftp();
  const binding = await sftp.open({ timeout: "1s" });
  const create = async (fileName: string) =>
    binding.invoke?.({ operation: "create", metadata: { fileName }, data: Buffer.from(fileName) });
  await create("before");
  signalTree(sftp.server.pid, "STOP");
  try {
    const errors = await Promise.all([1, 2, 3, 4, 5].map((name) => rejection(create(`frozen-${name}`))));
    for (const error of errors) expect(error).toBeInstanceOf(ServerUnavailable);
  } finally {
    signalTree(sftp.server.pid, "CONT");
  }
  await until(() => isDone(create("after")), "it is back", backMs);
  await binding.close();
  await sftp.server.stop();
}, 60_000);

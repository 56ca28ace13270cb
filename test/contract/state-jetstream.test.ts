import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { EtagInvalid, type StateStore } from "../../src/component/state-store.ts";
import state from "../../src/components/state/jetstream.ts";
import { componentHost } from "./component-host.ts";
import { startNats, type TestNats } from "./nats.ts";
import { put, rejection, stateContract, textAt } from "./state.ts";

let server: TestNats;
let number = 0;
beforeAll(async () => {
  server = await startNats();
}, 60_000);
afterAll(() => server.stop());

const open = (bucket: string, items: Record<string, string> = {}): Promise<StateStore> =>
  state.open(server.options(state, { bucket, createBucket: "true", ...items }), componentHost());

stateContract("state.jetstream", ["ETAG"], async () => {
  const bucket = `bucket-${++number}`;
  let store = await open(bucket);
  return {
    store,
    async reopen() {
      await store.close();
      await server.server.kill();
      await server.server.start();
      store = await open(bucket);
      return store;
    },
    close: () => store.close(),
  };
});

describe("state.jetstream", () => {
  test("has Dapr's layout, and keeps keys apart that would share a name there", async () => {
    const connection = await connect({ servers: server.url });
    const store = await open("layout");
    const bucket = await new Kvm(jetstream(connection)).open("layout");
    await store.set(put("app||order.1", "a"));
    expect((await bucket.get("app.order.1"))?.string()).toBe("a");
    await bucket.put("app.from-dapr", "b");
    expect(await textAt(store, "app||from-dapr")).toBe("b");
    await store.set(put("app||order||1", "c"));
    expect(await textAt(store, "app||order.1")).toBe("a");
    for (const key of ["app||ž *>", "app||.", "app||a..b", "app||", "||x", "app||=2E", "app||=", "="]) {
      await store.set(put(key, key));
    }
    expect(await textAt(store, "app||=2E")).toBe("app||=2E");
    expect(await textAt(store, "app||a..b")).toBe("app||a..b");
    await store.close();
    await connection.close();
  });

  test("says what it can not do", async () => {
    const none = await open("nowhere", { createBucket: "false" }).catch((e) => e);
    expect(none.message).toContain('there is no bucket "nowhere" of NATS');
    const store = await open("etags");
    expect(await rejection(store.set(put("key", "x", { etag: "first" })))).toBeInstanceOf(EtagInvalid);
    await store.close();
  });
});

import { afterAll, beforeAll, expect, test } from "bun:test";
import { freePort } from "../../scripts/free-port.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import configuration from "../../src/components/configuration/etcd.ts";
import etcd from "../../src/components/state/etcd.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { etcdOptions } from "../contract/etcd.ts";
import { put, textAt } from "../contract/state.ts";
import { type Service, startService } from "../services.ts";

// Three members, of which the leader is killed and comes back: the others go on.

const kills = 3;
const writers = 8;
let members: Service[] = [];
let endpoints: string;

beforeAll(async () => {
  const peers = await Promise.all([0, 1, 2].map(async () => `http://127.0.0.1:${await freePort()}`));
  const cluster = peers.map((peer, index) => `m${index}=${peer}`).join(",");
  const start = (peer: string, index: number) => {
    const urls = { "listen-peer-urls": peer, "initial-advertise-peer-urls": peer };
    return startService("etcd", { options: { name: `m${index}`, "initial-cluster": cluster, ...urls } });
  };
  members = await Promise.all(peers.map(start));
  endpoints = members.map(({ port }) => `127.0.0.1:${port}`).join(",");
}, 300_000);
afterAll(async () => void (await Promise.all(members.map((member) => member.stop()))));

interface Status {
  header: { member_id: string };
  leader: string;
}

async function leader(): Promise<Service> {
  for (const member of members) {
    const url = `${member.details.url}/v3/maintenance/status`;
    const status = (await (await fetch(url, { method: "POST", body: "{}" })).json()) as Status;
    if (status.leader === status.header.member_id) return member;
  }
  throw new Error("nobody leads");
}

test(`a cluster whose leader is killed ${kills} times loses no acknowledged write, and tells of each`, async () => {
  const items = { endpoints, keyPrefixPath: "configuration", timeout: "20s" };
  const store: StateStore = await etcd.open(etcdOptions(etcd, items), componentHost());
  const settings = await configuration.open(etcdOptions(configuration, items), componentHost());
  const told = new Map<string, number[]>();
  await settings.subscribe([], {}, (changed) => {
    for (const [key, { value }] of Object.entries(changed))
      told.set(key, [...(told.get(key) ?? []), Number(value)]);
  });
  const acknowledged = Array.from({ length: writers }, (): number[] => []);
  let [isOver, done] = [false, 0];
  const write = async (writer: number): Promise<void> => {
    for (let number = 1; !isOver; number++) {
      try {
        await store.set(put(`w${writer}`, String(number)));
        acknowledged[writer]?.push(number);
        done++;
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
      }
    }
  };
  const writing = Promise.all(acknowledged.map((_, writer) => write(writer)));
  try {
    for (let kill = 0; kill < kills; kill++) {
      let before = done;
      await until(() => done > before + 200, "writes go on", 30_000);
      const lost = await leader();
      await lost.kill();
      before = done;
      await until(() => done > before + 200, "the others go on", 30_000);
      await lost.start();
      await until(async () => (await leader().catch(() => undefined)) !== undefined, "all are there", 30_000);
    }
  } finally {
    isOver = true;
    await writing;
  }
  for (const [writer, numbers] of acknowledged.entries()) {
    const key = `w${writer}`;
    const kept = Number(await textAt(store, key));
    expect(kept).toBeGreaterThanOrEqual(numbers.at(-1) ?? 0);
    await until(() => told.get(key)?.at(-1) === kept, "the last change is told", 20_000);
    const heard = told.get(key) ?? [];
    expect(heard).toEqual([...new Set(heard)].sort((one, other) => one - other));
    expect(numbers.filter((number) => !heard.includes(number))).toEqual([]);
  }
  await settings.close();
  await store.close();
}, 120_000);

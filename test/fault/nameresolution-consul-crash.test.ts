import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { until } from "../../src/testing/index.ts";
import { type ConsulServer, startConsul } from "../contract/consul-server.ts";
import { Strangers, who } from "../scenario/names-fixture.ts";

// The agent of Consul (a stand-in) is frozen, killed and started without its data while apps call each other.

setDefaultTimeout(60_000);

const strangers = new Strangers();
const agents: ConsulServer[] = [];
afterEach(async () => {
  await strangers.close();
  for (const agent of agents.splice(0)) await agent.close();
});

async function start(port?: number): Promise<ConsulServer> {
  const agent = await startConsul(port === undefined ? {} : { port });
  agents.push(agent);
  return agent;
}

test("calls go on while the agent is frozen, away and forgetful, and a new app is found after that", async () => {
  const agent = await start();
  const configuration = {
    client: { address: `127.0.0.1:${agent.port}` },
    ...{ selfRegister: true, selfDeregister: true, ttl: "2s", timeout: "500ms" },
  };
  const configPaths = strangers.config({ nameResolution: { component: "consul", configuration } });
  const options = { configPaths, internalGrpcListenAddress: "127.0.0.1" };
  await strangers.serving("one", "orders", options);
  const shop = await strangers.member("shop", options);
  const ask = async () => (await shop.ask(who("orders"), "{}")).text;
  await until(async () => (await ask()) === "one for shop", "the first call", 20_000);

  const answers = new Map<string, number>();
  const callFor = async (ms: number) => {
    for (const end = Date.now() + ms; Date.now() < end; ) {
      const text = await ask();
      answers.set(text, (answers.get(text) ?? 0) + 1);
    }
  };
  agent.isFrozen = true;
  await callFor(3000);
  const unknown = await shop.ask(who("stock"), "{}");
  expect([unknown.status, unknown.text]).toEqual([
    500,
    expect.stringContaining("failed to resolve address for 'stock': consul at 127.0.0.1"),
  ]);
  await agent.close();
  await callFor(3000);
  const again = await start(agent.port);
  await callFor(2000);
  expect([...answers.keys()]).toEqual(["one for shop"]);
  await until(() => again.services.size === 2, "both are registered again", 20_000);
  await strangers.serving("stock", "stock", options);
  await until(
    async () => (await shop.ask(who("stock"), "{}")).text === "stock for shop",
    "the new app",
    20_000,
  );
  expect(shop.log().match(/name resolution by consul failed/g)).toHaveLength(1);
  expect(shop.log()).toContain("name resolution by consul works again");
});

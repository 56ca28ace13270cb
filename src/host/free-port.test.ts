import { expect, test } from "bun:test";
import { createServer } from "node:net";
import { choosePort } from "./free-port.ts";

/** Where Linux begins to give ports to outgoing connections and to those who ask for any. */
const ephemeralMin = 32_768;

test("choosePort() gives ports that no outgoing connection gets before their app listens", async () => {
  const ports = await Promise.all(Array.from({ length: 500 }, () => choosePort(0)));
  // Nobody listens on them yet.
  expect(new Set(ports).size).toBe(ports.length);
  for (const port of ports) {
    expect(port).toBeGreaterThan(1_023);
    expect(port).toBeLessThan(ephemeralMin);
  }
});

test("choosePort() gives the port that is wanted, and another one when somebody listens there", async () => {
  const wanted = await choosePort(0);
  expect(await choosePort(wanted)).toBe(wanted);
  const server = createServer();
  await new Promise<void>((listening) => server.listen(wanted, "127.0.0.1", listening));
  expect(await choosePort(wanted)).not.toBe(wanted);
  server.close();
});

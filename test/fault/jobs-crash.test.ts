import { afterAll, afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../../src/edges/simulated.ts";
import { type FakeApp, fakeApp } from "../../src/testing/index.ts";
import { eventually, type MechaProcess, startMecha } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";

// Two runtimes of one app are killed without a word while jobs and reminders fall due, and so is the server of the store
// where there is one: none is lost, and only what was in the app's hands at a kill may come twice.

const kills = Number(process.env.MECHA_CRASH_KILLS ?? 8);
const seed = Number(process.env.MECHA_SEED ?? Date.now() % 1_000_000);
const jobCount = 400;
const reminderCount = 100;
const spanMs = 4000;
const folder = mkdtempSync(join(tmpdir(), "mecha-jobs-crash-"));
const runtimes: Runtime[] = [];
const deliveries = new Map<string, number>();
let app: FakeApp;
let server: Service | undefined;
let inHands = 0;

interface Runtime {
  process: MechaProcess;
  httpPort: number;
}

afterEach(async () => {
  for (const { process: mecha } of runtimes.splice(0)) {
    mecha.child.kill("SIGKILL");
    await mecha.ended;
  }
  await app?.close();
  await server?.stop();
  server = undefined;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(["SQLite", "PostgreSQL"])(
  "no job and no reminder is lost when runtimes are killed, on %s",
  async (home) => {
    process.stdout.write(`jobs-crash on ${home}: seed ${seed}, ${kills} kills\n`);
    deliveries.clear();
    if (home === "PostgreSQL") server = await startService("postgresql");
    const random = seededRandom(seed);
    app = await fakeApp({
      config: { entities: ["Alarm"] },
      async otherwise({ method, target }) {
        if (method === "DELETE") return {};
        deliveries.set(target, (deliveries.get(target) ?? 0) + 1);
        inHands++;
        await Bun.sleep(2);
        inHands--;
        return {};
      },
    });
    runtimes.push(await startRuntime(), await startRuntime());
    const port = runtimes[0]?.httpPort ?? 0;
    const dueTime = () => new Date(Date.now() + 1000 + spanMs * random.next()).toISOString();
    const post = async (path: string) => {
      const body = JSON.stringify({ dueTime: dueTime() });
      const answer = await fetch(`http://127.0.0.1:${port}/v1.0/${path}`, { method: "POST", body });
      expect(answer.status).toBe(204);
    };
    await Promise.all(Array.from({ length: jobCount }, (_, index) => post(`jobs/job-${index}`)));
    await Promise.all(
      Array.from({ length: reminderCount }, (_, index) => post(`actors/Alarm/${index}/reminders/ring`)),
    );
    let atKills = 0;
    for (let kill = 0; kill < kills; kill++) {
      await Bun.sleep((spanMs / kills) * 2 * random.next());
      if (server !== undefined && kill % 3 === 2) {
        await server.kill();
        await server.start();
        continue;
      }
      const victim = runtimes.shift() as Runtime;
      // Also what it had claimed but not yet sent on, and what the app had answered.
      atKills += inHands;
      victim.process.child.kill("SIGKILL");
      await victim.process.ended;
      runtimes.push(await startRuntime());
    }
    const wanted = [
      ...Array.from({ length: jobCount }, (_, index) => `/job/job-${index}`),
      ...Array.from({ length: reminderCount }, (_, index) => `/actors/Alarm/${index}/method/remind/ring`),
    ];
    const missing = () => wanted.filter((target) => !deliveries.has(target));
    await eventually(() => expect(missing()).toEqual([]), 60_000);
    const twice = wanted.filter((target) => (deliveries.get(target) ?? 0) > 1).length;
    process.stdout.write(`jobs-crash: ${twice} came twice, ${atKills} were in hand at the kills\n`);
    expect(twice).toBeLessThan((jobCount + reminderCount) / 4);
  },
  kills * 10_000 + 90_000,
);

async function startRuntime(): Promise<Runtime> {
  const ports = ["--dapr-http-port", "0", "--dapr-grpc-port", "0", "--metrics-port", "0"];
  const store = server === undefined ? [] : ["--store", String(server.details.url)];
  const data = ["--data-dir", join(folder, server === undefined ? "sqlite" : "postgresql"), ...store];
  const words = ["run", "--app-id", "alarms", "--app-port", String(app.port), ...ports, ...data];
  const mecha = startMecha(words, { env: { PATH: process.env.PATH ?? "", HOME: folder } });
  const pattern = /HTTP server is running on port (\d+)/;
  await mecha.printed("dapr initialized");
  return { process: mecha, httpPort: Number(pattern.exec(mecha.output())?.[1]) };
}

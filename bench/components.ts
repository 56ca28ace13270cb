import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Service, startService } from "../scripts/services.ts";
import { type Bench, type Line, median, ratioLine, type Settings, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { publishLoad, publishRound } from "./harness/deliver.ts";
import { type HttpLoad, httpRound } from "./harness/load.ts";
import { startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";
import { saveLoad } from "./harness/state.ts";

interface Subject {
  service: string;
  /** How its bare client is told where it is. */
  address(service: Service): string;
  component(service: Service): Component;
}

interface Component {
  name: "statestore" | "pubsub";
  type: string;
  version: string;
  items: Record<string, string>;
}

const stores: Record<string, Subject> = {
  redis: {
    service: "redis",
    address: ({ port }) => `redis://127.0.0.1:${port}`,
    component: ({ port }) => state("state.redis", "v1", { redisHost: `127.0.0.1:${port}` }),
  },
  postgresql: {
    service: "postgresql",
    address: ({ details }) => String(details.url),
    component: ({ details }) => state("state.postgresql", "v2", { connectionString: String(details.url) }),
  },
};

const brokers: Record<string, Subject> = {
  nats: {
    service: "nats",
    address: ({ details }) => String(details.url),
    component: ({ details }) =>
      pubsub("pubsub.jetstream", { natsURL: String(details.url), createStreams: "true" }),
  },
  kafka: {
    service: "kafka",
    address: ({ port }) => `127.0.0.1:${port}`,
    component: ({ port }) =>
      pubsub("pubsub.kafka", { brokers: `127.0.0.1:${port}`, authType: "none", initialOffset: "oldest" }),
  },
  redis: {
    service: "redis",
    address: ({ port }) => `redis://127.0.0.1:${port}`,
    component: ({ port }) =>
      pubsub("pubsub.redis", { redisHost: `127.0.0.1:${port}`, concurrency: "100", queueDepth: "1000" }),
  },
  rabbitmq: {
    service: "rabbitmq",
    address: ({ details }) => String(details.url),
    component: ({ details }) =>
      pubsub("pubsub.rabbitmq", { connectionString: String(details.url), deletedWhenUnused: "false" }),
  },
};

function state(type: string, version: string, items: Record<string, string>): Component {
  return { name: "statestore", type, version, items };
}

function pubsub(type: string, items: Record<string, string>): Component {
  return { name: "pubsub", type, version: "v1", items };
}

const kibibyte = "x".repeat(1_000);

/** What mecha adds to the client of a server that it stands before, and what a message costs through each broker. */
export default {
  name: "components",
  async run(settings) {
    const lines: Line[] = [];
    for (const [name, subject] of Object.entries(stores))
      lines.push(await added(name, subject, "save state", saveLoad, settings));
    for (const name of ["nats", "kafka"]) {
      const load = (port: number): HttpLoad => publishLoad(port, kibibyte);
      lines.push(await added(name, brokers[name] as Subject, "publish", load, settings));
    }
    for (const [name, subject] of Object.entries(brokers))
      lines.push(await delivered(name, subject, settings));
    return lines;
  },
} satisfies Bench;

function added(
  name: string,
  subject: Subject,
  what: string,
  load: (port: number) => HttpLoad,
  settings: Settings,
): Promise<Line> {
  return withStarted(async (keep) => {
    const service = await keep(startService(subject.service));
    const bare = await keep(startProgram("bare-client", [name, subject.address(service)]));
    const mecha = await keep(startWith(subject.component(service)));
    const rounds = await takeTurns(settings, {
      mecha: (seconds) => httpRound(mecha.pid, load(mecha.httpPort), seconds),
      yardstick: (seconds) => httpRound(bare.pid, load(bare.port), seconds),
    });
    return ratioLine(`${what}, HTTP, ${name}`, 2.5, "its client behind Bun's HTTP", rounds);
  });
}

function delivered(
  name: string,
  subject: Subject,
  { rounds, secondsPerRound, say }: Settings,
): Promise<Line> {
  return withStarted(async (keep) => {
    const service = await keep(startService(subject.service));
    const app = await keep(startProgram("subscriber"));
    const mecha = await keep(startWith(subject.component(service), app.port));
    const load = publishLoad(mecha.httpPort, kibibyte);
    const costs: number[] = [];
    let messages = 0;
    for (let index = 0; index <= rounds; index++) {
      const round = await publishRound(mecha.pid, load, app.port, secondsPerRound);
      if (index === 0) continue; // The first warms up.
      costs.push(round.cpuUs / round.requests);
      messages += round.requests;
      say(`${name}, round ${index}: ${round.requests} messages`);
    }
    const cost = median(costs);
    const figure = `${Math.round(1e6 / cost)} messages of 1 KiB per CPU second, ${messages} in all`;
    return { name: `publish → app → ack, HTTP, ${name}`, figure, value: cost, unit: "us" };
  });
}

async function startWith({ name, type, version, items }: Component, appPort?: number) {
  const folder = mkdtempSync(join(tmpdir(), "mecha-bench-components-"));
  const metadata = Object.entries(items).map(
    ([item, text]) => `{ name: ${item}, value: ${JSON.stringify(text)} }`,
  );
  writeFileSync(
    join(folder, "component.yaml"),
    `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: { name: ${name} }\nspec: { type: ${type}, version: ${version}, metadata: [${metadata.join(", ")}] }\n`,
  );
  const port = appPort === undefined ? {} : { appPort };
  const mecha = await startMecha({ ...port, flags: ["--resources-path", folder] });
  return {
    ...mecha,
    async stop() {
      await mecha.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

import { afterEach, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { Cleanup, eventually, freePort, mecha, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
const env = { PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin" };

/** An app without any SDK: answers with its environment, remembers what was published to `t`. */
const appSource = `
import http from "node:http";
const got = [];
let held = 0;
let open;
const opened = new Promise((done) => (open = done));
http.createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    if (request.url === "/dapr/subscribe") return response.end('[{"pubsubname":"pubsub","topic":"t","route":"/t"}]');
    if (request.url === "/t") got.push(JSON.parse(body).data);
    if (request.url === "/got") return response.end(JSON.stringify(got));
    if (request.url === "/env") return response.end(JSON.stringify(process.env));
    if (request.url === "/crash") process.exit(7);
    if (request.url === "/hang") globalThis.isHung = true;
    if (request.url === "/alive") response.statusCode = globalThis.isHung ? 500 : 200;
    if (request.url === "/open") open();
    if (request.url === "/count") return response.end(String(held));
    if (request.url === "/held") return held++, opened.then(() => response.end("{}"));
    response.end(JSON.stringify({ url: request.url, body, callerAppId: request.headers["dapr-caller-app-id"] }));
  });
}).listen(process.env.APP_PORT, "127.0.0.1", () => console.log("app listens on", process.env.APP_PORT));
`;

interface Listed {
  appId: string;
  httpPort: number;
  grpcPort: number;
  appPort: number;
  appPid?: number;
  pid: number;
}

function setUp() {
  const folder = cleanup.folder();
  const data = join(folder, "data");
  writeFileSync(join(folder, "app.mjs"), appSource);
  const run = (...words: string[]) => mecha([...words, "--data-dir", data], { env, folder });
  const start = (...words: string[]) => cleanup.process(startMecha(words, { env, folder }));
  const list = async (): Promise<Listed[]> => JSON.parse((await run("list", "--json")).output) as Listed[];
  return { folder, data, run, start, list };
}

async function ready(port: number): Promise<void> {
  await eventually(async () => {
    const reply = await fetch(`http://127.0.0.1:${port}/v1.0/healthz`);
    if (reply.status !== 204) throw new Error(`healthz answered ${reply.status}: ${await reply.text()}`);
  });
}

describe("mecha run", () => {
  test("runs an app beside its runtime, and the commands talk to both", async () => {
    const { data, start, run, list } = setUp();
    const process = start(
      "run",
      "--app-id",
      "orders",
      "--app-port",
      "auto",
      "--data-dir",
      data,
      "--",
      "node",
      "app.mjs",
    );
    await process.printed(/mecha is ready in \d+ ms/);
    const [app] = await list();
    expect(app).toMatchObject({ appId: "orders" });
    const { httpPort, grpcPort } = app as Listed;
    await ready(httpPort);

    const environment = JSON.parse(
      (await run("invoke", "--app-id", "orders", "--method", "env", "--verb", "GET")).output,
    );
    expect(environment).toMatchObject({
      APP_ID: "orders",
      DAPR_HTTP_PORT: String(httpPort),
      DAPR_GRPC_PORT: String(grpcPort),
    });

    expect((await run("publish", "--topic", "t", "--data", '{"n":1}')).code).toBe(0);
    await eventually(async () => {
      const { output } = await run("invoke", "orders", "got", "--verb", "GET");
      expect(JSON.parse(output)).toEqual([{ n: 1 }]);
    });

    expect((await run("state", "set", "colour", "red")).code).toBe(0);
    expect((await run("state", "get", "colour")).output).toBe('"red"\n');
    expect((await run("state", "delete", "colour")).code).toBe(0);
    const gone = await run("state", "get", "colour");
    expect(gone).toMatchObject({ code: 1, output: "error: key colour is not there\n" });

    const metadata = (await (await fetch(`http://127.0.0.1:${httpPort}/v1.0/metadata`)).json()) as {
      extended: Record<string, string>;
    };
    expect(metadata.extended).toMatchObject({
      appCommand: "node app.mjs",
      appPID: String((app as Listed).appPid),
      cliPID: String((app as Listed).pid),
    });

    const components = await run("components", "--json");
    expect(components.output).toContain('"statestore"');
    expect((await run("logs", "orders")).output).toContain("app listens on");
    expect(JSON.parse((await run("doctor", "--json")).output)).toContainEqual(
      expect.objectContaining({ name: "app orders", result: "pass" }),
    );

    const unknown = await run("invoke", "--app-id", "order", "--method", "x");
    expect(unknown.code).toBe(4);
    expect(unknown.output).toContain("did you mean orders?");

    expect((await run("stop", "orders")).code).toBe(0);
    expect(await process.ended).toBe(0);
    expect(await list()).toEqual([]);
  });

  test("what the commands tell can be had as JSON", async () => {
    const { data, start, run, list } = setUp();
    const words = ["--app-id", "orders", "--app-port", "auto", "--data-dir", data];
    const process = start("run", ...words, "--", "node", "app.mjs");
    await process.printed("app listens on");
    const [app] = await list();
    await ready((app as Listed).httpPort);
    const json = async (...command: string[]): Promise<unknown> =>
      JSON.parse((await run(...command, "--json")).output);

    const answer = { status: 200, contentType: "application/json", body: [] };
    expect(await json("invoke", "orders", "got", "--verb", "GET")).toEqual(answer);
    expect(await json("publish", "--topic", "u", "--data", "{}")).toEqual({ pubsub: "pubsub", topic: "u" });
    expect((await run("state", "set", "colour", "red")).code).toBe(0);
    const item = { value: "red", etag: expect.any(String), metadata: {} };
    expect(await json("state", "get", "colour")).toEqual(item);
    const line = expect.stringContaining("app listens on");
    expect(await json("logs", "orders", "--tail", "1")).toEqual({ appId: "orders", source: "app", line });
    expect(await json("stop", "orders")).toEqual([{ pid: process.child.pid, appIds: ["orders"] }]);
  });

  test("ends with the app's exit code", async () => {
    const { data, start } = setUp();
    const process = start("run", "--app-id", "a", "--data-dir", data, "--", "sh", "-c", "exit 7");
    expect(await process.ended).toBe(7);
  });

  test("starts a crashed app again when asked to", async () => {
    const { data, start, list } = setUp();
    start(
      "run",
      "--app-id",
      "a",
      "--app-port",
      "auto",
      "--restart",
      "on-failure",
      "--data-dir",
      data,
      "--",
      "node",
      "app.mjs",
    );
    const app = await eventually(async () => {
      const [found] = await list();
      if (found?.appPid === undefined) throw new Error("the app is not listed yet");
      return found;
    });
    await ready(app.httpPort);
    await fetch(`http://127.0.0.1:${app.httpPort}/v1.0/invoke/a/method/crash`).catch(() => undefined);
    await eventually(async () => {
      const [again] = await list();
      if (again?.appPid === undefined || again.appPid === app.appPid) throw new Error("not started again");
      const reply = await fetch(`http://127.0.0.1:${app.httpPort}/v1.0/invoke/a/method/x`);
      if (reply.status !== 200) throw new Error(`the app answered ${reply.status}`);
    });
  });

  test("says where a resource is wrong and ends with 3", async () => {
    const { folder, data } = setUp();
    writeFileSync(
      join(folder, "c.yaml"),
      "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: s\nspec:\n  typo: state.in-memory\n",
    );
    const result = await mecha(["run", "--app-id", "a", "-d", folder, "--data-dir", data], { env, folder });
    expect(result.code).toBe(3);
    expect(result.output).toContain(`${folder}/c.yaml:6:9: unknown field spec.typo; did you mean "type"?`);
  });

  test("state, and messages to an app that was away, survive kill -9 of the runtime", async () => {
    const { data, start, list } = setUp();
    const words = ["run", "--app-id", "orders", "--data-dir", data];
    const app = cleanup.process(
      startMecha([...words, "--app-port", "auto", "--", "node", "app.mjs"], {
        env,
        folder: join(data, ".."),
      }),
    );
    const [first] = await eventually(async () => {
      const found = await list();
      if (found[0]?.appPid === undefined) throw new Error("not listed yet");
      return found;
    });
    await ready((first as Listed).httpPort);
    const base = `http://127.0.0.1:${(first as Listed).httpPort}`;
    await fetch(`${base}/v1.0/state/statestore`, { method: "POST", body: '[{"key":"k","value":{"a":1.0}}]' });
    app.child.kill("SIGKILL");
    await app.ended;
    process.kill(-((first as Listed).appPid ?? 0), "SIGKILL");

    const other = start("run", "--app-id", "publisher", "--data-dir", data);
    await other.printed("mecha is ready");
    const publisher = (await list()).find((each) => each.appId === "publisher") as Listed;
    const sent = await fetch(`http://127.0.0.1:${publisher.httpPort}/v1.0/publish/pubsub/t`, {
      method: "POST",
      body: '{"n":2}',
      headers: { "content-type": "application/json" },
    });
    expect(sent.status).toBe(204);

    start(...words, "--app-port", "auto", "--", "node", "app.mjs");
    const again = await eventually(async () => {
      const found = (await list()).find((each) => each.appId === "orders");
      if (found === undefined) throw new Error("not listed yet");
      return found;
    });
    await ready(again.httpPort);
    const value = await fetch(`http://127.0.0.1:${again.httpPort}/v1.0/state/statestore/k`);
    expect(await value.text()).toBe('{"a":1.0}');
    await eventually(async () => {
      const got = await fetch(`http://127.0.0.1:${again.httpPort}/v1.0/invoke/orders/method/got`);
      expect(await got.json()).toEqual([{ n: 2 }]);
    });
  });
});

describe("mecha run -f", () => {
  const runFile = (folder: string, backPort: number): string => {
    const path = join(folder, "mecha.yaml");
    writeFileSync(
      path,
      `version: 1
common:
  appLogDestination: console
apps:
  - appID: front
    appDirPath: .
    appPort: auto
    apiToken: front-token
    command: ["node", "app.mjs"]
    dependsOn: [back]
  - appID: back
    appDirPath: back
    appPort: auto
    daprHTTPPort: ${backPort}
    command: ["node", "app.mjs"]
`,
    );
    return path;
  };

  test.each([[[]], [["--sidecars"]]])("runs all apps of the file: %p", async (flags) => {
    const { folder, data, start, run, list } = setUp();
    const backPort = await freePort();
    const path = runFile(folder, backPort);
    mkdirSync(join(folder, "back"));
    writeFileSync(join(folder, "back", "app.mjs"), appSource);
    const node = start("run", "-f", path, "--data-dir", relative(folder, data), ...flags);
    const apps = await eventually(async () => {
      const found = await list();
      if (found.filter((each) => each.appPid !== undefined).length !== 2)
        throw new Error(`listed: ${JSON.stringify(found)}\n${node.output()}`);
      return found;
    });
    expect(new Set(apps.map((each) => each.pid)).size).toBe(flags.length === 0 ? 1 : 2);
    const front = apps.find((each) => each.appId === "front") as Listed;
    const back = apps.find((each) => each.appId === "back") as Listed;
    expect(back.httpPort).toBe(backPort);
    await ready(front.httpPort);
    await ready(back.httpPort);

    const call = `http://127.0.0.1:${front.httpPort}/v1.0/invoke/back/method/x`;
    const headers = { "dapr-api-token": "front-token" };
    await eventually(async () => {
      const reply = await fetch(call, { headers });
      expect(await reply.json()).toMatchObject({ callerAppId: "front" });
    });
    expect((await fetch(call)).status).toBe(401);
    expect((await run("state", "get", "k", "--app-id", "front")).output).toContain(
      "hint: set DAPR_API_TOKEN",
    );
    expect(node.output()).toMatch(/front +│ app listens on/);

    expect((await run("stop", "-f", path)).code).toBe(0);
    expect(await node.ended).toBe(0);
    expect(await list()).toEqual([]);
  });

  test("refuses what can not be: one port for two, probes with a process each", async () => {
    const { folder, run } = setUp();
    const path = join(folder, "mecha.yaml");
    const app = (id: string, more: string) => `  - { appID: ${id}, command: ["node", "app.mjs"], ${more} }\n`;
    writeFileSync(path, `apps:\n${app("one", "daprHTTPPort: 3999")}${app("two", "daprGRPCPort: 3999")}`);
    const both = await run("run", "-f", path);
    expect(both).toMatchObject({ code: 2 });
    expect(both.output).toContain("two and one both ask for port 3999");
    writeFileSync(path, `apps:\n${app("one", "livenessProbe: { httpGet: { path: / } }")}`);
    const probed = await run("run", "-f", path, "--sidecars");
    expect(probed).toMatchObject({ code: 2 });
    expect(probed.output).toContain("app one: livenessProbe needs all apps in one process");
  });
});

describe("apps of a node", () => {
  test("are started again when their liveness probe fails, after the ones that they depend on are ready", async () => {
    const { folder, data, start, list } = setUp();
    const path = join(folder, "mecha.yaml");
    const probe = (failures: number): string =>
      `{ httpGet: { path: /alive }, periodSeconds: 0.05, failureThreshold: ${failures} }`;
    writeFileSync(
      path,
      `version: 1
apps:
  - appID: second
    appDirPath: .
    appPort: auto
    command: ["node", "app.mjs"]
    dependsOn: [first]
  - appID: first
    appDirPath: .
    appPort: auto
    startupProbe: ${probe(1000)}
    readinessProbe: ${probe(2)}
    livenessProbe: ${probe(2)}
    command: ["node", "app.mjs"]
`,
    );
    const node = start("run", "-f", path, "--data-dir", data);
    const first = await eventually(async () => {
      const apps = await list();
      if (apps.filter((each) => each.appPid !== undefined).length !== 2)
        throw new Error("not all listed yet");
      return apps.find((each) => each.appId === "first") as Listed;
    });
    const {
      0: firstStart,
      1: ready,
      2: secondStart,
    } = ["first +│ app listens", "app first is ready", "second +│ app listens"].map(
      (text) => new RegExp(text),
    );
    for (const text of [firstStart, ready, secondStart]) await node.printed(text as RegExp);
    const at = (text: RegExp | undefined): number => node.output().search(text as RegExp);
    expect(at(firstStart)).toBeLessThan(at(secondStart));

    await eventually(async () =>
      expect((await fetch(`http://127.0.0.1:${first.httpPort}/v1.0/invoke/first/method/hang`)).status).toBe(
        200,
      ),
    );
    await node.printed(/app first failed its liveness probe \(GET \/alive answered 500\): starting it again/);
    await eventually(async () => {
      const again = (await list()).find((each) => each.appId === "first");
      expect(again?.appPid).not.toBe(first.appPid);
      expect((await fetch(`http://127.0.0.1:${first.httpPort}/v1.0/invoke/first/method/alive`)).status).toBe(
        200,
      );
    });
  });

  test("have a share of the runtime each: calls beyond it wait, then are refused", async () => {
    const { folder, data, start, list } = setUp();
    const path = join(folder, "mecha.yaml");
    const app = (id: string, more: string) =>
      `  - appID: ${id}\n    appDirPath: .\n    appPort: auto\n${more}    command: ["node", "app.mjs"]\n`;
    writeFileSync(
      path,
      `apps:\n${app("small", "    apiMaxConcurrency: 1\n    apiMaxQueued: 1\n")}${app("other", "")}`,
    );
    start("run", "-f", path, "--data-dir", data);
    const apps = await eventually(async () => {
      const found = await list();
      if (found.length !== 2) throw new Error("not listed yet");
      return found;
    });
    for (const each of apps) await ready(each.httpPort);
    /** Of six calls so many reach the app, which holds them, and so many are refused; then how the others end. */
    const calls = async (appId: string, held: number, refused: number): Promise<number[]> => {
      const { httpPort, appPort } = apps.find((each) => each.appId === appId) as Listed;
      const url = `http://127.0.0.1:${httpPort}/v1.0/invoke/${appId}/method/held`;
      const ask = async (path: string) => (await fetch(`http://127.0.0.1:${appPort}${path}`)).text();
      const answered: number[] = [];
      const all = Array.from({ length: 6 }, async () => void answered.push((await fetch(url)).status));
      await eventually(async () => {
        expect([await ask("/count"), answered]).toEqual([String(held), Array(refused).fill(429)]);
      });
      await ask("/open");
      await Promise.all(all);
      return answered.slice(refused);
    };
    expect(await calls("small", 1, 4)).toEqual([200, 200]);
    expect(await calls("other", 6, 0)).toEqual([200, 200, 200, 200, 200, 200]);
  });
});

describe("mecha dev", () => {
  test("starts the app again when a file changes", async () => {
    const { folder, data, start, list } = setUp();
    const dev = start(
      "dev",
      "--app-id",
      "a",
      "--app-port",
      "auto",
      "--data-dir",
      data,
      "--",
      "node",
      "app.mjs",
    );
    const app = await eventually(async () => {
      const [found] = await list();
      if (found?.appPid === undefined) throw new Error("not listed yet");
      return found;
    });
    await ready(app.httpPort);
    const logs = start("logs", "a", "--follow", "--data-dir", data);
    await logs.printed("app listens on");
    writeFileSync(
      join(folder, "app.mjs"),
      readFileSync(join(folder, "app.mjs"), "utf8").replace("app listens on", "app listens again on"),
    );
    await dev.printed("app.mjs changed: starting a again");
    await logs.printed("app listens again on");
    expect(logs.output().match(/app listens on/g)).toHaveLength(1);
    await eventually(async () => {
      const [again] = await list();
      expect(again?.appPid).not.toBe(app.appPid);
      expect((await fetch(`http://127.0.0.1:${app.httpPort}/v1.0/invoke/a/method/x`)).status).toBe(200);
    });
  });
});

describe("the other commands", () => {
  test("help, version and completion need nothing", async () => {
    const help = await mecha(["help"]);
    expect(help.code).toBe(0);
    for (const name of [
      "run",
      "dev",
      "daprd",
      "list",
      "stop",
      "logs",
      "invoke",
      "publish",
      "state",
      "components",
      "doctor",
      "completion",
      "store",
    ]) {
      expect(help.output).toMatch(new RegExp(`^  ${name} `, "m"));
    }
    expect(JSON.parse((await mecha(["version", "--json"])).output)).toMatchObject({ daprApi: "1.18.3" });
    expect((await mecha(["completion", "bash"])).output).toContain("--app-max-concurrency");
    const unknown = await mecha(["rum"]);
    expect(unknown).toMatchObject({ code: 2 });
    expect(unknown.output).toContain("did you mean mecha run?");
  });

  test("store checks, compacts and backs up", async () => {
    const { data, start, run, folder } = setUp();
    start("run", "--app-id", "a", "--data-dir", data);
    await eventually(async () => expect((await run("state", "set", "k", "1")).code).toBe(0));
    expect((await run("store", "check")).output).toStartWith("ok: ");
    const backup = join(folder, "backup.db");
    expect((await run("store", "backup", backup)).code).toBe(0);
    expect(readFileSync(backup).subarray(0, 15).toString()).toBe("SQLite format 3");
    expect((await run("store", "compact")).code).toBe(0);
  });
});

// What a started mecha leaves open on its machine: ports, files, environments (security.md §4.2 and §4.9: SEC-L0, SEC-L3).
import { afterEach, expect, test } from "bun:test";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Cleanup, eventually, freePort, type MechaProcess, startMecha } from "../mecha-process.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Addresses that a process listens on, from Linux's tables. */
function listeners(pid: number): string[] {
  const own = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      own.add(/socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? "");
    } catch {
      // Closed meanwhile.
    }
  }
  return ["tcp", "tcp6"].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, "utf8")
      .split("\n")
      .slice(1)
      .flatMap((line) => {
        const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
        return state === "0A" && own.has(inode) ? [addressOf(local.split(":")[0] ?? "")] : [];
      }),
  );
}

const names: Record<string, string> = {
  "0100007F": "127.0.0.1",
  "00000000": "0.0.0.0",
  "00000000000000000000000001000000": "::1",
  "00000000000000000000000000000000": "::",
  "0000000000000000FFFF00000100007F": "127.0.0.1",
};
const addressOf = (hex: string) => names[hex] ?? hex;

async function started(words: string[], env: Record<string, string> = {}): Promise<MechaProcess> {
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  const ports = ["--dapr-http-port", http, "--dapr-grpc-port", grpc, "--metrics-port", metrics].map(String);
  const [command = "", ...rest] = words;
  const split = rest.indexOf("--");
  const flags = split < 0 ? rest : rest.slice(0, split);
  const app = split < 0 ? [] : rest.slice(split);
  const process = startMecha([command, "--app-id", "a", ...ports, ...flags, ...app], { env });
  cleanup.process(process);
  await eventually(async () => {
    const reply = await fetch(`http://127.0.0.1:${http}/v1.0/healthz`);
    expect(reply.status).toBe(204);
  });
  return process;
}

const isLinux = process.platform === "linux";
const pidOf = ({ child }: MechaProcess) => child.pid as number;

test.skipIf(!isLinux)("SEC-L0: mecha run listens on loopback alone, daprd where daprd does", async () => {
  const run = await started(["run", "--data-dir", cleanup.folder()]);
  const own = new Set(listeners(pidOf(run)));
  expect(own.has("127.0.0.1")).toBe(true);
  expect([...own].filter((address) => address !== "127.0.0.1" && address !== "::1")).toEqual([]);
  const daprd = await started(["daprd"], { MECHA_HOME: cleanup.folder() });
  expect([...new Set(listeners(pidOf(daprd)))].sort()).toEqual(["0.0.0.0", "127.0.0.1", "::"]);
  const bound = ["--dapr-listen-addresses", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"];
  const closed = await started(["daprd", ...bound], { MECHA_HOME: cleanup.folder() });
  expect([...new Set(listeners(pidOf(closed)))]).toEqual(["127.0.0.1"]);
});

test.skipIf(!isLinux)(
  "SEC-L0: no secret in an argument list, and none of the runtime's in its app's environment",
  async () => {
    const folder = cleanup.folder();
    const env = {
      ...{ DAPR_API_TOKEN: "canary-api", APP_API_TOKEN: "canary-app", PATH: process.env.PATH ?? "" },
      ...{ OTEL_EXPORTER_OTLP_HEADERS: "key=canary-otel" },
    };
    const run = await started(["run", "--data-dir", folder, "--", "sh", "-c", "echo up; exec sleep 60"], env);
    await run.printed("up");
    const children = readdirSync("/proc").filter((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, "utf8").includes("DAPR_HTTP_PORT");
      } catch {
        return false;
      }
    });
    expect(children.length).toBeGreaterThan(0);
    for (const pid of [String(pidOf(run)), ...children]) {
      expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).not.toContain("canary");
    }
  },
);

/** Files and folders below that others may read or write. */
function exposed(folder: string): string[] {
  return (readdirSync(folder, { recursive: true }) as string[]).flatMap((name) => {
    const { mode } = lstatSync(join(folder, name));
    return (mode & 0o077) === 0 ? [] : [`${name} ${(mode & 0o777).toString(8)}`];
  });
}

test.skipIf(!isLinux).each([["000"], ["022"]])(
  "SEC-L3: data and sockets are their owner's alone under umask %s",
  async (umask) => {
    const before = process.umask(Number.parseInt(umask, 8));
    try {
      const [data, sockets] = [join(cleanup.folder(), "data"), join(cleanup.folder(), "sockets")];
      await started(["run", "--data-dir", data]);
      const { output } = startSocket(sockets, cleanup.folder());
      await eventually(() => expect(output()).toContain("API servers are running on"));
      expect((lstatSync(data).mode & 0o777).toString(8)).toBe("700");
      expect((lstatSync(sockets).mode & 0o777).toString(8)).toBe("700");
      expect(exposed(data)).toEqual([]);
    } finally {
      process.umask(before);
    }
  },
);

function startSocket(folder: string, data: string): MechaProcess {
  const words = [
    "run",
    "--app-id",
    "s",
    "--unix-domain-socket",
    folder,
    "--data-dir",
    data,
    "--enable-metrics=false",
  ];
  return cleanup.process(startMecha(words));
}

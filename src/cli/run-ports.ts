import { choosePorts, portFlags } from "../host/node.ts";
import type { MovablePort, RuntimeOptions } from "../host/options.ts";
import { type FlagValues, UsageError } from "./flags.ts";
import type { RunFile } from "./run-file.ts";

/** Ports and who has them. */
export type TakenPorts = Map<number, string>;

const portNames = Object.keys(portFlags) as MovablePort[];

/** The ports that a run file asks for: those of the others are chosen round them. */
export function givenPorts(file: RunFile): TakenPorts {
  const taken: TakenPorts = new Map();
  for (const { appId, flags } of file.apps) {
    for (const flag of [...Object.values(portFlags), "dapr-internal-grpc-port"]) {
      const port = Number(flags.get(flag) ?? 0);
      if (!(port > 0)) continue;
      const other = taken.get(port);
      if (other !== undefined)
        throw new UsageError(`${file.path}: ${appId} and ${other} both ask for port ${port}`);
      taken.set(port, appId);
    }
  }
  for (const { appId, flags } of file.apps) taken.set(Number(flags.get("app-port") ?? 0), appId);
  return taken;
}

/** Ports are bound one app after the other: two apps must not be promised the same one. */
export async function chooseUntakenPorts(
  wanted: RuntimeOptions,
  values: FlagValues,
  taken: TakenPorts,
): Promise<RuntimeOptions> {
  const free = portNames.filter((name) => !values.isGiven(portFlags[name]));
  const anyPort = Object.fromEntries(free.map((name) => [name, 0]));
  const has = (flag: string): boolean => values.isGiven(flag);
  let options = await choosePorts(wanted, { has });
  while (free.some((name) => options[name] > 0 && taken.has(options[name])))
    options = await choosePorts({ ...wanted, ...anyPort }, { has });
  for (const name of free) taken.set(options[name], options.appId);
  return options;
}

/** For an app that is started later, maybe: its ports are whatever is free then, and its own is chosen now. */
export async function leaveOpenPorts(wanted: RuntimeOptions, values: FlagValues): Promise<RuntimeOptions> {
  const { appPort } = await choosePorts(wanted, { has: () => true });
  const free = portNames.filter((name) => !values.isGiven(portFlags[name]));
  return { ...wanted, appPort, ...Object.fromEntries(free.map((name) => [name, 0])) };
}

/** Flags that say what was chosen. */
export function portWords(options: RuntimeOptions, values: FlagValues): string[] {
  return portNames
    .filter((name) => !values.isGiven(portFlags[name]))
    .map((name) => `--${portFlags[name]}=${options[name]}`);
}

import {
  type ComponentDefinition,
  type ComponentHost,
  type ComponentKind,
  component,
} from "../component/component.ts";
import { duration } from "../component/fields.ts";
import { kindOf } from "../component/parse-options.ts";
import { ServerUnavailable } from "../component/server-unavailable.ts";
import { openBinding } from "./binding.ts";
import { contract, PluggedLink } from "./link.ts";
import { openPubSub } from "./pubsub.ts";
import { openSecretStore } from "./secret-store.ts";
import { listServices } from "./services.ts";
import { findSocket, type SocketFolder } from "./sockets.ts";
import { openStateStore } from "./state-store.ts";

/** The services that make a component of each kind; the first is the one it needs, of bindings one of both. */
const servicesOf: Partial<Record<ComponentKind, readonly string[]>> = {
  state: ["StateStore"],
  pubsub: ["PubSub"],
  bindings: ["InputBinding", "OutputBinding"],
  secretstores: ["SecretStore"],
};

/**
 * The definition of a type that is not built in, when there may be a process for it. `undefined`: there is no folder of
 * sockets, or none of its kind can be there. The socket itself may come a little later.
 */
export async function pluggableDefinition(
  type: string,
  version: string,
  folder: SocketFolder,
): Promise<ComponentDefinition | undefined> {
  const kind = kindOf(type) as ComponentKind;
  const name = type.slice(kind.length + 1);
  if (servicesOf[kind] === undefined || name === "" || (version || "v1") !== "v1") return undefined;
  if ((await findSocket(folder, name)) === "no folder") return undefined;
  return definitionOf(kind, name, folder);
}

function definitionOf(kind: ComponentKind, name: string, folder: SocketFolder): ComponentDefinition {
  return component({
    type: `${kind}.${name}`,
    version: "v1",
    status: "beta",
    summary: "A component in a process of its own, over its Unix socket",
    metadata: {
      callTimeout: duration({ description: "one call to the component at most", default: 30_000 }),
    },
    takesOtherFields: true,
    async open({ callTimeout }, host) {
      const socketPath = await findSocket(folder, name);
      if (socketPath === undefined || socketPath === "no folder") {
        throw new ServerUnavailable(`there is no socket ${name}.sock in ${folder.path}`, "undone");
      }
      return openPlugged(kind, { socketPath, host, callTimeoutMs: callTimeout });
    },
  }) as ComponentDefinition;
}

interface Place {
  socketPath: string;
  host: ComponentHost;
  callTimeoutMs: number;
}

async function openPlugged(kind: ComponentKind, { socketPath, host, callTimeoutMs }: Place) {
  const offered = await listServices(socketPath);
  const services = (servicesOf[kind] ?? []).filter((one) => offered.has(`${contract}.${one}`));
  if (services.length === 0) {
    const wanted = servicesOf[kind]?.join(" or ");
    throw new Error(
      `what listens on ${socketPath} is no component of kind ${kind}: it has no service ${wanted}`,
    );
  }
  const link = new PluggedLink({
    ...{ socketPath, services, callTimeoutMs, edges: host.edges, log: host.log },
    instance: instanceOf(socketPath, host),
    properties: propertiesOf(kind, host),
  });
  try {
    await link.open();
    return await openKind(kind, link, { offered, services });
  } catch (error) {
    await link.close();
    throw error;
  }
}

function openKind(
  kind: ComponentKind,
  link: PluggedLink,
  { offered, services }: { offered: ReadonlySet<string>; services: readonly string[] },
) {
  if (kind === "state") return openStateStore(link, offered);
  if (kind === "pubsub") return openPubSub(link);
  if (kind === "secretstores") return openSecretStore(link);
  const [isInput, isOutput] = [services.includes("InputBinding"), services.includes("OutputBinding")];
  return openBinding(link, { isInput, isOutput });
}

/** As in Dapr, brokers are told the app's id where no consumer group is named. */
function propertiesOf(
  kind: ComponentKind,
  { allFields = new Map(), appId }: ComponentHost,
): Record<string, string> {
  const given = Object.fromEntries(allFields);
  const hasGroup = Object.keys(given).some((name) => name.toLowerCase() === "consumerid");
  return kind === "pubsub" && !hasGroup ? { ...given, consumerID: appId } : given;
}

/** Of each socket's component names, the app that took it first. */
const owners = new Map<string, string>();

/** Dapr's processes tell their components apart by name, and know one app; where there are more they are told so. */
function instanceOf(socketPath: string, { name, namespace, appId }: ComponentHost): string {
  const key = `${socketPath} ${name}`;
  const app = `${namespace}/${appId}`;
  const owner = owners.get(key) ?? app;
  owners.set(key, owner);
  return owner === app ? name : `${app}/${name}`;
}

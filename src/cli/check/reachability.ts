import { definitionsOf } from "../../component/definitions.ts";
import { kindOf } from "../../component/parse-options.ts";
import { type Trial, tryComponents } from "../../component/try-components.ts";
import { isUnreachable } from "../../component/unreachable.ts";
import { realEdges } from "../../edges/edges.ts";
import { engineComponents } from "../../engine/defaults/engine-components.ts";
import type { Store } from "../../engine/store/store.ts";
import { formatDuration } from "../../kit/duration.ts";
import { pluggableDefinition } from "../../pluggable/definitions.ts";
import { socketFolder } from "../../pluggable/sockets.ts";
import { loadResources } from "../../resource/load.ts";
import { createLog } from "../../telemetry/log.ts";
import type { CommandContext } from "../command.ts";
import { dataFolderOf } from "../runtime-client.ts";

export interface Reachability {
  name: string;
  result: "pass" | "fail";
  detail: string;
  fix?: string;
}

const silent = createLog({
  ...{ appId: "", instance: "", version: "", level: "fatal" as const, asJson: false },
  write: () => {},
});
const secretStore = { name: "secretstore", type: "secretstores.mecha", metadata: {} };

/** Whether the servers of the components in these files answer. */
export async function checkReachability(
  paths: readonly string[],
  { context, timeoutMs }: { context: CommandContext; timeoutMs: number },
): Promise<Reachability[]> {
  const { env, folder } = context;
  const edges = realEdges();
  // The engine's own types have no server, but for topics in a PostgreSQL of the user's.
  const engine = engineComponents({} as Store, { secretFolders: [folder, dataFolderOf(context)] });
  const engineTypes = new Set(
    engine.map(({ type }) => type as string).filter((type) => type !== "pubsub.postgresql"),
  );
  const sockets = socketFolder(env);
  const { components } = await loadResources(paths, {
    isStrict: false,
    env,
    log: silent,
    files: edges.files,
  });
  const trials = await tryComponents(components, {
    ...{ edges, env, log: silent, timeoutMs, secretStore, namespace: env.NAMESPACE ?? "" },
    definitions: definitionsOf(engine, (type, version) => pluggableDefinition(type, version, sockets)),
    isLocal: (type) => engineTypes.has(type) && kindOf(type) !== "secretstores",
  });
  return trials.map(checkOf);
}

function checkOf({ name, type, error, tookMs }: Trial): Reachability {
  const what = `component ${name}`;
  if (error === undefined) {
    return { name: what, result: "pass", detail: `${type} is reachable (${formatDuration(tookMs)})` };
  }
  const fix = isUnreachable(error) ? "start its server, or correct its address" : "see its metadata";
  return { name: what, result: "fail", detail: `${type}: ${error.message}`, fix };
}

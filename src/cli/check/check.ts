import { realFiles } from "../../edges/files.ts";
import { implicitComponents } from "../../engine/defaults/engine-components.ts";
import {
  inspectResources,
  type LoadOptions,
  type ResourceSet,
  readResourceFiles,
} from "../../resource/load.ts";
import type { Problem } from "../../resource/problem.ts";
import { createLog } from "../../telemetry/log.ts";
import { checkComponents, checkNameResolution, openSecrets } from "./component-rules.ts";
import { deadLetterLoops, unreadDeadLetters } from "./event-rules.ts";
import { appReferences, componentReferences } from "./reference-rules.ts";
import {
  checkBreakers,
  conflictingPolicies,
  hedgedWrites,
  repeatedWrites,
  retryAmplification,
  timeoutBudgets,
} from "./retry-rules.ts";
import { grantedReferences } from "./route-rules.ts";
import type { Rule } from "./rule.ts";

const rules: readonly Rule[] = [
  appReferences,
  componentReferences,
  openSecrets,
  retryAmplification,
  timeoutBudgets,
  repeatedWrites,
  hedgedWrites,
  conflictingPolicies,
  unreadDeadLetters,
  deadLetterLoops,
  grantedReferences,
];

const nobodyReads = createLog({
  ...{ appId: "", instance: "", version: "", level: "fatal" as const, asJson: false },
  write: () => {},
});

export interface CheckRequest {
  /** Resource folders and files, Configuration files too. */
  paths: readonly string[];
  /** App ids, when all of them are known. */
  apps: ReadonlySet<string> | undefined;
  env: LoadOptions["env"];
}

/** Everything that is wrong, or will be, by the place where it stands. Rejects when a path can not be read. */
export async function checkPaths({ paths, apps, env }: CheckRequest): Promise<Problem[]> {
  const read = await readResourceFiles(paths, realFiles);
  const { problems, set } = await inspectResources(read, { isStrict: false, env, log: nobodyReads });
  const namespace = env.NAMESPACE || "default";
  const checked = { set, apps, namespace, components: componentKinds(set) };
  const found = [
    ...problems,
    ...(await checkComponents(set, env)),
    ...(await checkNameResolution(set)),
    ...(await checkBreakers(set)),
    ...rules.flatMap((rule) => rule(checked)),
  ];
  return found.sort(byPlace);
}

function componentKinds({ components }: ResourceSet): Map<string, string> {
  const named = [...implicitComponents, ...components.map(({ name, spec }) => ({ name, type: spec.type }))];
  return new Map(named.map(({ name, type }) => [name, type.split(".", 1)[0] as string]));
}

function byPlace({ source: a }: Problem, { source: b }: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}

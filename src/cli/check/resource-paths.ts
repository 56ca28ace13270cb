import { readRunFile } from "../run-file.ts";

/** Files and folders of resources: those that are named, and those of the apps of a run file; and these apps' ids. */
export function resourcePathsOf(
  named: readonly string[],
  runFile: string,
): { paths: string[]; apps: string[] } {
  const apps = runFile === "" ? [] : readRunFile(runFile).apps;
  const fromApps = apps.flatMap(({ flags }) =>
    ["resources-path", "config"].flatMap((flag) => (flags.get(flag) as string[] | undefined) ?? []),
  );
  return { paths: [...new Set([...named, ...fromApps])], apps: apps.map(({ appId }) => appId) };
}

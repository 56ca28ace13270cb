import { type FSWatcher, watch } from "node:fs";
import type { NodeApp, RunningNode } from "../../host/node.ts";
import { command } from "../command.ts";
import { runApps, runFlags } from "./run.ts";

/** Folders whose changes are never the app's source. */
const ignored =
  /(^|\/)(node_modules|\.git|\.mecha|dist|build|target|__pycache__|\.venv|logs?)(\/|$)|\.(log|db|db-wal|db-shm|pyc|swp)$|~$/;
const settleMs = 150;

export default command({
  name: "dev",
  category: "run",
  summary: "Run and start an app again when its files change",
  usage: "mecha dev [flags] -- COMMAND... | mecha dev -f FILE",
  flags: runFlags,
  stopAtPositional: true,
  examples: ["mecha dev --app-id orders --app-port 8080 -- node app.js"],
  run: (context) => runApps(context, (node, apps) => watchApps(node, apps, context.talk)),
});

function watchApps(node: RunningNode, apps: readonly NodeApp[], talk: (text: string) => void): void {
  const watchers: FSWatcher[] = [];
  for (const app of apps) {
    if (app.command.length === 0) continue;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const watcher = watch(app.folder, { recursive: true }, (_event, name) => {
      if (name === null || ignored.test(name)) return;
      clearTimeout(timer);
      timer = setTimeout(() => {
        talk(`${name} changed: starting ${app.options.appId} again\n`);
        void node.restartApp(app.options.appId);
      }, settleMs);
    });
    watchers.push(watcher);
  }
  void node.ended.then(() => {
    for (const watcher of watchers) watcher.close();
  });
}

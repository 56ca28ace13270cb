import { existsSync, watch } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { CommandError, instancesOf, jsonFlag, targetFlags } from "../runtime-client.ts";

export default command({
  name: "logs",
  category: "look",
  summary: "Print the logs of a running app",
  usage: "mecha logs [--app-id] APP [--runtime] [--follow] [--tail N] [--json]",
  flags: [
    ...targetFlags.filter((flag) => flag.name !== "dapr-http-port"),
    {
      name: "runtime",
      type: "boolean",
      default: false,
      description: "the runtime's log instead of the app's",
    },
    {
      name: "follow",
      short: "f",
      type: "boolean",
      default: false,
      description: "go on as lines are written",
    },
    { name: "tail", type: "number", default: 0, description: "only the last lines; 0: all" },
    { ...jsonFlag, description: "print each line as a JSON object" },
  ],
  async run(context) {
    const appId = context.values.text("app-id") || context.positionals[0];
    if (appId === undefined) throw new UsageError("say of which app");
    const app = instancesOf(context)
      .flatMap((record) => record.apps)
      .find((each) => each.appId === appId);
    if (app === undefined)
      throw new CommandError(`app ${appId} is not running`, { hint: "mecha list", exitCode: 4 });
    const file = context.values.boolean("runtime") ? app.runtimeLogFile : app.appLogFile;
    if (file === undefined || !existsSync(file)) {
      throw new CommandError(
        `app ${appId} has no ${context.values.boolean("runtime") ? "runtime " : ""}log file`,
        {
          hint: "mecha run writes one for each app that it starts",
        },
      );
    }
    const log = new LogFile(file);
    const source = context.values.boolean("runtime") ? "runtime" : "app";
    const isJson = context.values.boolean("json");
    const print = (lines: readonly string[]): void => {
      for (const line of lines)
        context.out(isJson ? `${JSON.stringify({ appId, source, line })}\n` : `${line}\n`);
    };
    print((await log.newLines()).slice(-context.values.number("tail")));
    if (!context.values.boolean("follow")) return 0;
    let printing = Promise.resolve();
    watch(dirname(file), () => {
      printing = printing.then(async () => print(await log.newLines()));
    });
    return new Promise(() => undefined);
  },
});

class LogFile {
  readonly #path: string;
  #offset = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Whole lines since the last call; a file that was begun anew is read from its start. */
  async newLines(): Promise<string[]> {
    const handle = await open(this.#path);
    try {
      const { size } = await handle.stat();
      if (size < this.#offset) this.#offset = 0;
      const buffer = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, this.#offset);
      const end = buffer.subarray(0, bytesRead).lastIndexOf("\n");
      if (end < 0) return [];
      this.#offset += end + 1;
      return buffer.subarray(0, end).toString().split("\n");
    } finally {
      await handle.close();
    }
  }
}

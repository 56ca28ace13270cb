import { existsSync, statSync, watch } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { command } from "../command.ts";
import { UsageError } from "../flags.ts";
import { CommandError, instancesOf, targetFlags } from "../runtime-client.ts";

export default command({
  name: "logs",
  category: "look",
  summary: "Print the logs of a running app",
  usage: "mecha logs [--app-id] APP [--runtime] [--follow] [--tail N]",
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
    let offset = await printFrom(file, 0, context.values.number("tail"), context.out);
    if (!context.values.boolean("follow")) return 0;
    watch(dirname(file), async () => {
      if (statSync(file).size > offset) offset = await printFrom(file, offset, 0, context.out);
    });
    return new Promise(() => undefined);
  },
});

/** Prints a file from an offset on and returns the offset of its end. */
async function printFrom(
  file: string,
  offset: number,
  tail: number,
  out: (text: string) => void,
): Promise<number> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.max(0, size - offset));
    await handle.read(buffer, 0, buffer.length, offset);
    const text = buffer.toString();
    out(tail > 0 ? `${text.trimEnd().split("\n").slice(-tail).join("\n")}\n` : text);
    return size;
  } finally {
    await handle.close();
  }
}

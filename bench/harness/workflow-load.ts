import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { root } from "../../scripts/install.mjs";
import { goBuild, pythonVenv } from "../../test/sdk/toolchain.ts";

export const workflowLanguages = ["javascript", "python", "go"] as const;
export type WorkflowLanguage = (typeof workflowLanguages)[number];

/** The worker and client of the workflow bench, as apps run the SDK of their language. */
export interface WorkflowLoad {
  language: WorkflowLanguage;
  pid: number;
  /** Milliseconds that each of `count` workflows took. */
  run(count: number, parallel: number): Promise<number[]>;
  stop(): Promise<void>;
}

export async function startWorkflowLoad(language: WorkflowLanguage, grpcPort: number): Promise<WorkflowLoad> {
  const [command = "", ...args] = [...(await commandOf(language)), String(grpcPort)];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  /** The SDKs print lines of their own. */
  const answer = async (isAnswer: (line: string) => boolean): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the ${language} load of the workflow bench ended`);
      if (isAnswer(value)) return value;
    }
  };
  await answer((line) => line === "ready");
  return {
    language,
    pid: child.pid ?? 0,
    async run(count, atOnce) {
      child.stdin.write(`${count} ${atOnce}\n`);
      return JSON.parse(await answer((line) => line.startsWith("[") && line.endsWith("]"))) as number[];
    },
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

async function commandOf(language: WorkflowLanguage): Promise<string[]> {
  const programs = join(import.meta.dirname, "programs");
  if (language === "javascript") return ["node", join(programs, "workflow-load.mjs")];
  if (language === "go") return [await goBuild(join(programs, "workflow-go"))];
  return [
    await pythonVenv(join(root, "test/sdk/python/requirements.txt")),
    join(programs, "workflow-load.py"),
  ];
}

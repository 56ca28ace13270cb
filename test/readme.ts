import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** Runs the commands of a README's second terminal as they are, but for the port. Returns what they printed. */
export async function runReadme(example: string, port: number, env: NodeJS.ProcessEnv): Promise<string> {
  const text = readFileSync(join(root, "examples", example, "README.md"), "utf8");
  const [, second] = [...text.matchAll(/^```sh\n(.*?)^```/gms)].map(([, commands = ""]) => commands);
  if (second === undefined) throw new Error(`the README of ${example} has no second block of commands`);
  const commands = second.replaceAll("localhost:3500", `127.0.0.1:${port}`);
  const shell = spawn("bash", ["-e"], { cwd: root, env, stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  for (const stream of [shell.stdout, shell.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const code = new Promise((done) => shell.once("close", done));
  shell.stdin.end(`export no_proxy=127.0.0.1\n${commands}`);
  if ((await code) !== 0) throw new Error(`the README of ${example} fails:\n${output}`);
  return output;
}

import { runCli } from "./cli/cli.ts";

const code = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  folder: process.cwd(),
  out: (text) => void process.stdout.write(text),
  talk: (text) => void process.stderr.write(text),
  isTerminal: process.stdout.isTTY === true,
});
process.exit(code);

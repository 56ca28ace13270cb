// AWS in one process: DynamoDB, S3, SNS, SQS, Secrets Manager, SSM, STS. Keeps all in memory: what was there is gone with it.
import { join } from "node:path";
import type { Recipe } from "./recipe.ts";

export default {
  name: "moto",
  python: ["moto[server]==5.2.5"],
  async launch({ port, packages, folder }) {
    const url = `http://127.0.0.1:${port}`;
    return {
      command: join(packages.python, "bin", "moto_server"),
      args: ["-H", "127.0.0.1", "-p", String(port)],
      env: { HOME: folder },
      isReady: async () => {
        const reply = await fetch(`${url}/moto-api/data.json`).catch(() => undefined);
        return reply?.ok === true;
      },
      details: { url },
    };
  },
} satisfies Recipe;

import { component } from "../../component/component.ts";
import { flag, text } from "../../component/fields.ts";
import { secretsOf } from "../../component/secret-file.ts";
import type { SecretStore } from "../../component/secret-store.ts";
import type { Files } from "../../edges/files.ts";

export default component({
  type: "secretstores.local.file",
  version: "v1",
  status: "stable",
  summary: "A JSON file of secrets, read once at the start",
  metadata: {
    secretsFile: text({ description: "path of the file", required: true }),
    nestedSeparator: text({ description: "between the names of nested objects", default: ":" }),
    multiValued: flag({ description: "a top-level object is one secret of several values", default: false }),
  },
  async open({ secretsFile, nestedSeparator, multiValued }, { edges }): Promise<SecretStore> {
    const secrets = secretsOf(await readJson(edges.files, secretsFile), {
      nestedSeparator,
      isMultiValued: multiValued,
    });
    return {
      features: new Set(multiValued ? (["MULTIPLE_KEY_VALUES_PER_SECRET"] as const) : []),
      async get(key) {
        const secret = Object.hasOwn(secrets, key) ? secrets[key] : undefined;
        if (!secret) throw new Error(`secret ${key} not found`);
        return { ...secret };
      },
      bulkGet: async () => structuredClone(secrets),
      async close() {},
    };
  },
});

async function readJson(files: Files, path: string): Promise<unknown> {
  try {
    return JSON.parse(Buffer.from(await files.read(path)).toString("utf8")) as unknown;
  } catch (error) {
    // The parser's message could quote the file, and so a secret.
    const why = error instanceof SyntaxError ? "it is not JSON" : (error as Error).message;
    throw new Error(`the secrets file ${JSON.stringify(path)} can not be read: ${why}`);
  }
}

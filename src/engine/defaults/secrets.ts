import { join } from "node:path";
import { component } from "../../component/component.ts";
import { flag, text } from "../../component/fields.ts";
import { type Secrets, secretsOf } from "../../component/secret-file.ts";
import type { SecretStore } from "../../component/secret-store.ts";
import type { Files } from "../../edges/files.ts";

export interface SecretDefaults {
  /** Folders that are looked in for a secrets file, first match wins: the working folder, the data folder. */
  secretFolders: readonly string[];
}

/** What a variable must begin with to be a secret, unless the component says otherwise. */
export const secretVariablePrefix = "MECHA_SECRET_";
const fileNames = ["secrets.json", "secrets.yaml", "secrets.yml"];
/** These open mecha's own doors; no app reads them, whatever the prefix. */
const hidden = new Set(["APP_API_TOKEN", "DAPR_API_TOKEN"]);

export function secretsByDefault({ secretFolders }: SecretDefaults) {
  return component({
    type: "secretstores.mecha",
    version: "v1",
    status: "stable",
    summary: "A local secrets file, and environment variables that are marked as secrets",
    metadata: {
      secretsFile: text({
        description:
          "JSON or YAML file; by default secrets.json or secrets.yaml of the working or the data folder",
      }),
      nestedSeparator: text({ description: "between the names of nested objects", default: ":" }),
      multiValued: flag({
        description: "a top-level object is one secret of several values",
        default: false,
      }),
      envPrefix: text({
        description: "variables that begin with it are secrets, named without it; the file goes first",
        default: secretVariablePrefix,
      }),
    },
    async open(options, { env, log, edges }): Promise<SecretStore> {
      const file = options.secretsFile
        ? { path: options.secretsFile, content: await textOf(edges.files, options.secretsFile) }
        : await findFile(secretFolders, edges.files);
      if (file) log.debug({ file: file.path }, "secrets are read from a file");
      const { nestedSeparator, multiValued } = options;
      const fromFile = file
        ? secretsOf(await parseFile(file), { nestedSeparator, isMultiValued: multiValued })
        : {};
      return storeOf(fromEnvironment(env, options.envPrefix), fromFile, multiValued);
    },
  });
}

function storeOf(fromEnv: Secrets, fromFile: Secrets, isMultiValued: boolean): SecretStore {
  const secrets: Secrets = { ...fromEnv, ...fromFile };
  return {
    features: new Set(isMultiValued ? (["MULTIPLE_KEY_VALUES_PER_SECRET"] as const) : []),
    async get(key) {
      const secret = Object.hasOwn(secrets, key) ? secrets[key] : undefined;
      if (!secret) throw new Error(`secret ${key} not found`);
      return { ...secret };
    },
    bulkGet: async () => structuredClone(secrets),
    async close() {},
  };
}

function fromEnvironment(env: Readonly<Record<string, string | undefined>>, prefix: string): Secrets {
  const secrets: Secrets = {};
  for (const [name, value] of Object.entries(env)) {
    const key = name.slice(prefix.length);
    const isSecret = name.startsWith(prefix) && key !== "" && !hidden.has(name.toUpperCase());
    if (isSecret && value !== undefined) secrets[key] = { [key]: value };
  }
  return secrets;
}

async function findFile(
  folders: readonly string[],
  files: Files,
): Promise<{ path: string; content: string } | undefined> {
  for (const folder of folders) {
    for (const name of fileNames) {
      const path = join(folder, name);
      try {
        return { path, content: await textOf(files, path) };
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
      }
    }
  }
  return undefined;
}

async function textOf(files: Files, path: string): Promise<string> {
  return Buffer.from(await files.read(path)).toString("utf8");
}

async function parseFile({ path, content }: { path: string; content: string }): Promise<unknown> {
  try {
    if (path.endsWith(".json")) return JSON.parse(content) as unknown;
    const { parse } = await import("yaml");
    return parse(content) as unknown;
  } catch {
    // The parser's message could quote the file, and so a secret.
    const wanted = path.endsWith(".json") ? "JSON" : "YAML";
    throw new Error(`the secrets file ${JSON.stringify(path)} is not ${wanted}`);
  }
}

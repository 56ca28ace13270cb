import { createHash } from "node:crypto";
import { join } from "node:path";
import type { FileKind, Files } from "../edges/files.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { checkAuthorizationCel } from "./authorization-cel.ts";
import type { ConfigurationResource } from "./configuration.ts";
import { formatProblem, type Problem, ResourceErrors } from "./problem.ts";
import { checkRateLimitCel } from "./rate-limit-cel.ts";
import { readResource } from "./read-resource.ts";
import { checkTrips } from "./resiliency-trips.ts";
import type {
  ComponentResource,
  HttpEndpointResource,
  IdempotencyResource,
  ResiliencyResource,
  Resource,
  ScheduleResource,
  SingletonResource,
  SubscriptionResource,
  WorkflowAccessPolicyResource,
} from "./resource.ts";
import { checkCacheTags } from "./traffic-cache.ts";

export interface LoadOptions {
  /** `mecha daprd`: what Dapr passes over is passed over with a warning, elsewhere it is an error. */
  isStrict: boolean;
  /** Fills `$VAR` and `${VAR}` in Configuration files. */
  env: Readonly<Record<string, string | undefined>>;
  log: Log;
  files: Files;
}

/** Everything found, by kind, in the order of the folders, their files and the documents in them. */
export interface ResourceSet {
  components: ComponentResource[];
  subscriptions: SubscriptionResource[];
  httpEndpoints: HttpEndpointResource[];
  resiliencies: ResiliencyResource[];
  idempotencies: IdempotencyResource[];
  configurations: ConfigurationResource[];
  schedules: ScheduleResource[];
  singletons: SingletonResource[];
  workflowAccessPolicies: WorkflowAccessPolicyResource[];
  /** Accepted kinds without effect. */
  others: Resource[];
  /** Of the contents they were read from: tells a watch what is known already. */
  print: string;
}

/** Resource files as they were read. */
export interface ReadFiles {
  files: { path: string; bytes: Uint8Array }[];
  print: string;
}

const fileBytesMax = 4 * 1024 * 1024;
const filesMax = 10_000;

/**
 * Reads the resources of folders (their `.yaml` and `.yml` files, not those of subfolders) and of single files.
 * Rejects with `ResourceErrors` naming everything that is wrong; warnings are logged.
 */
export async function loadResources(paths: readonly string[], options: LoadOptions): Promise<ResourceSet> {
  return checkResources(await readResourceFiles(paths, options.files), options);
}

export async function readResourceFiles(paths: readonly string[], files: Files): Promise<ReadFiles> {
  const read: ReadFiles["files"] = [];
  const hash = createHash("sha256");
  for (const path of await filesOf(paths, files)) {
    const bytes = await files.read(path);
    hash.update(`\n${path}\n`).update(bytes);
    read.push({ path, bytes });
  }
  return { files: read, print: hash.digest("hex") };
}

/** The second half of `loadResources`. */
export async function checkResources(
  read: ReadFiles,
  options: Omit<LoadOptions, "files">,
): Promise<ResourceSet> {
  const { problems, set } = await inspectResources(read, options);
  for (const problem of problems) {
    if (problem.severity === "warning") options.log.warn({}, formatProblem(problem));
  }
  const errors = problems.filter((problem) => problem.severity === "error");
  if (errors.length > 0) throw new ResourceErrors(errors);
  return set;
}

/** What is in the files as far as it can be used, and everything that is wrong with the rest. */
export async function inspectResources(
  { files, print }: ReadFiles,
  options: Omit<LoadOptions, "files">,
): Promise<{ problems: Problem[]; set: ResourceSet }> {
  const problems: Problem[] = [];
  const resources: Resource[] = [];
  for (const file of files) resources.push(...(await parseResources(file, options, problems)));
  refuseDuplicates(resources, problems);
  problems.push(...(await checkTrips(resources, options.isStrict)));
  problems.push(...(await checkCacheTags(resources)));
  problems.push(...(await checkRateLimitCel(resources)));
  problems.push(...(await checkAuthorizationCel(resources)));
  return { problems, set: sorted(resources, print) };
}

function emptyResources(): Omit<ResourceSet, "print"> {
  return {
    components: [],
    subscriptions: [],
    httpEndpoints: [],
    resiliencies: [],
    idempotencies: [],
    configurations: [],
    schedules: [],
    singletons: [],
    workflowAccessPolicies: [],
    others: [],
  };
}

/** The files in the order they are read. Of a folder that is named twice, or by a link, once. */
async function filesOf(paths: readonly string[], files: Files): Promise<string[]> {
  const found: string[] = [];
  const seen = new Set<string>();
  for (const path of paths) {
    const isFolder = (await kindOf(path, files)) === "folder";
    for (const file of isFolder ? await yamlFilesIn(path, files) : [path]) {
      const real = await files.realPath(file);
      if (!seen.has(real)) found.push(file);
      seen.add(real);
    }
  }
  if (found.length > filesMax) throw new Error(`more than ${filesMax} resource files in ${paths.join(", ")}`);
  return found;
}

async function kindOf(path: string, files: Files): Promise<FileKind> {
  try {
    return await files.kind(path);
  } catch (error) {
    throw new Error(`the resources path ${path} can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function yamlFilesIn(folder: string, files: Files): Promise<string[]> {
  const names = (await files.list(folder)).filter((name) => /\.ya?ml$/.test(name)).sort();
  const paths = names.map((name) => join(folder, name));
  // A link counts as what it points to: Kubernetes mounts files as links.
  const kinds = await Promise.all(paths.map((path) => files.kind(path)));
  return paths.filter((_, index) => kinds[index] === "file");
}

async function parseResources(
  { path, bytes }: ReadFiles["files"][number],
  options: Omit<LoadOptions, "files">,
  problems: Problem[],
): Promise<Resource[]> {
  if (bytes.byteLength > fileBytesMax) {
    const message = `the file has ${bytes.byteLength} bytes, at most ${fileBytesMax} are read`;
    problems.push({ severity: "error", message, source: { file: path, line: 1, column: 1 } });
    return [];
  }
  // The YAML package is dear to load, and many starts have no files.
  const { parseYamlFile } = await import("./yaml-document.ts");
  const parsed = parseYamlFile(path, Buffer.from(bytes).toString("utf8"), options.env);
  problems.push(...parsed.problems);
  const { isStrict, log } = options;
  const onForeign = (kind: string, source: { file: string; line: number }) => {
    log.debug(
      { file: source.file, line: source.line },
      `resource of kind ${kind || "(none)"} is not for mecha`,
    );
  };
  return parsed.documents.flatMap(
    (document) => readResource(document, { isStrict, problems, onForeign }) ?? [],
  );
}

/** Components are compared when it is known which of them an app sees; Configurations of one name are merged. */
function refuseDuplicates(resources: readonly Resource[], problems: Problem[]): void {
  const seen = new Map<string, Resource>();
  for (const resource of resources) {
    const { kind, namespace, name } = resource;
    if (kind === "Component" || kind === "Configuration") continue;
    const key = `${kind}\n${namespace}\n${name}`;
    const first = seen.get(key);
    seen.set(key, first ?? resource);
    if (!first) continue;
    const message = `duplicate definition of ${kind} name ${name} with existing ${first.source.file}:${first.source.line}`;
    problems.push({ severity: "error", message, source: resource.at("metadata", "name") });
  }
}

function sorted(resources: readonly Resource[], print: string): ResourceSet {
  const set = { ...emptyResources(), print };
  const lists: Record<string, unknown[]> = {
    Component: set.components,
    Subscription: set.subscriptions,
    HTTPEndpoint: set.httpEndpoints,
    Resiliency: set.resiliencies,
    Idempotency: set.idempotencies,
    Configuration: set.configurations,
    Schedule: set.schedules,
    Singleton: set.singletons,
    WorkflowAccessPolicy: set.workflowAccessPolicies,
  };
  for (const resource of resources) (lists[resource.kind] ?? set.others).push(resource);
  return set;
}

import { nearest } from "../kit/nearest.ts";
import { FieldReader } from "./field-reader.ts";
import { gatewayKinds, istioKinds, type KindReader, kinds, ownKinds } from "./kinds.ts";
import type { Problem } from "./problem.ts";
import type { Resource, SourcePosition } from "./resource.ts";
import type { YamlDocument } from "./yaml-document.ts";

export interface ReadOptions {
  isStrict: boolean;
  problems: Problem[];
  /** Told of documents that are not for us. */
  onForeign: (kind: string, source: SourcePosition) => void;
}

/** Checks one document against its kind; `undefined` for what is foreign or too broken to use. */
export function readResource(document: YamlDocument, options: ReadOptions): Resource | undefined {
  const { isStrict, problems } = options;
  const source = document.at([]);
  if (typeof document.value !== "object" || document.value === null || Array.isArray(document.value)) {
    problems.push({ severity: "warning", message: "the document is no resource: it has no kind", source });
    return undefined;
  }
  const reader = new FieldReader(document.value as Record<string, unknown>, [], {
    document,
    isStrict,
    problems,
  });
  const apiVersion = reader.text("apiVersion");
  const kind = reader.text("kind");
  const read = kindReader(kind, apiVersion, document, options);
  if (!read) return undefined;
  return readKnown({ reader, read, apiVersion, kind, document, problems });
}

function kindReader(
  kind: string,
  apiVersion: string,
  document: YamlDocument,
  { isStrict, problems, onForeign }: ReadOptions,
): KindReader | undefined {
  const [group = "", version = ""] = apiVersion.split("/");
  const table = apiVersion === "" ? kinds : tables[group];
  const found = table?.[kind];
  if (found) {
    if (version === "" || found.versions.includes(version)) return found;
    const home = `${group}/`;
    const message = `apiVersion of ${kind} must be ${home}${found.versions.join(` or ${home}`)}, got ${apiVersion}`;
    problems.push({ severity: "error", message, source: document.at(["apiVersion"]) });
    return undefined;
  }
  // A policy that nobody enforces is never passed over.
  const isOurs = table === ownKinds || table === istioKinds || (tables[group] !== undefined && !isStrict);
  if (!isOurs || table === undefined) {
    onForeign(kind, document.at([]));
    return undefined;
  }
  const near = nearest(kind, Object.keys(table));
  const hint = near ? `; did you mean ${near}?` : "";
  const message = `kind ${JSON.stringify(kind)} of ${apiVersion} is not known${hint}`;
  problems.push({ severity: "error", message, source: document.at(["kind"]) });
  return undefined;
}

/** The kinds of each group; documents of other groups are not for us. */
const tables: Readonly<Record<string, Readonly<Record<string, KindReader>>>> = {
  "dapr.io": kinds,
  "mecha.run": ownKinds,
  "gateway.networking.k8s.io": gatewayKinds,
  "security.istio.io": istioKinds,
};

interface KnownDocument {
  reader: FieldReader;
  read: KindReader;
  apiVersion: string;
  kind: string;
  document: YamlDocument;
  problems: Problem[];
}

function readKnown({
  reader,
  read,
  apiVersion,
  kind,
  document,
  problems,
}: KnownDocument): Resource | undefined {
  const errorsBefore = countErrors(problems);
  const metadata = reader.object("metadata");
  const name = metadata ? metadata.requiredText("name") : "";
  if (!metadata) reader.fail("metadata.name is missing", "metadata");
  const namespace = metadata?.text("namespace") ?? "";
  const created = Date.parse(metadata?.text("creationTimestamp") ?? "");
  const annotations = metadata?.has("annotations") ? metadata.textMap("annotations") : {};
  // Labels and what else Kubernetes keeps there.
  metadata?.takeAll();
  const scopes = reader.texts("scopes");
  const secretStore = reader.object("auth")?.text("secretStore");
  reader.raw("status");
  const spec =
    reader.object("spec") ?? new FieldReader({}, ["spec"], { document, isStrict: false, problems });
  const content = read.read(spec, apiVersion, annotations);
  reader.end();
  if (countErrors(problems) > errorsBefore) return undefined;
  return {
    apiVersion,
    kind,
    name,
    namespace,
    scopes,
    spec: content,
    source: document.at([]),
    at: (...path) => document.at(path),
    secretStore: secretStore || undefined,
    ...(Number.isFinite(created) && { createdAtMs: created }),
  };
}

function countErrors(problems: readonly Problem[]): number {
  return problems.filter((problem) => problem.severity === "error").length;
}

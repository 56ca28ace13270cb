// What is proven of each component, read from the tests that exist: which suites its tests join, and which of the
// features it has those suites hold it to. Nothing is opened, and no server is started.
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { componentFiles } from "./catalog.ts";
import { importsOf, type Node, parseFile, textsIn, visit } from "./source-tree.ts";

const root = resolve(import.meta.dirname, "..");
const componentsFolder = join(root, "src", "components");

export interface ComponentProof {
  /** What the component declares. */
  capabilities: string[];
  /** Files from the root whose tests put it through the suite of its kind. */
  contract: string[];
  /** Through kill -9, a frozen and a missing server. */
  crash: string[];
  /** Through the bad network. */
  network: string[];
  /** Tests of its own that use it otherwise. */
  own: string[];
}

interface TestFile {
  path: string;
  imports: ReadonlySet<string>;
  /** Functions it calls, with the texts of what they are given first. */
  calls: { callee: string; texts: string[] }[];
  texts: ReadonlySet<string>;
}

const crashTests = /^test\/fault\/(.*-crash|lock-.*)\.test\.ts$/;
/** The faults of locks are those of both. */
const networkTests = /^test\/fault\/(network|lock)-.*\.test\.ts$/;
/** Asks after every component without testing one. */
const isNoProof = "test/contract/component-reference.test.ts";

/** Asks for the proofs of one component file after the other; the tests are read once. */
export class ComponentSuites {
  readonly #tests = testFiles()
    .filter((path) => path !== isNoProof)
    .map(readTest);

  of(type: string, version: string): ComponentProof {
    const file = fileOf(type, version);
    const using = this.#tests.filter((test) => test.imports.has(file));
    const kind = type.slice(0, type.indexOf("."));
    const contract = using.filter((test) => isContract(test, kind, type)).map(pathOf);
    const crash = using.map(pathOf).filter((path) => crashTests.test(path));
    const network = using.map(pathOf).filter((path) => networkTests.test(path));
    const suites = new Set([...contract, ...crash, ...network]);
    const naming = this.#tests.filter((test) => test.imports.has(file) || test.texts.has(type));
    const own = naming.map(pathOf).filter((path) => !suites.has(path));
    return { capabilities: capabilitiesIn(kind, sourcesOf(file)), contract, crash, network, own };
  }
}

/** The suite that every component of a kind passes, by its name in test/contract; some kinds have none. */
function contractOf(kind: string): string | undefined {
  return {
    state: "stateContract",
    pubsub: "pubsubContract",
    lock: "lockContract",
    configuration: "configurationContract",
    secretstores: "secretStoreContract",
    crypto: "cryptoContract",
    conversation: "conversationContract",
    nameresolution: "nameResolverContract",
  }[kind];
}

/** Joins the suite of the kind; where a kind has none, what is beside the suites. */
function isContract({ path, calls }: TestFile, kind: string, type: string): boolean {
  const suite = contractOf(kind);
  if (suite === undefined) return path.startsWith("test/contract/");
  return calls.some(({ callee, texts }) => callee === suite && isFor(texts, type));
}

function pathOf({ path }: TestFile): string {
  return path;
}

/** A suite is named after the type, with what is special of this run behind it. */
function isFor(texts: readonly string[], type: string): boolean {
  // A name made from the definition itself names no type as a text.
  const namesNone = !texts.some((text) => /^[a-z]+\.[a-z]/.test(text));
  return (
    namesNone || texts.some((text) => text.startsWith(type) && /^($|[ ,(])/.test(text.slice(type.length)))
  );
}

function testFiles(): string[] {
  return ["test", "src"].flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[])
      .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
      .filter((name) => name.endsWith(".test.ts"))
      .sort(),
  );
}

function readTest(path: string): TestFile {
  const file = join(root, path);
  const tree = parseFile(file);
  const imports = new Set(resolved(file, tree));
  for (const opened of openedForIt(file, imports)) imports.add(opened);
  const calls: TestFile["calls"] = [];
  visit(tree, (node) => {
    const callee = node.callee as Node | undefined;
    if (node.type !== "CallExpression" || callee?.type !== "Identifier") return;
    calls.push({
      callee: String(callee.name),
      texts: (node.arguments as Node[]).slice(0, 1).flatMap(textsIn),
    });
  });
  const texts = new Set(textsIn(tree).flatMap((text) => text.match(/\b[a-z]+\.[\w.-]*\w/g) ?? []));
  return { path, imports, calls, texts };
}

/** A test that imports no component may leave it to what starts the server: those of the kind that its name says. */
function openedForIt(file: string, imports: ReadonlySet<string>): string[] {
  if ([...imports].some((one) => one.startsWith(`${componentsFolder}/`))) return [];
  const starters = [...imports].filter((one) => one.startsWith(join(root, "test", "contract")));
  const opened = starters.flatMap((one) => resolved(one, parseFile(one)));
  return opened.filter((one) => basename(file).includes(`${basename(dirname(one))}-`));
}

function resolved(file: string, tree: Node): string[] {
  return importsOf(tree)
    .filter((specifier) => specifier.startsWith("."))
    .map((specifier) => resolve(dirname(file), specifier));
}

/** A component's own file, and what it shares with others of its vendor. */
function sourcesOf(file: string): Node[] {
  const seen = new Set([file]);
  const trees: Node[] = [];
  for (const one of seen) {
    const tree = parseFile(one);
    trees.push(tree);
    const shared = resolved(one, tree).filter((path) => path.startsWith(join(componentsFolder, "clients")));
    for (const path of shared) seen.add(path);
  }
  return trees;
}

function capabilitiesIn(kind: string, sources: readonly Node[]): string[] {
  // What the own file says goes before what a shared one does.
  for (const tree of sources) {
    const found = kind === "bindings" ? directionsIn(tree) : featuresIn(tree);
    if (found.length > 0) return found;
  }
  return [];
}

/** `features = new Set(["ETAG", …])`, as a member of a class or of an object, or given in the constructor. */
function featuresIn(tree: Node): string[] {
  const constants = constantsIn(tree);
  const found = new Set<string>();
  visit(tree, (node) => {
    const value = featuresValue(node);
    if (value === undefined) return;
    const texts = [...textsIn(value), ...namesIn(value).flatMap((name) => constants.get(name) ?? [])];
    for (const text of texts) if (/^[A-Z_]+$/.test(text)) found.add(text);
  });
  return [...found];
}

function featuresValue(node: Node): Node | undefined {
  const isMember = node.type === "PropertyDefinition" || node.type === "Property";
  if (isMember && (node.key as Node).name === "features") return (node.value as Node | null) ?? undefined;
  const target = node.type === "AssignmentExpression" ? (node.left as Node) : undefined;
  const isAssigned = target?.type === "MemberExpression" && (target.property as Node).name === "features";
  return isAssigned ? (node.right as Node) : undefined;
}

/** The texts of each constant of a file. */
function constantsIn(tree: Node): Map<string, string[]> {
  const constants = new Map<string, string[]>();
  visit(tree, (node) => {
    if (node.type !== "VariableDeclarator" || !node.init) return;
    constants.set(String((node.id as Node).name), textsIn(node.init as Node));
  });
  return constants;
}

function namesIn(value: Node): string[] {
  const names: string[] = [];
  visit(value, (node) => {
    if (node.type === "Identifier") names.push(String(node.name));
  });
  return names;
}

/** The methods of a class that is a binding, or of an object that is one. */
function directionsIn(tree: Node): string[] {
  const found = new Set<string>();
  visit(tree, (node) => {
    const members = bindingMembers(node);
    if (members.has("read")) found.add("INPUT_BINDING");
    if (members.has("invoke")) found.add("OUTPUT_BINDING");
  });
  return [...found].sort();
}

function bindingMembers(node: Node): ReadonlySet<unknown> {
  const isClass = node.type === "ClassDeclaration" && isBinding(node.implements as Node[]);
  const members = isClass
    ? (node.body as Node).body
    : node.type === "ObjectExpression"
      ? node.properties
      : [];
  const names = new Set((members as Node[]).map((member) => (member.key as Node | undefined)?.name));
  return names.has("close") ? names : new Set();
}

function isBinding(interfaces: readonly Node[]): boolean {
  return interfaces.some((one) => (one.expression as Node).name === "Binding");
}

/** The file that makes a component of the engine, or is one of src/components. */
function fileOf(type: string, version: string): string {
  const files = [...componentFiles().map((name) => join(componentsFolder, name)), ...engineFiles()];
  const found = files.find((file) => declares(file, type, version));
  if (found === undefined) throw new Error(`no file declares ${type} ${version}`);
  return found;
}

function engineFiles(): string[] {
  const folder = join(root, "src", "engine", "defaults");
  return readdirSync(folder).map((name) => join(folder, name));
}

function declares(file: string, type: string, version: string): boolean {
  const text = readFileSync(file, "utf8");
  return text.includes(`type: "${type}"`) && text.includes(`version: "${version}"`);
}

import { expect, test } from "bun:test";
import fc from "fast-check";
import type {
  AttributeMatch,
  AuthorizationPolicyResource,
  AuthorizationPolicySpec,
} from "../../resource/authorization.ts";
import { judgeOf } from "./policies.ts";
import type { AuthorizationRequest } from "./request.ts";

const place = { subject: "call", appId: "orders", name: "", isOfComponent: false } as const;
const source = { file: "x.yaml", line: 1, column: 1 };
let made = 0;

function policy(spec: Partial<AuthorizationPolicySpec>): AuthorizationPolicyResource {
  const full: AuthorizationPolicySpec = { targets: [], action: "ALLOW", rules: [], isDryRun: false, ...spec };
  const name = `p${made++}`;
  const kind = "AuthorizationPolicy" as const;
  return {
    ...{ apiVersion: "", kind, name, namespace: "", scopes: [] },
    ...{ spec: full, source, at: () => source },
  };
}

type Attributes = Record<string, string[] | undefined>;

function request(attributes: Attributes): AuthorizationRequest {
  const values = (field: string) => (field in attributes ? attributes[field] : []);
  return { subject: "call", isOfComponent: false, values };
}

function match(field: string, values: string[], notValues: string[] = []): AttributeMatch {
  return { field, values, notValues };
}

function to(...matches: AttributeMatch[]) {
  return { from: [], to: [{ subject: "call" as const, matches }], when: [] };
}

function from(...matches: AttributeMatch[]) {
  return { from: [{ matches }], to: [], when: [] };
}

function verdict(specs: Partial<AuthorizationPolicySpec>[], attributes: Attributes) {
  return judgeOf(specs.map(policy), place)?.judge(request(attributes));
}

function allows(specs: Partial<AuthorizationPolicySpec>[], attributes: Attributes): boolean {
  return verdict(specs, attributes)?.isAllowed ?? true;
}

const everything = { from: [], to: [], when: [] };

test("no policy allows; an ALLOW policy without rules allows nobody, a DENY policy denies nobody", () => {
  expect(judgeOf([], place)).toBeUndefined();
  expect(allows([{}], {})).toBe(false);
  expect(allows([{ action: "DENY" }], {})).toBe(true);
  expect(allows([{ rules: [everything] }], {})).toBe(true);
  expect(allows([{ action: "DENY", rules: [everything] }], {})).toBe(false);
});

test("DENY goes before ALLOW, and AUDIT decides nothing", () => {
  const all = { rules: [everything] };
  expect(allows([all, { ...all, action: "DENY" }], {})).toBe(false);
  const audited = verdict([{ ...all, action: "AUDIT" }], {});
  expect(audited?.isAllowed).toBe(true);
  expect(audited?.audits).toHaveLength(1);
});

test("a policy that runs dry decides nothing, and says what it would", () => {
  const dry = verdict([{ action: "DENY", rules: [everything], isDryRun: true }], {});
  expect(dry?.isAllowed).toBe(true);
  expect(dry?.shadow?.isAllowed).toBe(false);
});

test.each([
  ["a", "a", true],
  ["a", "ab", false],
  ["a*", "ab", true],
  ["a*", "a", true],
  ["*b", "ab", true],
  ["*b", "ba", false],
  ["*", "x", true],
  ["*", "", false],
])("the glob %s takes %s: %s", (glob, value, expected) => {
  expect(allows([{ rules: [from(match("principals", [glob]))] }], { principals: [value] })).toBe(expected);
});

test("a value that is not there fits no value, and every notValue", () => {
  const anybody = [{ rules: [from(match("principals", ["*"]))] }];
  expect(allows(anybody, { principals: [] })).toBe(false);
  const strangers = [{ action: "DENY" as const, rules: [from(match("principals", [], ["*"]))] }];
  expect(allows(strangers, { principals: [] })).toBe(false);
  expect(allows(strangers, { principals: ["a"] })).toBe(true);
});

test("what nobody can say grants nothing and blocks", () => {
  for (const one of [match("keys", ["a"]), match("keys", [], ["a"])]) {
    expect(allows([{ rules: [to(one)] }], { keys: undefined })).toBe(false);
    expect(allows([{ action: "DENY", rules: [to(one)] }], { keys: undefined })).toBe(false);
  }
});

test("of header lines all have to be granted and one is enough to block", () => {
  const rule = (values: string[], notValues: string[] = []) => ({
    ...everything,
    when: [{ key: "request.headers[X-Role]", values, notValues }],
  });
  const both = { "header:x-role": ["user", "admin"] };
  expect(allows([{ rules: [rule(["user"])] }], both)).toBe(false);
  expect(allows([{ rules: [rule(["user", "admin"])] }], both)).toBe(true);
  expect(allows([{ action: "DENY", rules: [rule(["admin"])] }], both)).toBe(false);
  expect(allows([{ action: "DENY", rules: [rule([], ["admin"])] }], both)).toBe(false);
  expect(allows([{ rules: [rule([], ["admin"])] }], both)).toBe(false);
  expect(allows([{ rules: [rule(["user"])] }], {})).toBe(false);
});

test("who may do nothing but one verb may do nothing that is also another", () => {
  const onlySet = [{ action: "DENY" as const, rules: [to(match("verbs", [], ["set"]))] }];
  expect(allows(onlySet, { verbs: ["set"] })).toBe(true);
  expect(allows(onlySet, { verbs: ["transact", "set", "delete"] })).toBe(false);
});

test.each([
  ["10.0.0.0/8", "10.1.2.3", true],
  ["10.0.0.0/8", "11.1.2.3", false],
  ["10.1.2.3", "10.1.2.3", true],
  ["10.1.2.3", "10.1.2.4", false],
  ["10.0.0.0/8", "::ffff:10.1.2.3", true],
  ["fd00::/8", "fd00::1", true],
  ["fd00::/8", "fe00::1", false],
  ["0.0.0.0/0", "no address", false],
])("the block %s holds %s: %s", (block, address, expected) => {
  expect(allows([{ rules: [from(match("ipBlocks", [block]))] }], { ipBlocks: [address] })).toBe(expected);
});

test.each([
  ["/a/{*}/b", "/a/x/b", true],
  ["/a/{*}/b", "/a/x/y/b", false],
  ["/a/{*}/b", "/a//b", false],
  ["/a/{*}/b", "/a/*/b", true],
  ["/a/{*}", "/a", false],
  ["/a/{**}", "/a", true],
  ["/a/{**}", "/a/b/c", true],
  ["/a/{**}", "/ab", false],
  ["/a/{**}/z", "/a/b/c/z", true],
  ["/a/{**}/z", "/a/z", true],
  ["/a/{**}/z", "/a/zz", false],
  ["/{**}", "/", true],
  ["/a.b/{*}", "/aXb/c", false],
  ["/a%20b", "/a b", true],
  ["/a b*", "/a bc", true],
  ["/a/{*}/b", "/a/x\n/b", true],
])("the path %s takes %p: %s", (path, value, expected) => {
  expect(allows([{ rules: [to(match("paths", [path]))] }], { paths: [value] })).toBe(expected);
});

test("a policy is for the places that its targets name, or that its operations speak of", () => {
  const store = { subject: "state", appId: "orders", name: "s", isOfComponent: true } as const;
  const state = { from: [], to: [{ subject: "state" as const, matches: [match("keys", ["a"])] }], when: [] };
  const at = (spec: Partial<AuthorizationPolicySpec>) => [
    judgeOf([policy(spec)], place) !== undefined,
    judgeOf([policy(spec)], store) !== undefined,
  ];
  expect(at({})).toEqual([true, false]);
  expect(at({ rules: [state] })).toEqual([false, true]);
  expect(at({ rules: [state, everything] })).toEqual([true, true]);
  expect(at({ targets: [{ kind: "App", name: "orders" }] })).toEqual([true, false]);
  expect(at({ targets: [{ kind: "App", name: "else" }], rules: [state, everything] })).toEqual([
    false,
    false,
  ]);
  expect(at({ targets: [{ kind: "Component", name: "s" }] })).toEqual([false, true]);
  expect(at({ targets: [{ kind: "Component", name: "t" }] })).toEqual([false, false]);
  expect(at({ targets: [{ kind: "ActorType", name: "s" }] })).toEqual([false, false]);
  const workflow = { subject: "workflows", appId: "orders", name: "s", isOfComponent: false } as const;
  const ofWorkflow = (kind: "ActorType" | "Workflow" | "Component", name = "s") =>
    judgeOf([policy({ targets: [{ kind, name }] })], workflow) !== undefined;
  expect(ofWorkflow("Workflow")).toBe(true);
  expect(ofWorkflow("Workflow", "t")).toBe(false);
  expect(ofWorkflow("ActorType")).toBe(false);
  expect(ofWorkflow("Component")).toBe(false);
});

// --- against a slow evaluator that follows the text of Istio's reference sentence by sentence ---

const texts = fc.constantFrom("a", "b", "ab", "abc", "");
const globs = fc.constantFrom<string[]>("a", "b", "ab", "a*", "*b", "*");
const fields = ["principals", "namespaces", "methods"];
const matchOf = fc.record({
  field: fc.constantFrom(...fields),
  values: fc.array(globs, { maxLength: 2 }),
  notValues: fc.array(globs, { maxLength: 2 }),
});
const ruleOf = fc.record({
  from: fc.array(fc.record({ matches: fc.array(matchOf, { maxLength: 2 }) }), { maxLength: 2 }),
  to: fc.array(
    fc.record({ subject: fc.constant("call" as const), matches: fc.array(matchOf, { maxLength: 2 }) }),
    { maxLength: 2 },
  ),
  when: fc.constant<AuthorizationPolicySpec["rules"][number]["when"]>([]),
});
const policyOf = fc.record({
  action: fc.constantFrom("ALLOW" as const, "DENY" as const, "AUDIT" as const),
  isDryRun: fc.boolean(),
  rules: fc.array(ruleOf, { maxLength: 2 }),
});
const attributesOf = fc.record({
  principals: fc.oneof(fc.constant(undefined), fc.array(texts, { maxLength: 1 })),
  namespaces: fc.array(texts, { maxLength: 1 }),
  methods: fc.array(texts, { minLength: 1, maxLength: 1 }),
});

function slowGlob(glob: string, text: string): boolean {
  const pattern = glob === "*" ? ".+" : glob.replace(/\*/g, ".*");
  return new RegExp(`^(?:${pattern})$`).test(text);
}

function slowMatch({ field, values, notValues }: AttributeMatch, attributes: Attributes, isAllow: boolean) {
  const found = attributes[field];
  if (found === undefined) return !isAllow;
  const anyOf = (globs_: string[]) => globs_.some((glob) => found.some((text) => slowGlob(glob, text)));
  return (values.length === 0 || anyOf(values)) && !anyOf(notValues);
}

type Spec = {
  action: "ALLOW" | "DENY" | "AUDIT";
  isDryRun: boolean;
  rules: AuthorizationPolicySpec["rules"];
};

function slowHolds({ action, rules }: Spec, attributes: Attributes): boolean {
  const all = (matches: AttributeMatch[]) =>
    matches.every((one) => slowMatch(one, attributes, action === "ALLOW"));
  return rules.some(
    (rule) =>
      (rule.from.length === 0 || rule.from.some(({ matches }) => all(matches))) &&
      (rule.to.length === 0 || rule.to.some(({ matches }) => all(matches))),
  );
}

function slowAllows(policies: Spec[], attributes: Attributes): boolean {
  const enforced = policies.filter(({ isDryRun }) => !isDryRun);
  if (enforced.some((one) => one.action === "DENY" && slowHolds(one, attributes))) return false;
  const grants = enforced.filter(({ action }) => action === "ALLOW");
  return grants.length === 0 || grants.some((one) => slowHolds(one, attributes));
}

test("the evaluator agrees with a slow one", () => {
  const policies = fc.array(policyOf, { maxLength: 4 });
  fc.assert(
    fc.property(policies, attributesOf, (specs, attributes) => {
      expect(allows(specs, attributes)).toBe(slowAllows(specs, attributes));
    }),
    { numRuns: 5000 },
  );
});

import { expect, test } from "bun:test";
import { checkResources } from "./load.ts";
import { ResourceErrors } from "./problem.ts";

const nothing = () => undefined;
const log = {
  ...{ debug: nothing, info: nothing, warn: nothing, error: nothing, fatal: nothing },
  scope: () => log,
};

async function read(spec: string, { apiVersion = "mecha.run/v1alpha1", metadata = "{ name: x }" } = {}) {
  const text = `apiVersion: ${apiVersion}\nkind: AuthorizationPolicy\nmetadata: ${metadata}\nspec: ${spec}\n`;
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  const { others } = await checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
  return others[0]?.spec;
}

async function errorsOf(spec: string): Promise<string> {
  const error = await read(spec).then(nothing, (caught: Error) => caught);
  expect(error).toBeInstanceOf(ResourceErrors);
  return (error as Error).message;
}

test("a policy of Istio's is read as it is", async () => {
  const spec = `
  selector: { matchLabels: { app: httpbin } }
  action: DENY
  rules:
  - from: [{ source: { principals: ["*/ns/default/sleep"], notNamespaces: [dev] } }]
    to: [{ operation: { methods: [GET], paths: ["/info*", "/a/{*}/b/{**}"] } }]
    when: [{ key: "request.auth.claims[realm_access][roles]", values: [admin] }]`;
  const metadata = '{ name: x, annotations: { "istio.io/dry-run": "true" } }';
  for (const apiVersion of ["security.istio.io/v1", "security.istio.io/v1beta1"]) {
    const read_ = await read(spec, { apiVersion, metadata });
    expect(read_).toEqual({
      targets: [{ kind: "App", name: "httpbin" }],
      action: "DENY",
      isDryRun: true,
      rules: [
        {
          from: [
            {
              matches: [
                { field: "principals", values: ["*/ns/default/sleep"], notValues: [] },
                { field: "namespaces", values: [], notValues: ["dev"] },
              ],
            },
          ],
          to: [
            {
              subject: "call",
              matches: [
                { field: "paths", values: ["/info*", "/a/{*}/b/{**}"], notValues: [] },
                { field: "methods", values: ["GET"], notValues: [] },
              ],
            },
          ],
          when: [{ key: "request.auth.claims[realm_access][roles]", values: ["admin"], notValues: [] }],
        },
      ],
    } as never);
    // Change detection compares JSON.
    expect(JSON.parse(JSON.stringify(read_))).toEqual(read_ as never);
  }
});

test.each([
  ["{ topics: [a], verbs: [publish] }", "pubsub"],
  ["{ pubsubs: [a] }", "pubsub"],
  ["{ stateStores: [s], keys: [k], verbs: [get] }", "state"],
  ["{ configurationStores: [s], keys: [k] }", "configuration"],
  ["{ bindings: [b], operations: [create] }", "bindings"],
  ["{ actors: [Cat], methods: [feed] }", "actors"],
  ["{ workflows: [approve], verbs: [start, get] }", "workflows"],
  ["{ notWorkflows: [approve] }", "workflows"],
  ["{ workflowIds: [a] }", "workflows"],
  ["{ secrets: [db] }", "secrets"],
  ["{ locks: [l] }", "locks"],
  ["{ cryptoKeys: [k], cryptoProviders: [vault] }", "crypto"],
  ["{ conversations: [gpt] }", "conversation"],
  ["{ methods: [GET] }", "call"],
  ["{ paths: [/mcp], mcpTools: [search] }", "call"],
])("the operation %s speaks of %s", async (operation, subject) => {
  const spec = (await read(`{ rules: [{ to: [{ operation: ${operation} }] }] }`)) as {
    rules: { to: { subject: string }[] }[];
  };
  expect(spec.rules[0]?.to[0]?.subject).toBe(subject);
});

test("with a workflow named, its verbs are said without it", async () => {
  const spec = await read(
    "{ targetRefs: [{ kind: Workflow, name: w }], rules: [{ to: [{ operation: { verbs: [purge] } }] }] }",
  );
  expect(spec).toMatchObject({ rules: [{ to: [{ subject: "workflows" }] }] });
});

test("with a component named, its operations are said without it", async () => {
  const spec = await read(
    "{ targetRefs: [{ kind: Component, name: s }], rules: [{ to: [{ operation: { keys: [a], verbs: [get] } }] }] }",
  );
  expect(spec).toMatchObject({ rules: [{ to: [{ subject: "component" }] }] });
});

test.each([
  ["{ action: CUSTOM }", "CUSTOM needs spec.provider"],
  ["{ action: CUSTOM, provider: { name: x } }", "provider needs one of http and grpc"],
  ["{ action: CUSTOM, provider: { name: x, grpc: {} } }", "grpc.uri is missing"],
  ["{ action: CUSTOM, provider: { name: x, http: { uri: 'ftp://x' } } }", "must be an http or https address"],
  [
    "{ action: CUSTOM, targetRefs: [{ kind: Component, name: s }], provider: { name: x, http: { uri: 'http://x' } } }",
    "CUSTOM is for calls of apps",
  ],
  [
    "{ action: CUSTOM, provider: { name: x, http: { uri: 'http://x', includeRequestBodyInCheck: {} } } }",
    "maxRequestBytes is missing",
  ],
  [
    "{ action: CUSTOM, provider: { name: x, grpc: { uri: 'http://x', includeRequestBodyInCheck: { maxRequestBytes: 0 } } } }",
    "maxRequestBytes",
  ],
  ["{ action: allow it }", "must be one of ALLOW, DENY, AUDIT, CUSTOM"],
  ["{ provider: { name: x } }", "spec.provider goes with action CUSTOM"],
  ["{ selector: { matchLabels: { tier: web } } }", "must be one label of app"],
  ["{ selector: { matchLabels: { app: a } }, targetRefs: [{ kind: App, name: a }] }", "both selector and"],
  ["{ targetRefs: [{ kind: Gateway, name: a }] }", "kind must be App, Component, ActorType"],
  ["{ rules: [{ from: [{ source: {} }] }] }", "from.source is empty"],
  ["{ rules: [{ from: [{ source: { serviceAccounts: [a] } }] }] }", "serviceAccounts is not implemented"],
  ["{ rules: [{ from: [{ source: { ipBlocks: [10.0.0.0/33] } }] }] }", "addresses or CIDR blocks"],
  ["{ rules: [{ from: [{ source: { ipBlocks: [10.0.0.999] } }] }] }", "addresses or CIDR blocks"],
  ["{ rules: [{ from: [{ source: { principals: [td/ns/a/sa/b] } }] }] }", "names a service account"],
  ['{ rules: [{ from: [{ source: { principals: ["spiffe://a/ns/b/c"] } }] }] }', "without their scheme"],
  ["{ rules: [{ from: [{ source: { principals: [] } }] }] }", "principals is empty"],
  ["{ rules: [{ from: [{ source: { princpals: [a] } }] }] }", 'did you mean "principals"'],
  ["{ rules: [{ to: [{ operation: { keys: [a] } }] }] }", "do not speak of one thing"],
  ["{ rules: [{ to: [{ operation: { paths: [/a], topics: [b] } }] }] }", "do not speak of one thing"],
  ["{ rules: [{ to: [{ operation: { mcpTools: [a], topics: [b] } }] }] }", "do not speak of one thing"],
  ["{ rules: [{ to: [{ operation: { workflows: [a], verbs: [schedule] } }] }] }", "verbs must be of start"],
  ["{ rules: [{ to: [{ operation: { stateStores: [a], verbs: [read] } }] }] }", "verbs must be of get"],
  ["{ rules: [{ to: [{ operation: { ports: [http] } }] }] }", "ports must hold numbers"],
  ['{ rules: [{ to: [{ operation: { paths: ["/a/*/b"] } }] }] }', "a star goes first or last"],
  ['{ rules: [{ to: [{ operation: { paths: ["*a*"] } }] }] }', "a star goes first or last"],
  ['{ rules: [{ to: [{ operation: { paths: ["/a{*}"] } }] }] }', "stand for whole segments"],
  ['{ rules: [{ to: [{ operation: { paths: ["/{**}/{*}"] } }] }] }', "the last of its operators"],
  ["{ rules: [{ when: [{ key: request.time, values: [a] }] }] }", "is not known"],
  ["{ rules: [{ when: [{ key: source.ip, values: [nowhere] }] }] }", "addresses or CIDR blocks"],
  ["{ rules: [{ when: [{ key: source.ip }] }] }", "needs values or notValues"],
  ["{ rules: [{ when: [{ cel: 'true', values: [a] }] }] }", "cel stands alone, and values is beside it"],
  ["{ rules: [{ when: [{ cel: '' }] }] }", "cel"],
])("%s is refused", async (spec, message) => {
  expect(await errorsOf(spec)).toContain(message);
});

test("kinds of Istio's that nothing enforces are refused", async () => {
  const text = "apiVersion: security.istio.io/v1\nkind: Sidecar\nmetadata: { name: x }\nspec: {}\n";
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  const checked = checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
  expect(await checked.catch((error: Error) => error.message)).toContain('kind "Sidecar"');
});

// Why a component does not join a suite: the one place where that is said. `test/contract/component-reference.test.ts`
// fails for an empty cell of the table without a reason here, and for a reason whose suite is there.

export type Suite = "contract" | "crash" | "network";

interface Gap {
  suites: readonly Suite[];
  reason: string;
  /** `type/version` of each. */
  components: readonly string[];
}

const v1 = (...types: string[]): string[] => types.map((type) => `${type}/v1`);

const gaps: readonly Gap[] = [
  {
    suites: ["crash", "network"],
    reason: "no server: it works in the process or on files",
    components: v1(
      ...["bindings.cron", "bindings.localstorage", "bindings.webhook", "conversation.echo"],
      ...["crypto.dapr.localstorage", "nameresolution.nameformat", "nameresolution.structuredformat"],
      ...["nameresolution.sqlite", "pubsub.in-memory", "secretstores.local.env", "secretstores.local.file"],
      ...["state.in-memory", "state.sqlite", "middleware.http.ratelimit", "middleware.http.routeralias"],
      ...["middleware.http.routerchecker", "middleware.http.uppercase", "middleware.http.wasm"],
    ),
  },
  {
    suites: ["crash", "network"],
    reason: "the engine's store: its own crash, pause and disk suites",
    components: v1(
      ...["configuration.mecha", "lock.mecha", "pubsub.mecha", "secretstores.mecha", "state.mecha"],
    ),
  },
  {
    suites: ["contract"],
    reason: "the kind has none: other tests",
    components: v1(
      ...["bindings.cron", "middleware.http.bearer", "middleware.http.oauth2"],
      ...["middleware.http.oauth2clientcredentials", "middleware.http.ratelimit"],
      ...["middleware.http.routeralias", "middleware.http.routerchecker", "middleware.http.uppercase"],
      "middleware.http.wasm",
    ),
  },
  {
    suites: ["crash"],
    reason: "the test server forgets all when it ends; what its client does with a frozen one is shown",
    components: v1(
      ...["bindings.aws.dynamodb", "bindings.aws.s3", "bindings.aws.sns", "bindings.aws.sqs"],
      ...[
        "secretstores.aws.parameterstore",
        "secretstores.aws.secretmanager",
        "secretstores.hashicorp.vault",
      ],
    ),
  },
  {
    suites: ["crash"],
    reason: "asks and keeps nothing: a killed server is a cut connection, as on the bad network",
    components: v1(
      ...["bindings.azure.blobstorage", "bindings.azure.storagequeues", "bindings.graphql", "bindings.http"],
      ...["bindings.mysql", "bindings.postgresql", "bindings.redis", "bindings.sftp", "bindings.smtp"],
      ...["conversation.anthropic", "conversation.openai", "crypto.dapr.jwks", "middleware.http.bearer"],
      ...["middleware.http.oauth2", "middleware.http.oauth2clientcredentials"],
      ...["nameresolution.kubernetes", "nameresolution.mdns"],
      ...["configuration.etcd", "configuration.postgresql", "configuration.redis"],
    ),
  },
  { suites: ["crash"], reason: "the client is that of pubsub.mqtt3", components: v1("bindings.mqtt3") },
  {
    suites: ["crash"],
    reason: "another layout on the client of state.etcd v1",
    components: ["state.etcd/v2"],
  },
  {
    suites: ["crash"],
    reason: "the client is that of pubsub.kafka",
    components: v1("bindings.kafka"),
  },
  {
    suites: ["crash"],
    reason: "whole runtimes go through it: nameresolution-consul-crash",
    components: v1("nameresolution.consul"),
  },
];

/** Why there is none, if that is said. */
export function reasonOfGap(component: string, suite: Suite): string | undefined {
  const found = gaps.filter(
    ({ suites, components }) => suites.includes(suite) && components.includes(component),
  );
  if (found.length > 1) throw new Error(`two reasons why ${component} has no ${suite} suite`);
  return found[0]?.reason;
}

/** Each `type/version` and suite that a reason is given for. */
export function excusedGaps(): { component: string; suite: Suite }[] {
  return gaps.flatMap(({ suites, components }) =>
    components.flatMap((component) => suites.map((suite) => ({ component, suite }))),
  );
}

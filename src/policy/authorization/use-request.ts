import type { Block, Use } from "../use/layer.ts";
import type { AuthorizationRequest, Purpose } from "./request.ts";

type Subject = AuthorizationRequest["subject"];

/** What of an app's own doing is judged, and as what. */
export const subjectOfBlock: Readonly<Partial<Record<Block, Subject>>> = {
  state: "state",
  publish: "pubsub",
  deliver: "pubsub",
  bindings: "bindings",
  input: "bindings",
  actor: "actors",
  workflow: "workflows",
  secretstores: "secrets",
  configuration: "configuration",
  lock: "locks",
  crypto: "crypto",
  conversation: "conversation",
};

const targetFields: Readonly<Partial<Record<Subject, string>>> = {
  state: "stateStores",
  pubsub: "pubsubs",
  bindings: "bindings",
  actors: "actors",
  workflows: "workflows",
  secrets: "secretStores",
  configuration: "configurationStores",
  locks: "lockStores",
  crypto: "cryptoProviders",
  conversation: "conversations",
};
const nameFields: Readonly<Partial<Record<Subject, string>>> = {
  state: "keys",
  pubsub: "topics",
  actors: "actorIds",
  workflows: "workflowIds",
  secrets: "secrets",
  configuration: "keys",
  locks: "locks",
  crypto: "cryptoKeys",
};

export interface UseOfPlace {
  subject: Subject;
  target: string;
  use: Use;
  /** One of the use's names; `undefined` when it says none. */
  name: string | undefined;
  principal: string;
  namespace: string;
}

export function useRequest(asked: UseOfPlace): AuthorizationRequest {
  const { subject, target, use, name, principal, namespace } = asked;
  const verbs = verbsOf(subject, use.operation);
  const values = (field: string, purpose: Purpose): readonly string[] | undefined => {
    if (field === "principals") return [principal];
    if (field === "namespaces") return [namespace];
    // Of an instance that is not there nobody can say which workflow it is of.
    if (field === targetFields[subject]) return target === "" ? undefined : [target];
    if (field === nameFields[subject]) return name === undefined ? undefined : [name];
    if (field === "verbs") return verbs[purpose];
    if (field === "operations") return subject === "bindings" ? [use.operation] : undefined;
    if (field === "methods") return use.method === undefined ? undefined : [use.method];
    if (field.startsWith("header:")) return present(use.header(field.slice("header:".length)));
    // The app is here on its own machine, and shows no token.
    return ["requestPrincipals", "audiences", "presenter"].includes(field) || field.startsWith("claim:")
      ? []
      : undefined;
  };
  return { subject, isOfComponent: !ofNoComponent.has(subject), values };
}

export const ofNoComponent: ReadonlySet<Subject> = new Set(["actors", "workflows"]);

function present(value: string | undefined): readonly string[] {
  return value === undefined ? [] : [value];
}

/** A transaction may do what a rule against `set` or `delete` means to keep out, and is granted by its own name alone. */
const stateVerbs: Readonly<Record<string, { grant: string[]; block: string[] }>> = {
  get: { grant: ["get"], block: ["get"] },
  bulk_get: { grant: ["get"], block: ["get"] },
  query: { grant: ["query"], block: ["query", "get"] },
  set: { grant: ["set"], block: ["set"] },
  delete: { grant: ["delete"], block: ["delete"] },
  bulk_delete: { grant: ["delete"], block: ["delete"] },
  transaction: { grant: ["transact"], block: ["transact", "set", "delete"] },
};
/** To run again is to start; who lists the ids hears of every instance. */
const workflowVerbs: typeof stateVerbs = {
  list: { grant: ["list"], block: ["list", "get"] },
  rerun: { grant: ["rerun"], block: ["rerun", "start"] },
};
const publishing = { grant: ["publish"], block: ["publish"] };
const subscribing = { grant: ["subscribe"], block: ["subscribe"] };
const unknownVerb = { grant: undefined, block: undefined };

function verbsOf(
  subject: Subject,
  operation: string,
): Readonly<Record<Purpose, readonly string[] | undefined>> {
  if (subject === "pubsub") return operation === "deliver" ? subscribing : publishing;
  if (subject === "workflows") return workflowVerbs[operation] ?? { grant: [operation], block: [operation] };
  return (subject === "state" ? stateVerbs[operation] : undefined) ?? unknownVerb;
}

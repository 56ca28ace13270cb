import { fetchJson } from "../components/clients/fetch-json.ts";
import type { Clock } from "../edges/clock.ts";
import type { HttpClient, RawHeaders } from "../net/http1/types.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { Admission, InboundCall, LocalTarget } from "../peer/local-targets.ts";
import { canonicalMethod } from "../peer/method-path.ts";
import { accessDenied, tokenRefused } from "../peer/refusal.ts";
import {
  type Authenticator,
  authenticatorOf,
  claimValues,
  type Identity,
} from "../policy/authentication/authenticator.ts";
import { principalText } from "../policy/authorization/authorization-policies.ts";
import type { Judge, Question } from "../policy/authorization/judge.ts";
import { mcpToolsOf } from "../policy/authorization/mcp-tools.ts";
import { DecisionNotes } from "../policy/authorization/notes.ts";
import { readingsOf } from "../policy/authorization/path-readings.ts";
import { judgeOf } from "../policy/authorization/policies.ts";
import type { AuthorizationRequest } from "../policy/authorization/request.ts";
import type { ExternalProvider } from "../resource/authorization.ts";
import { isSameResources } from "../resource/diff.ts";
import type { Resource } from "../resource/resource.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { type ExternalAuthorization, HttpAuthorization } from "./external-authorization.ts";
import { GrpcAuthorization } from "./grpc-authorization.ts";
import type { RuntimeResources } from "./resources.ts";

export interface AuthorizationRequestOptions {
  principal: { namespace: string; appId: string };
  appPort: number;
  resources: Pick<RuntimeResources, "policies" | "onPolicies" | "configuration">;
  telemetry: Telemetry;
  clock: Clock;
  httpClient: HttpClient;
}

/** The check of calls that come in for an app by AuthorizationPolicies; follows its resources. */
export function openAuthorization(options: AuthorizationRequestOptions): {
  authorize: NonNullable<LocalTarget["authorize"]>;
  close(): void;
} {
  const { principal, resources, telemetry } = options;
  const place = { subject: "call", appId: principal.appId, name: "", isOfComponent: false } as const;
  const notes = new DecisionNotes(telemetry, "call");
  let judge: Judge | undefined;
  const authentication = new FollowedAuthentication(options);
  const follow = (): void => {
    judge = judgeOf(resources.policies, place);
    authentication.follow();
  };
  follow();
  resources.onPolicies(follow);
  const providers = new Providers(options);
  const decide = (call: InboundCall, identity: Identity | undefined): Admission | Promise<Admission> => {
    const known =
      identity !== undefined && identity.remove.size + identity.add.length > 0 ? identity : undefined;
    if (judge === undefined) return known;
    const current = judge;
    return current.asksTools
      ? toolsOf(call).then((tools) => settle(current, { call, identity, tools }, known))
      : settle(current, { call, identity, tools: undefined }, known);
  };
  const settle = (current: Judge, asked: AskedCall, known: Admission): Admission | Promise<Admission> => {
    const { call, identity } = asked;
    const request = callRequest(asked, options);
    const conclude = (admission: Admission): Admission => {
      const verdict = current.judge(request);
      notes.take(verdict, () => fieldsOf(call));
      if (!verdict.isAllowed) throw accessDenied();
      return admission;
    };
    const questions = current.questions(request);
    if (questions.length === 0) return conclude(known);
    const passed = { ...call, lines: () => passing(call.lines(), identity) };
    return providers
      .ask(questions, passed, notes)
      .then((permission) => conclude(together(known, permission)));
  };
  const authorize: NonNullable<LocalTarget["authorize"]> = (call) => {
    const identity = authentication.identify(call);
    return identity instanceof Promise
      ? identity.then((known) => decide(call, known))
      : decide(call, identity);
  };
  return { authorize, close: () => providers.close() };
}

/** A call with what was found out of it. */
interface AskedCall {
  call: InboundCall;
  identity: Identity | undefined;
  /** `undefined`: nobody can say. */
  tools: readonly string[] | undefined;
}

/** Nobody looks into more than that for the name of a tool. */
const messageBytesMax = 1 << 20;

async function toolsOf(call: InboundCall): Promise<readonly string[] | undefined> {
  // The protocol is JSON over HTTP: what a gRPC service takes for the name of a tool, nobody but it can say.
  if (call.form === "grpc" || call.isUpgrade?.() === true) return undefined;
  const { bytes, isWhole } = await call.bodyStart(messageBytesMax);
  return isWhole ? mcpToolsOf(bytes) : undefined;
}

/** The servers that CUSTOM policies ask, by what is said of them. */
class Providers {
  readonly #options: AuthorizationRequestOptions;
  readonly #opened = new Map<string, ExternalAuthorization>();

  constructor(options: AuthorizationRequestOptions) {
    this.#options = options;
  }

  /** One after the other: each has to let the call in. */
  async ask(questions: readonly Question[], call: InboundCall, notes: DecisionNotes): Promise<Admission> {
    let admission: Admission;
    const { principal, resources } = this.#options;
    const trustDomain = resources.configuration.accessControl?.trustDomain ?? trustDomainDefault;
    const said = { principal: callerOf(call), callee: principalText({ ...principal, trustDomain }) };
    for (const { provider, by } of questions) {
      try {
        admission = together(admission, await this.#open(provider).ask(call, said));
      } catch (error) {
        notes.take({ isAllowed: false, by, audits: [], shadow: undefined }, () => fieldsOf(call));
        throw error;
      }
    }
    return admission;
  }

  #open(provider: ExternalProvider): ExternalAuthorization {
    const key = JSON.stringify(provider);
    const known = this.#opened.get(key);
    if (known !== undefined) return known;
    const { httpClient, telemetry } = this.#options;
    const { log } = telemetry;
    const opened =
      provider.protocol === "grpc"
        ? new GrpcAuthorization(provider, { log })
        : new HttpAuthorization(provider, { httpClient, log });
    // Files change seldom; what is left of old ones is forgotten now and then.
    if (this.#opened.size > providersMax) this.close();
    this.#opened.set(key, opened);
    return opened;
  }

  close(): void {
    for (const opened of this.#opened.values()) opened.close();
    this.#opened.clear();
  }
}

const providersMax = 100;

function together(one: Admission, other: Admission): Admission {
  if (one === undefined || other === undefined) return one ?? other;
  return { remove: new Set([...one.remove, ...other.remove]), add: [...one.add, ...other.add] };
}

/** Who callers show to be; opened anew only when a RequestAuthentication has changed, for the keys' sake. */
class FollowedAuthentication {
  readonly #options: AuthorizationRequestOptions;
  #from: readonly Resource[] = [];
  #authenticator: Authenticator | undefined;

  constructor(options: AuthorizationRequestOptions) {
    this.#options = options;
  }

  follow(): void {
    const { principal, resources, clock } = this.#options;
    const from = resources.policies.filter(({ kind }) => kind === "RequestAuthentication");
    if (isSameResources(this.#from, from)) return;
    this.#from = from;
    const ask = (url: string, options: { timeoutMs: number }) => fetchJson(url, { ...options, clock });
    this.#authenticator = authenticatorOf(from, principal.appId, { ask, clock });
  }

  identify(call: InboundCall): Identity | Promise<Identity> | undefined {
    if (this.#authenticator === undefined) return undefined;
    const bearer = { query: call.query, headers: (lowerName: string) => linesOf(call.lines(), lowerName) };
    const identity = this.#authenticator.authenticate(bearer);
    if (!(identity instanceof Promise)) return identity;
    return identity.catch((error: Error) => {
      this.#options.telemetry.log.warn({ ...fieldsOf(call), error }, "authentication: a token was refused");
      throw tokenRefused();
    });
  }
}

function fieldsOf(call: InboundCall): Record<string, string> {
  return { principal: callerOf(call), operation: call.operation, verb: call.verb };
}

function callerOf({ caller, trustDomain }: InboundCall): string {
  return caller.appId === "" ? "" : principalText({ ...caller, trustDomain });
}

/** What rules may ask of a call: as it goes to the app, its path decoded once. */
function callRequest(
  { call, identity, tools }: AskedCall,
  options: AuthorizationRequestOptions,
): AuthorizationRequest {
  const { principal, appPort } = options;
  const paths = readingsOf(pathOf(call));
  const host = [principal.appId, `${principal.appId}.${principal.namespace}`].map((one) => one.toLowerCase());
  const address = call.address === "" ? undefined : [call.address];
  let lines: readonly string[] | undefined;
  const values = (field: string, purpose: "grant" | "block"): readonly string[] | undefined => {
    switch (field) {
      case "principals":
        return present(callerOf(call));
      case "namespaces":
        return present(call.caller.namespace);
      case "ipBlocks":
      case "remoteIpBlocks":
        return address;
      case "hosts":
        return host;
      case "ports":
        return [String(appPort)];
      case "paths":
        return paths;
      case "mcpTools":
        return tools;
      case "methods":
        return methodsOf(call, purpose);
    }
    if (field.startsWith("header:")) {
      lines ??= passing(call.lines(), identity);
      return linesOf(lines, field.slice("header:".length));
    }
    return identity === undefined ? [] : identityValues(identity, field);
  };
  return { subject: "call", isOfComponent: false, values };
}

/** A header that only tokens may write is judged as the app gets it. */
function passing(lines: RawHeaders, identity: Identity | undefined): RawHeaders {
  if (identity === undefined) return lines;
  const kept = lines.filter((_, i) => !identity.remove.has((lines[i - (i % 2)] as string).toLowerCase()));
  return [...kept, ...identity.add];
}

function identityValues({ claims }: Identity, field: string): readonly string[] {
  const { iss, sub } = claims;
  if (field === "requestPrincipals") return iss === undefined || sub === undefined ? [] : [`${iss}/${sub}`];
  if (field === "audiences") return claimValues(claims, ["aud"]);
  if (field === "presenter") return claimValues(claims, ["azp"]);
  return field.startsWith("claim:") ? claimValues(claims, JSON.parse(field.slice("claim:".length))) : [];
}

function present(value: string): readonly string[] {
  return value === "" ? [] : [value];
}

/** Of HTTP the wire's form is decoded once, which is what an app makes of it; methods and gRPC paths are literal. */
function pathOf({ form, operation }: InboundCall): string {
  if (form === "method") return canonicalMethod(operation);
  if (form === "grpc" || !operation.includes("%")) return operation;
  const bytes = operation.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** Verbs differ by case, but an app may not care. A legacy call without a verb has one that nobody knows. */
function methodsOf({ form, verb }: InboundCall, purpose: "grant" | "block"): readonly string[] | undefined {
  if (form === "grpc") return ["POST"];
  if (verb === "" || verb === "NONE") return undefined;
  return purpose === "grant" ? [verb] : [verb, verb.toUpperCase()];
}

function linesOf(lines: readonly string[], lowerName: string): readonly string[] {
  const found: string[] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    if (lines[i]?.toLowerCase() === lowerName) found.push(lines[i + 1] as string);
  }
  return found;
}

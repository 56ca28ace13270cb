import type { HttpReply, HttpRequest } from "../../net/http1/types.ts";

/** A rule of a route, as policies name it. */
export interface RuleName {
  route: string;
  /** Empty: the rule has no name. */
  section: string;
}

/** What policies put round the calls that go by a rule. */
export interface RoutePolicy {
  /** Whether a request has to be kept to be sent again. */
  readonly repeats: boolean;
  /** `path` is the canonical one; `attempt` ends with the signal when it is given one. */
  run(
    call: { request: HttpRequest; path: string; isRepeatable: boolean },
    attempt: (signal: AbortSignal | undefined) => Promise<HttpReply>,
  ): Promise<HttpReply>;
}

/** `undefined`: nothing is to be done, and nothing is paid. */
export type RoutePolicyOf = (rule: RuleName) => RoutePolicy | undefined;

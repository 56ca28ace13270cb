import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { HttpReply } from "../../net/http1/types.ts";
import type { OutgoingCall } from "../forward-http.ts";
import type { MethodAnswer } from "../on-invoke.ts";
import type { Aim } from "../subset.ts";
import type { Target } from "../target.ts";
import type { Backend } from "./backend.ts";
import { badBackend } from "./choice.ts";
import type { HttpTable } from "./http-table.ts";
import { Mirrors } from "./mirrors.ts";
import { type RoutedHttp, routeHttp } from "./route-http.ts";
import { routeMethod, type SignalledCall } from "./route-method.ts";
import type { RoutePolicies } from "./route-policy.ts";

export interface RouterOptions {
  clock: Clock;
  random: Random;
  bodyBytesMax: number;
  /** Of the app that calls. */
  namespace: string;
  policies?: RoutePolicies | undefined;
  /** An HTTPEndpoint that the app sees. */
  endpoint(id: string): Target | undefined;
  sendHttp(callee: Target, call: OutgoingCall): Promise<HttpReply>;
  sendMethod(callee: Target, call: SignalledCall, aim: Aim | undefined): Promise<MethodAnswer>;
}

/** Carries calls out as routes say, through the invoker of one app. */
export class Router {
  readonly #options: RouterOptions;
  readonly #mirrors: Mirrors;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#mirrors = new Mirrors(options.clock);
  }

  http(routed: RoutedHttp): Promise<HttpReply> {
    const send = async (backend: Backend, call: OutgoingCall): Promise<HttpReply> =>
      this.#options.sendHttp(this.#targetOf(backend), call);
    return routeHttp(routed, { ...this.#options, mirrors: this.#mirrors, send });
  }

  method(routed: { table: HttpTable; call: SignalledCall; id: string }): Promise<MethodAnswer> {
    const send = async (backend: Backend, call: SignalledCall, aim: Aim | undefined): Promise<MethodAnswer> =>
      this.#options.sendMethod(this.#targetOf(backend), call, aim);
    return routeMethod(routed, { ...this.#options, mirrors: this.#mirrors, send });
  }

  #targetOf(backend: Backend): Target {
    if (backend.kind === "app") return { kind: "app", name: backend.name, id: backend.id };
    const found = backend.kind === "endpoint" ? this.#options.endpoint(backend.id) : undefined;
    if (found === undefined) throw badBackend(`there is no HTTPEndpoint ${backend.id}`);
    return found;
  }
}

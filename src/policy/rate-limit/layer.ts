import { errors } from "../../errors.ts";
import type { RateLimitResource, RateLimitTarget } from "../../resource/rate-limit.ts";
import type { Block, Place, Shape, Use, UseContext, UseLayer, UseLayerKind, Work } from "../use/layer.ts";
import { limitLines, limitText } from "./answer.ts";
import type { Asked } from "./asked.ts";
import type { Verdict } from "./limiter.ts";
import { openTargetPolicies, type TargetPolicy } from "./policy.ts";

type Blocks = Record<RateLimitTarget["direction"], readonly Block[]>;

/** Where the targets of a direction are met. Calls that come in for an App or a version of it are limited where it runs. */
const blocksOf: Record<RateLimitTarget["kind"], Blocks> = {
  App: { inbound: [], outbound: ["invoke", "grpc"] },
  AppVersion: { inbound: [], outbound: ["version"] },
  Component: {
    inbound: ["deliver", "input"],
    outbound: [
      "state",
      "publish",
      "bindings",
      "secretstores",
      "configuration",
      "lock",
      "crypto",
      "conversation",
    ],
  },
  Topic: { inbound: ["deliver"], outbound: ["publish"] },
  Workflow: { inbound: ["workflow"], outbound: [] },
  Activity: { inbound: ["activity"], outbound: [] },
  ActorType: { inbound: [], outbound: ["actor"] },
  HTTPRoute: { inbound: [], outbound: ["route"] },
  GRPCRoute: { inbound: [], outbound: ["grpcRoute"] },
  Gateway: { inbound: ["gateway"], outbound: [] },
};

const sectionedKinds: readonly RateLimitTarget["kind"][] = ["HTTPRoute", "GRPCRoute", "Gateway"];

/** RateLimit resources round what an app uses and gets. */
export const rateLimitLayer: UseLayerKind = {
  name: "RateLimit",
  kinds: ["RateLimit"],
  open(resources, context) {
    const isHere = ({ kind, direction }: RateLimitTarget): boolean => blocksOf[kind][direction].length > 0;
    const policies = openTargetPolicies(resources as readonly RateLimitResource[], context, isHere);
    if (policies.length === 0) return undefined;
    return {
      at(place) {
        const here = policies.filter(({ target }) => isAt(target, place, context));
        return here.length === 0 ? undefined : new RateLimitLayer(here, context);
      },
    };
  },
};

function isAt({ kind, direction, name }: RateLimitTarget, place: Place, { principal }: UseContext): boolean {
  if (!blocksOf[kind][direction].includes(place.block)) return false;
  // A rule of a route is part of it, a listener of its Gateway.
  if (sectionedKinds.includes(kind) && place.target.startsWith(`${name}/`)) return true;
  const isApps = kind === "App" || kind === "AppVersion";
  return name === place.target || (isApps && `${name}.${principal.namespace}` === place.target);
}

class RateLimitLayer implements UseLayer {
  readonly #policies: readonly TargetPolicy[];
  readonly #context: UseContext;

  constructor(policies: readonly TargetPolicy[], context: UseContext) {
    this.#policies = policies;
    this.#context = context;
  }

  async run<T>(use: Use, work: Work<T>, shape: Shape<T>): Promise<T> {
    const asked = this.#asked(use);
    let lines: string[] | undefined;
    for (const policy of this.#policies) {
      const { topic, kind } = policy.target;
      // What counts of a workflow are its starts.
      if (kind === "Workflow" && use.operation !== "start") continue;
      if (topic !== undefined && topic !== use.names[0]) continue;
      const admitted = policy.admit(asked, shape.signal);
      const verdict = admitted instanceof Promise ? await admitted : admitted;
      if (!verdict.isAllowed) return this.#refuse(policy, verdict, shape);
      if (shape.headed !== undefined) lines ??= limitLines(verdict, policy.resource.spec.onLimit);
    }
    const result = await work(undefined);
    return lines === undefined || lines.length === 0 ? result : (shape.headed?.(result, lines) ?? result);
  }

  #refuse<T>({ resource }: TargetPolicy, verdict: Verdict, shape: Shape<T>): T {
    const { onLimit } = resource.spec;
    const fault = errors.RATE_LIMIT(limitText(resource.name, verdict), { http: onLimit.status });
    return shape.answer({ fault, headers: limitLines(verdict, onLimit) });
  }

  #asked({ operation, names, header, count = 1 }: Use): Asked {
    const { appId, namespace } = this.#context.principal;
    return {
      sourceApp: appId,
      sourceNamespace: namespace,
      method: operation,
      path: names[0] ?? "",
      operation,
      header,
      count,
    };
  }
}

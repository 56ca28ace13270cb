import type { TrafficPolicyResource } from "../../resource/traffic.ts";
import type { OpenedLayers, Place, UseContext, UseLayer, UseLayerKind } from "../use/layer.ts";
import { OpenedTarget } from "./opened-target.ts";
import { TrafficTargets } from "./targets.ts";

/** The blocks of TrafficPolicies that are the same for everything an app uses. */
export const trafficPolicies: UseLayerKind = {
  name: "TrafficPolicy",
  kinds: ["TrafficPolicy"],
  open(resources, context, before) {
    const known = before instanceof TrafficLayers ? before : undefined;
    return new TrafficLayers(resources as readonly TrafficPolicyResource[], context, known);
  },
};

class TrafficLayers implements OpenedLayers {
  readonly #context: UseContext;
  readonly #targets: TrafficTargets;
  readonly #opened = new Map<string, OpenedTarget>();

  constructor(policies: readonly TrafficPolicyResource[], context: UseContext, before?: TrafficLayers) {
    this.#context = context;
    this.#targets = new TrafficTargets(policies, context);
    for (const [key, known] of before === undefined ? [] : before.#opened) {
      const found = this.#targets.named(known.target);
      if (found !== undefined) this.#opened.set(key, new OpenedTarget(found, context, known));
    }
  }

  at(place: Place): UseLayer | undefined {
    const found = this.#targets.at(place);
    if (found === undefined) return undefined;
    // What a call remembers is shared by all ways to its target; publishing to a broker and delivering from it are two.
    const isCall = place.block === "invoke" || place.block === "grpc";
    const key = `${isCall ? "call" : place.block} ${found.target}`;
    let opened = this.#opened.get(key);
    if (opened === undefined) {
      opened = new OpenedTarget(found, this.#context);
      this.#opened.set(key, opened);
    }
    return opened.layer;
  }
}

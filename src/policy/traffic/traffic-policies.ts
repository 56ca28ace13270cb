import type { TrafficPolicyResource } from "../../resource/traffic.ts";
import type { OpenedLayers, Shape, Use, UseContext, UseLayer, UseLayerKind, Work } from "../use/layer.ts";
import { within } from "../use/within.ts";
import { createBlockMeter } from "./meter.ts";
import { type BlockName, openBlocks } from "./order.ts";
import { Refused } from "./refused.ts";
import { RetryBudget } from "./retry-budget.ts";
import type { Site } from "./site.ts";
import { type TargetBlocks, TrafficTargets } from "./targets.ts";

/** The blocks of TrafficPolicies that are the same for everything an app uses. */
export const trafficPolicies: UseLayerKind = {
  name: "TrafficPolicy",
  kinds: ["TrafficPolicy"],
  open(resources, context): OpenedLayers {
    const targets = new TrafficTargets(resources as readonly TrafficPolicyResource[], context);
    // What a call remembers is shared by all ways to its target; publishing to a broker and delivering from it are two.
    const opened = new Map<string, UseLayer | undefined>();
    return {
      at(place) {
        const found = targets.at(place);
        if (found === undefined) return undefined;
        const isCall = place.block === "invoke" || place.block === "grpc";
        const key = `${isCall ? "call" : place.block} ${found.target}`;
        if (!opened.has(key)) opened.set(key, open(found, context));
        return opened.get(key);
      },
    };
  },
};

function open({ target, specs, policies }: TargetBlocks, context: UseContext): UseLayer | undefined {
  const site: Site = {
    context,
    budget: specs.retryBudget && new RetryBudget(specs.retryBudget, context.clock),
    meterOf: (block) =>
      createBlockMeter(context, { policy: policies[block as BlockName] ?? "", target, block }),
  };
  const [outermost, ...others] = openBlocks(specs, site);
  return outermost === undefined ? undefined : answering(others.reduce(within, outermost));
}

/** What a block refuses is answered in the way of the use. */
function answering(layer: UseLayer): UseLayer {
  return {
    repeats: layer.repeats ?? false,
    async run<T>(use: Use, work: Work<T>, shape: Shape<T>) {
      try {
        return await layer.run(use, work, shape);
      } catch (error) {
        if (error instanceof Refused) return shape.answer(error.given);
        throw error;
      }
    },
  };
}

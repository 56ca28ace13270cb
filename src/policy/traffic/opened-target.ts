import type { Shape, Use, UseContext, UseLayer, Work } from "../use/layer.ts";
import { within } from "../use/within.ts";
import { createBlockMeter } from "./meter.ts";
import { type BlockName, blockNames, openBlock } from "./order.ts";
import { Refused } from "./refused.ts";
import { RetryBudget } from "./retry-budget.ts";
import type { Site } from "./site.ts";
import type { TargetBlocks } from "./targets.ts";

interface OpenedBlock {
  /** What it was made from. */
  print: string;
  layer: UseLayer;
}

/** The blocks that stand round one way to a target, with what they have learnt. */
export class OpenedTarget {
  readonly target: string;
  /** All of them, outermost first. */
  readonly layer: UseLayer;
  private readonly blocks = new Map<BlockName, OpenedBlock>();
  private readonly budget: { print: string; count: RetryBudget } | undefined;

  /** A block that is as it was `before` keeps what it knows, whatever happened to the others. */
  constructor(found: TargetBlocks, context: UseContext, before?: OpenedTarget) {
    const { target, specs, policies } = found;
    this.target = target;
    this.budget = openBudget(found, context, before?.budget);
    const site: Site = {
      context,
      rank: rankOf(target),
      budget: this.budget?.count,
      meterOf: (block) =>
        createBlockMeter(context, { policy: policies[block as BlockName] ?? "", target, block }),
    };
    for (const name of blockNames) {
      if (specs[name] === undefined) continue;
      const print = printOf(found, name);
      const known = before?.blocks.get(name);
      const isKept = known?.print === print;
      this.blocks.set(name, isKept ? known : { print, layer: openBlock(name, specs, site) });
    }
    const layers = [...this.blocks.values()].map(({ layer }) => layer);
    this.layer = answering(layers.reduce(within));
  }
}

/** As `Precedence` has it: a route's before a version's, that before the app's. A Gateway is farthest out. */
const rankByKind: Readonly<Record<string, number>> = {
  HTTPRoute: 3,
  GRPCRoute: 3,
  AppVersion: 2,
  Gateway: 0,
};

function rankOf(target: string): number {
  return rankByKind[target.slice(0, target.indexOf(" "))] ?? 1;
}

function openBudget(
  found: TargetBlocks,
  { clock }: UseContext,
  before: { print: string; count: RetryBudget } | undefined,
): { print: string; count: RetryBudget } | undefined {
  const spec = found.specs.retryBudget;
  if (spec === undefined) return undefined;
  const print = printOf(found, "retryBudget");
  return before?.print === print ? before : { print, count: new RetryBudget(spec, clock) };
}

function printOf({ specs, policies }: TargetBlocks, name: BlockName): string {
  const own = [policies[name], specs[name]];
  // They hold the budget.
  const isCounted = name === "retries" || name === "hedging";
  return JSON.stringify(isCounted ? [own, policies.retryBudget, specs.retryBudget] : own);
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

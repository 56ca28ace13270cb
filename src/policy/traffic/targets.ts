import type { TrafficPolicyResource, TrafficPolicySpec, TrafficTarget } from "../../resource/traffic.ts";
import type { Block, Place, UseContext } from "../use/layer.ts";
import { type BlockName, blockNames } from "./order.ts";

/** What is configured of the blocks at one target, and by which policy each. */
export interface TargetBlocks {
  /** `App orders`. */
  target: string;
  specs: Pick<TrafficPolicySpec, BlockName>;
  policies: Partial<Record<BlockName, string>>;
}

type Kind = TrafficTarget["kind"];

const kindsOfBlock: Readonly<Record<Block, readonly Kind[]>> = {
  invoke: ["App", "HTTPEndpoint"],
  grpc: ["App"],
  route: ["HTTPRoute"],
  grpcRoute: ["GRPCRoute"],
  version: ["AppVersion"],
  gateway: ["Gateway"],
  state: ["Component"],
  publish: ["Component"],
  deliver: ["Component"],
  bindings: ["Component"],
  input: ["Component"],
  secretstores: ["Component"],
  configuration: ["Component"],
  lock: ["Component"],
  crypto: ["Component"],
  conversation: ["Component"],
  actor: ["ActorType"],
  activity: ["Activity"],
  workflow: [],
};

/** The blocks of all policies by target. Of two of a target the older one counts, which is the one that is loaded first. */
export class TrafficTargets {
  readonly #byTarget = new Map<string, TargetBlocks>();
  readonly #ownSuffix: string;

  constructor(policies: readonly TrafficPolicyResource[], context: UseContext) {
    const { appId, namespace } = context.principal;
    this.#ownSuffix = `.${namespace}`;
    const log = context.telemetry.log.scope("mecha.traffic");
    for (const { name, spec } of policies) {
      if (spec.from.length > 0 && !spec.from.includes(appId)) continue;
      for (const { kind, name: whole, sectionName } of spec.targets) {
        const named = sectionName === "" ? whole : `${whole}/${sectionName}`;
        const lost = this.#take(`${kind} ${named}`, name, spec);
        for (const [block, winner] of lost) {
          const fields = { policy: name, block, target: `${kind} ${named}`, winner };
          log.warn(fields, "a TrafficPolicy is conflicted: an older one has that block of the target");
        }
      }
    }
  }

  /** What stands at a place, under the key of what shares its state. */
  at({ block, target }: Place): TargetBlocks | undefined {
    const isCall = block === "invoke" || block === "grpc" || block === "version";
    const isQualified = isCall && this.#ownSuffix !== "." && target.endsWith(this.#ownSuffix);
    const name = isQualified ? target.slice(0, -this.#ownSuffix.length) : target;
    for (const kind of kindsOfBlock[block]) {
      const found = this.#byTarget.get(`${kind} ${name}`);
      if (found !== undefined) return found;
    }
    // What a rule or listener has of its own stands in the place of what its route or Gateway has.
    return hasSections.has(block) && name.includes("/")
      ? this.at({ block, target: wholeOf(name) })
      : undefined;
  }

  /** Under the key that `at` gave. Absent: no policy is for it any more. */
  named(target: string): TargetBlocks | undefined {
    return this.#byTarget.get(target);
  }

  #take(target: string, policy: string, spec: TrafficPolicySpec): [block: BlockName, winner: string][] {
    const given = blockNames.filter((block) => spec[block] !== undefined);
    if (given.length === 0) return [];
    let known = this.#byTarget.get(target);
    if (known === undefined) {
      known = { target, specs: {}, policies: {} };
      this.#byTarget.set(target, known);
    }
    const lost: [BlockName, string][] = [];
    for (const block of given) {
      const winner = known.policies[block];
      if (winner !== undefined) lost.push([block, winner]);
      else {
        known.policies[block] = policy;
        Object.assign(known.specs, { [block]: spec[block] });
      }
    }
    return lost;
  }
}

const hasSections: ReadonlySet<Block> = new Set(["route", "grpcRoute", "gateway"]);

function wholeOf(section: string): string {
  return section.slice(0, section.indexOf("/"));
}

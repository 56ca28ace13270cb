import type { LocalitySpec } from "../../resource/traffic.ts";
import type { Instance } from "../instance.ts";
import type { Level } from "./levels.ts";
import type { Upstream } from "./upstream.ts";
import { chooseByWeight } from "./warmup.ts";

type Labels = Readonly<Record<string, string>>;

/** `region/zone/subzone` of a mecha's labels. */
export function localityOf(labels: Labels | undefined): string {
  if (labels === undefined) return "//";
  if (labels.locality !== undefined) return parts(labels.locality).join("/");
  const region = labels["topology.kubernetes.io/region"] ?? labels.region ?? "";
  const zone = labels["topology.kubernetes.io/zone"] ?? labels.zone ?? "";
  const subzone = labels["topology.istio.io/subzone"] ?? labels.subzone ?? "";
  return `${region}/${zone}/${subzone}`;
}

/** Puts instances into the levels that a locality setting makes of them, seen from here. */
export class Locality {
  readonly #spec: LocalitySpec;
  readonly #own: Labels;
  readonly #from: string;

  constructor(spec: LocalitySpec, own: Labels) {
    this.#spec = spec;
    this.#own = own;
    this.#from = localityOf(own);
  }

  /** With `distribute` one locality is drawn; otherwise the nearest comes first. */
  levels(all: readonly Upstream[], isHealthy: (upstream: Upstream) => boolean, chance: number): Level[] {
    const share = this.#spec.distribute.find(({ from }) => matches(from, this.#from));
    if (share !== undefined) return drawn(share.to, all, isHealthy, chance);
    const levels: Level[] = [];
    for (const upstream of all) {
      const index = this.#distanceOf(upstream.instance);
      while (levels.length <= index) levels.push({ all: [], healthy: [] });
      const level = levels[index] as Level;
      level.all.push(upstream);
      if (isHealthy(upstream)) level.healthy.push(upstream);
    }
    return levels.filter((level) => level.all.length > 0);
  }

  #distanceOf({ labels }: Instance): number {
    const { failoverPriority, failover, distribute } = this.#spec;
    if (distribute.length > 0) return 0;
    if (failoverPriority.length > 0) return this.#differingFrom(labels ?? {});
    const [region, zone, subzone] = parts(this.#from);
    const [otherRegion, otherZone, otherSubzone] = parts(localityOf(labels));
    if (region !== otherRegion) {
      const next = failover.find(({ from }) => from === region);
      return next === undefined || next.to === otherRegion ? 3 : 4;
    }
    if (zone !== otherZone) return 2;
    return subzone === otherSubzone ? 0 : 1;
  }

  /** How many labels are left from the first one that is not the same. `name=value` asks for a value of its own. */
  #differingFrom(labels: Labels): number {
    const priority = this.#spec.failoverPriority;
    const at = priority.findIndex((entry) => {
      const [name = "", value] = entry.split("=", 2);
      return (labels[name] ?? "") !== (value ?? this.#own[name] ?? "");
    });
    return at < 0 ? 0 : priority.length - at;
  }
}

function drawn(
  to: Readonly<Record<string, number>>,
  all: readonly Upstream[],
  isHealthy: (upstream: Upstream) => boolean,
  chance: number,
): Level[] {
  const shares = Object.entries(to).map(([pattern, weight]) => {
    const members = all.filter(({ instance }) => matches(pattern, localityOf(instance.labels)));
    return { weight, level: { all: members, healthy: members.filter(isHealthy) } };
  });
  const able = shares.filter(({ weight, level }) => weight > 0 && level.healthy.length > 0);
  const usable = able.length > 0 ? able : shares.filter(({ level }) => level.all.length > 0);
  if (usable.length === 0) return [{ all: [...all], healthy: all.filter(isHealthy) }];
  return [chooseByWeight(usable, ({ weight }) => weight || 1, { next: () => chance }).level];
}

/** `eu/*` and `eu` stand for everything in eu, `*` for everything. */
function matches(pattern: string, locality: string): boolean {
  const own = locality.split("/");
  return pattern.split("/").every((part, index) => part === "*" || part === "" || part === own[index]);
}

function parts(locality: string): [region: string, zone: string, subzone: string] {
  const [region = "", zone = "", subzone = ""] = locality.split("/");
  return [region, zone, subzone];
}

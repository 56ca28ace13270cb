import { isSameResources } from "../../resource/diff.ts";
import type { Resource } from "../../resource/resource.ts";
import type { HttpCaches } from "../cache/http-caches.ts";
import type { ResiliencePolicy } from "../resilience/policy.ts";
import type { Block, OpenedLayers, Shape, Use, UseContext, UseLayer, UseLayerKind, Work } from "./layer.ts";
import { innerLayers, outerLayers } from "./layers.ts";
import { endingWith, within } from "./within.ts";

/** What stands at one place, outside and inside of Resiliency. */
export interface PlacedLayers {
  readonly outer: UseLayer | undefined;
  readonly inner: UseLayer | undefined;
  readonly repeats: boolean;
}

/** Targets of calls come from outside. */
const placesMax = 10_000;

/** The policies of one app round everything it uses. */
export class UsePolicies {
  /** What is kept of the answers to its calls; absent: nothing. */
  caches: HttpCaches | undefined;
  readonly #context: UseContext;
  readonly #outer: KindStack;
  readonly #inner: KindStack;
  readonly #places = new Map<string, PlacedLayers | undefined>();
  #isIdle = true;

  constructor(context: UseContext, kinds = { outer: outerLayers, inner: innerLayers }) {
    this.#context = context;
    this.#outer = new KindStack(kinds.outer);
    this.#inner = new KindStack(kinds.inner);
  }

  /** Takes the resources as they are now. What stayed keeps what it knows. */
  apply(resources: readonly Resource[]): void {
    const isOuterIdle = this.#outer.apply(resources, this.#context);
    const isInnerIdle = this.#inner.apply(resources, this.#context);
    this.#isIdle = isOuterIdle && isInnerIdle;
    this.#places.clear();
  }

  /** Nothing stands anywhere. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  /** `undefined` where nothing stands. */
  at(block: Block, target: string): PlacedLayers | undefined {
    if (this.#isIdle) return undefined;
    const key = `${block} ${target}`;
    if (this.#places.has(key)) return this.#places.get(key);
    const outer = this.#outer.at(block, target);
    const inner = this.#inner.at(block, target);
    const repeats = (outer?.repeats ?? false) || (inner?.repeats ?? false);
    const placed = outer === undefined && inner === undefined ? undefined : { outer, inner, repeats };
    if (this.#places.size >= placesMax) this.#places.clear();
    this.#places.set(key, placed);
    return placed;
  }

  close(): void {
    this.#outer.close();
    this.#inner.close();
  }
}

/** Runs a use inside everything that stands at its place. */
export function runPlaced<T>(
  { placed, resilience }: { placed: PlacedLayers | undefined; resilience: ResiliencePolicy | undefined },
  use: Use,
  work: Work<T>,
  shape: Shape<T>,
): Promise<T> {
  const inner = placed?.inner;
  const outer = placed?.outer;
  const tried: Work<T> =
    inner === undefined ? work : (ended) => inner.run(use, work, endingWith(shape, ended));
  const resilient: Work<T> =
    resilience === undefined
      ? tried
      : (ended) =>
          resilience.run(
            (attemptEnded) => {
              use.tries?.begin();
              return tried(attemptEnded);
            },
            endingWith(shape, ended),
          );
  return outer === undefined ? resilient(undefined) : outer.run(use, resilient, shape);
}

/** The opened layers of a list of kinds. */
class KindStack {
  readonly #kinds: readonly UseLayerKind[];
  readonly #opened = new Map<UseLayerKind, { from: readonly Resource[]; layers: OpenedLayers | undefined }>();

  constructor(kinds: readonly UseLayerKind[]) {
    this.#kinds = kinds;
  }

  /** Whether there is nothing. */
  apply(resources: readonly Resource[], context: UseContext): boolean {
    let isIdle = true;
    for (const kind of this.#kinds) {
      const from = resources.filter((resource) => kind.kinds.includes(resource.kind));
      const known = this.#opened.get(kind);
      if (known === undefined || !isSameResources(known.from, from)) {
        const layers = from.length === 0 ? undefined : kind.open(from, context, known?.layers);
        known?.layers?.close?.();
        this.#opened.set(kind, { from, layers });
      }
      if (this.#opened.get(kind)?.layers !== undefined) isIdle = false;
    }
    return isIdle;
  }

  at(block: Block, target: string): UseLayer | undefined {
    const layers = this.#kinds.flatMap((kind) => this.#opened.get(kind)?.layers?.at({ block, target }) ?? []);
    return layers.reduceRight<UseLayer | undefined>(
      (inside, layer) => (inside === undefined ? layer : within(layer, inside)),
      undefined,
    );
  }

  close(): void {
    for (const { layers } of this.#opened.values()) layers?.close?.();
  }
}

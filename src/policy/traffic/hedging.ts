import type { Clock } from "../../edges/clock.ts";
import type { HedgingSpec } from "../../resource/traffic.ts";
import type { Shape, Use, UseLayer, Work } from "../use/layer.ts";
import { forget, isTargetsFailure, type Outcome, outcomeOf } from "./outcome.ts";
import type { Site } from "./site.ts";

/** Another try beside one that takes long; the first good one wins, the others are cancelled. */
export function openHedging(spec: HedgingSpec, { context, meterOf, budget }: Site): UseLayer {
  const meter = meterOf("hedging");
  const methods = new Set(spec.methods.map((method) => method.toLowerCase()));
  return {
    repeats: true,
    run<T>(use: Use, work: Work<T>, shape: Shape<T>) {
      if (!mayOverlap(methods, use, shape)) return work(shape.signal);
      const race = new Race(work, shape, { spec, clock: context.clock });
      return race.run({
        take() {
          const release = budget === undefined ? () => {} : budget.take("hedge");
          meter.did(release === undefined ? "over-budget" : "hedge");
          return release;
        },
        won: () => meter.did("hedge-won"),
      });
    },
  };
}

/** Only what is named as safe to repeat: an operation, an HTTP verb, the path of a gRPC method. */
function mayOverlap<T>(
  methods: ReadonlySet<string>,
  { operation, names, header }: Use,
  shape: Shape<T>,
): boolean {
  const isListed =
    methods.has(operation.toLowerCase()) || names.some((name) => methods.has(name.toLowerCase()));
  if (!isListed || shape.canOverlap === false || header("upgrade") !== undefined) return false;
  const { isRepeatable } = shape;
  return typeof isRepeatable === "function" ? isRepeatable() : isRepeatable !== false;
}

interface RaceHooks {
  /** Room for one more; what is returned gives it back. */
  take(): (() => void) | undefined;
  won(): void;
}

class Race<T> {
  readonly #work: Work<T>;
  readonly #shape: Shape<T>;
  readonly #parts: { spec: HedgingSpec; clock: Clock };
  readonly #running = new Set<AbortController>();
  readonly #end = Promise.withResolvers<T>();
  #timer = { cancel() {} };
  #extra = 0;
  #isOver = false;

  constructor(work: Work<T>, shape: Shape<T>, parts: { spec: HedgingSpec; clock: Clock }) {
    this.#work = work;
    this.#shape = shape;
    this.#parts = parts;
  }

  run(hooks: RaceHooks): Promise<T> {
    this.#begin((outcome) => void this.#ended(outcome));
    this.#arm(hooks);
    return this.#end.promise;
  }

  #arm(hooks: RaceHooks): void {
    const { spec, clock } = this.#parts;
    if (this.#isOver || this.#extra >= spec.maxExtra) return;
    this.#timer = clock.setTimer(spec.delayMs, () => {
      if (this.#isOver || this.#shape.signal?.aborted) return;
      const release = hooks.take();
      if (release === undefined) return;
      this.#extra++;
      this.#begin((outcome) => {
        release();
        if (this.#ended(outcome)) hooks.won();
      });
      this.#arm(hooks);
    });
  }

  #begin(ended: (outcome: Outcome<T>) => void): void {
    const { signal } = this.#shape;
    const cancel = new AbortController();
    this.#running.add(cancel);
    const both = signal === undefined ? cancel.signal : AbortSignal.any([signal, cancel.signal]);
    outcomeOf(() => this.#work(both), this.#shape).then((outcome) => {
      this.#running.delete(cancel);
      ended(outcome);
    });
  }

  /** Whether it has won. */
  #ended(outcome: Outcome<T>): boolean {
    const isGood = isAnswer(outcome, this.#shape);
    // A failure waits for the others: one of them may be good.
    if (this.#isOver || (!isGood && this.#running.size > 0)) {
      forget(outcome, this.#shape);
      return false;
    }
    this.#isOver = true;
    this.#timer.cancel();
    for (const loser of this.#running) loser.abort(new Error("another try was faster"));
    if (outcome.kind === "result") this.#end.resolve(outcome.result);
    else this.#end.reject(outcome.error);
    return isGood;
  }
}

/** Also one that says that the caller is wrong. */
function isAnswer<T>(outcome: Outcome<T>, shape: Shape<T>): boolean {
  if (outcome.kind === "error") return shape.isPermanent?.(outcome.error) === true;
  return !isTargetsFailure(outcome, shape);
}

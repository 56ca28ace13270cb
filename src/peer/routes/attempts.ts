import { type Clock, sleep } from "../../edges/clock.ts";
import { Code, Fault } from "../../errors.ts";
import type { TryOwner } from "../../kit/try-owner.ts";
import { GrpcError } from "../../net/grpc/types.ts";
import { Deadline } from "./deadline.ts";
import type { CompiledRule } from "./rule.ts";

export interface AttemptShape<T> {
  /** Of the caller; made when it is first looked at. */
  readonly signal: AbortSignal;
  isRepeatable: boolean;
  /** In the codes of HTTP. */
  statusOf(result: T): number;
  /** Lets go of a result that nobody will look at. */
  dispose(result: T): void;
  /** Calls back when nothing of the result is left to come. */
  whenEnded(result: T, end: () => void): T;
}

type Limits = Pick<CompiledRule, "requestTimeoutMs" | "backendRequestTimeoutMs" | "retry">;

/** A pause grows no further than this many times the first one. */
const backoffGrowthMax = 10;

/** Nothing is nearer to a call than what its rule says. */
const ruleRank = 4;

/** What a rule says of tries stands in the place of what policies farther out do. */
export function claimTries(tries: TryOwner, limits: Limits): void {
  if (limits.retry !== undefined) tries.claim("retries", ruleRank);
  const isTimed = limits.requestTimeoutMs > 0 || limits.backendRequestTimeoutMs > 0;
  if (isTimed) tries.claim("timeouts", ruleRank);
}

/** Calls a backend within the timeouts and retries of a rule; at once where it has none. */
export function runAttempts<T>(
  limits: Limits,
  work: (signal: AbortSignal | undefined) => Promise<T>,
  shape: AttemptShape<T>,
  clock: Clock,
): Promise<T> {
  const { requestTimeoutMs, backendRequestTimeoutMs, retry } = limits;
  const isPlain = requestTimeoutMs === 0 && backendRequestTimeoutMs === 0 && retry === undefined;
  return isPlain ? work(undefined) : new Attempts(limits, shape, clock).run(work);
}

class Attempts<T> {
  readonly #limits: Limits;
  readonly #shape: AttemptShape<T>;
  readonly #clock: Clock;
  readonly #whole: Deadline;

  constructor(limits: Limits, shape: AttemptShape<T>, clock: Clock) {
    this.#limits = limits;
    this.#shape = shape;
    this.#clock = clock;
    this.#whole = new Deadline(clock, limits.requestTimeoutMs, shape.signal, "the request");
  }

  async run(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { retry } = this.#limits;
    const retries = this.#shape.isRepeatable ? (retry?.attempts ?? 0) : 0;
    try {
      for (let attempt = 0; attempt < retries; attempt++) {
        const result = await this.#try(work, retry?.codes ?? []);
        if (result !== undefined) return result.value;
        await this.#pause(attempt);
      }
      const last = await this.#try(work, undefined);
      return (last as { value: T }).value;
    } catch (error) {
      this.#whole.close();
      throw error;
    }
  }

  /** `undefined`: it is worth another try. Without `codes` it is the last one. */
  async #try(
    work: (signal: AbortSignal) => Promise<T>,
    codes: readonly number[] | undefined,
  ): Promise<{ value: T } | undefined> {
    const { statusOf, dispose, whenEnded } = this.#shape;
    const { backendRequestTimeoutMs } = this.#limits;
    const deadline = new Deadline(this.#clock, backendRequestTimeoutMs, this.#whole.signal, "the backend");
    let result: T;
    try {
      result = await deadline.race(work(deadline.signal), dispose);
    } catch (error) {
      deadline.close();
      if (codes === undefined || this.#whole.signal.aborted || !isPassing(error)) throw error;
      return undefined;
    }
    if (codes?.includes(statusOf(result))) {
      deadline.close();
      dispose(result);
      return undefined;
    }
    const end = (): void => {
      deadline.close();
      this.#whole.close();
    };
    return { value: whenEnded(result, end) };
  }

  async #pause(attempt: number): Promise<void> {
    const backoffMs = this.#limits.retry?.backoffMs ?? 0;
    const { signal } = this.#whole;
    await sleep(this.#clock, backoffMs * Math.min(2 ** attempt, backoffGrowthMax), signal);
    if (signal.aborted) throw signal.reason;
  }
}

const settled: readonly number[] = [Code.PermissionDenied, Code.InvalidArgument, Code.Unauthenticated];

/** Whether another try may end otherwise: what was refused will be refused again. */
function isPassing(error: unknown): boolean {
  if (error instanceof GrpcError) return !settled.includes(error.code);
  return !(error instanceof Fault) || error.http >= 502;
}

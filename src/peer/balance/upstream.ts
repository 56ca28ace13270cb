import type { Instance } from "../instance.ts";

/** An instance as one policy of one caller sees it. */
export class Upstream {
  readonly instance: Instance;
  /** Calls of this policy that are under way there. */
  active = 0;
  calls = 0;
  /** When its slow start began; `undefined`: it is warm. */
  warmingSinceMs: number | undefined;
  /** Peak-EWMA of the time to an answer's head, as it was at `rttAtMs`; `undefined`: not known. */
  rttMs: number | undefined = undefined;
  rttAtMs = 0;
  readonly outlier: OutlierState = {
    errors: 0,
    gatewayErrors: 0,
    localFailures: 0,
    timesEjected: 0,
    ejectedUntilMs: undefined,
    returnedAtMs: 0,
    probeSinceMs: undefined,
    isOnProbation: false,
  };
  readonly check: CheckState = { isFailing: false, successes: 0, failures: 0 };

  constructor(instance: Instance, warmingSinceMs: number | undefined) {
    this.instance = instance;
    this.warmingSinceMs = warmingSinceMs;
  }
}

/** What outlier detection remembers of an instance. The first three count without interruption. */
interface OutlierState {
  errors: number;
  gatewayErrors: number;
  localFailures: number;
  timesEjected: number;
  /** `undefined`: not ejected. */
  ejectedUntilMs: number | undefined;
  returnedAtMs: number;
  /** Back from an ejection, but one call has to succeed first. */
  isOnProbation: boolean;
  /** When the call that tries it was sent. */
  probeSinceMs: number | undefined;
}

interface CheckState {
  isFailing: boolean;
  successes: number;
  failures: number;
}

/** How a call went. `local`: no answer came, a status stands for why. `none`: the caller gave up; it says nothing. */
export interface Outcome {
  origin: "answer" | "local" | "none";
  /** An HTTP status, of gRPC the one that says the same. */
  status: number;
  /** To the head of the answer. */
  latencyMs: number;
}

/** What a policy looks at in a call. */
export interface CallFacts {
  /** Value by lower-case name. */
  header(lowerName: string): string | undefined;
  /** Path and query. */
  target: string;
  /** Empty when not known. */
  remoteAddress: string;
  /** Ids of instances that this call had before. Given: it is a retry. */
  avoid?: Set<string> | undefined;
  /** Takes a cookie for the answer; absent where there is no way to give one. */
  setCookie?: ((line: string) => void) | undefined;
}

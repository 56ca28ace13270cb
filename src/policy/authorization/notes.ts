import type { Log, Metrics } from "../../telemetry/telemetry.ts";
import type { Decision, Verdict } from "./judge.ts";

/** Denials that are told one by one in a second; whoever is refused over and over does not fill the log. */
const toldPerSecond = 20;

/** What is written down of the decisions at one place: counts by policy, and of a denial why. */
export class DecisionNotes {
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #subject: string;
  #secondMs = 0;
  #told = 0;

  constructor({ log, metrics }: { log: Log; metrics: Metrics }, subject: string) {
    this.#log = log;
    this.#metrics = metrics;
    this.#subject = subject;
  }

  /** `fields` says who wanted what. */
  take(verdict: Verdict, fields: () => Record<string, string>): void {
    const { isAllowed, by, audits, shadow } = verdict;
    this.#count(by, isAllowed ? "allowed" : "denied");
    for (const audit of audits) {
      this.#count(audit, "audited");
      this.#log.info({ ...fields(), ...audit, subject: this.#subject }, "authorization: audited");
    }
    if (shadow !== undefined) this.#count(shadow.by, shadow.isAllowed ? "shadow_allowed" : "shadow_denied");
    if (shadow?.isAllowed === false) this.#tell(shadow.by, fields(), "would be denied (dry run)");
    if (!isAllowed) this.#tell(by, fields(), "denied");
  }

  #count(by: Decision | undefined, verdict: string): void {
    const labels = { subject: this.#subject, policy: by?.policy ?? "", verdict };
    this.#metrics.counter("mecha/authorization_decisions_total", labels).add();
  }

  #tell(by: Decision | undefined, fields: Record<string, string>, what: string): void {
    if (!this.#mayTell()) return;
    const why =
      by === undefined || by.rule < 0 ? "no ALLOW policy matched" : `rule ${by.rule} of ${by.policy} matched`;
    this.#log.warn({ ...fields, subject: this.#subject, ...by }, `authorization: ${what}: ${why}`);
  }

  #mayTell(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#secondMs >= 1000) {
      const left = this.#told - toldPerSecond;
      if (left > 0) this.#log.warn({ subject: this.#subject }, `authorization: ${left} more were denied`);
      this.#secondMs = nowMs;
      this.#told = 0;
    }
    return ++this.#told <= toldPerSecond;
  }
}

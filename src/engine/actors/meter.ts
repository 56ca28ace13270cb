import type { Metrics } from "../../telemetry/telemetry.ts";

/** runtime_actor_* of dapr-api.md §16.1. */
export class ActorMeter {
  readonly #metrics: Metrics;
  readonly #appId: string;
  readonly #levels = new Map<string, number>();

  constructor(metrics: Metrics, appId: string) {
    this.#metrics = metrics;
    this.#appId = appId;
  }

  deactivated(type: string): void {
    this.#count("runtime_actor_deactivated_total", { actor_type: type });
  }

  rebalanced(type: string): void {
    this.#count("runtime_actor_rebalanced_total", { actor_type: type });
  }

  reported(type: string, operation: "register" | "unregister"): void {
    this.#count("runtime_actor_status_report_total", { actor_type: type, operation });
  }

  reminderFired(type: string, isSuccess: boolean): void {
    this.#count("runtime_actor_reminders_fired_total", { actor_type: type, success: String(isSuccess) });
  }

  timerFired(type: string, isSuccess: boolean): void {
    this.#count("runtime_actor_timers_fired_total", { actor_type: type, success: String(isSuccess) });
  }

  pending(type: string, change: 1 | -1): void {
    this.#level("runtime_actor_pending_actor_calls", type, change);
  }

  timers(type: string, change: number): void {
    this.#level("runtime_actor_timers", type, change);
  }

  reminders(type: string, change: number): void {
    this.#level("runtime_actor_reminders", type, change);
  }

  #count(name: string, labels: Record<string, string>): void {
    this.#metrics.counter(name, { app_id: this.#appId, ...labels }).add();
  }

  #level(name: string, type: string, change: number): void {
    const key = `${name}/${type}`;
    const level = Math.max(0, (this.#levels.get(key) ?? 0) + change);
    this.#levels.set(key, level);
    this.#metrics.gauge(name, { app_id: this.#appId, actor_type: type }).set(level);
  }
}

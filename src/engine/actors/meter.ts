import type { Gauge, Metrics } from "../../telemetry/telemetry.ts";

/** runtime_actor_* of dapr-api.md §16.1. */
export class ActorMeter {
  readonly #metrics: Metrics;
  readonly #appId: string;
  /** By metric and type, found without making a key: calls come by here twice. */
  readonly #levels = new Map<string, Map<string, Level>>();

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
    const level = this.#levels.get(name)?.get(type) ?? this.#newLevel(name, type);
    level.value = Math.max(0, level.value + change);
    level.gauge.set(level.value);
  }

  #newLevel(name: string, type: string): Level {
    const gauge = this.#metrics.gauge(name, { app_id: this.#appId, actor_type: type });
    const level = { gauge, value: 0 };
    const levels = this.#levels.get(name) ?? new Map<string, Level>();
    this.#levels.set(name, levels.set(type, level));
    return level;
  }
}

interface Level {
  readonly gauge: Gauge;
  value: number;
}

import { SimulatedClock, simulatedEdges } from "../../edges/simulated.ts";
import type { TrafficPolicySpec } from "../../resource/traffic.ts";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Log, Telemetry } from "../../telemetry/telemetry.ts";
import type { OpenedLayers, Place, Shape, Use, UseLayer } from "../use/layer.ts";
import { trafficPolicies } from "./traffic-policies.ts";

export interface Answer {
  status: number;
  headers?: Record<string, string>;
}

const place: Place = { block: "invoke", target: "orders" };
export const get: Use = { operation: "GET", names: ["/pay"], header: () => undefined };

/** HTTP in small. */
export const shape: Shape<Answer> = {
  codeOf: ({ status }) => (status < 400 ? undefined : { http: status }),
  headerOf: ({ headers }, name) => headers?.[name],
  answer: ({ fault }) => ({ status: fault.http }),
  good: ({ fault }) => ({ status: fault.http }),
};

/** Policies for the app `orders`, on a clock that stands still. */
export class Bed {
  readonly clock = new SimulatedClock();
  readonly metrics = createMetrics();
  readonly lines: string[] = [];
  readonly #seed: number;

  constructor(seed = 7) {
    this.#seed = seed;
  }

  open(...specs: Partial<TrafficPolicySpec>[]): OpenedLayers {
    return this.reopen(undefined, ...specs);
  }

  /** The same policies edited. */
  reopen(before: OpenedLayers | undefined, ...specs: Partial<TrafficPolicySpec>[]): OpenedLayers {
    const source = { file: "x.yaml", line: 1, column: 1 };
    const resources = specs.map((spec, index) => ({
      ...{ apiVersion: "", kind: "TrafficPolicy", name: `p${index}`, namespace: "", scopes: [] },
      ...{ source, at: () => source },
      spec: { targets: [{ kind: "App", name: "orders", sectionName: "" }], from: [], ...spec },
    }));
    const note = (_fields: object, line: string): void => void this.lines.push(line);
    const log: Log = {
      ...{ debug: note, info: note, warn: note, error: note, fatal: note },
      scope: () => log,
    };
    const telemetry = { metrics: this.metrics, log } as unknown as Telemetry;
    const { random } = simulatedEdges(this.#seed);
    const principal = { appId: "shop", namespace: "" };
    const context = { principal, telemetry, clock: this.clock, random };
    const opened = trafficPolicies.open(resources, context, before);
    if (opened === undefined) throw new Error("nothing was opened");
    return opened;
  }

  layer(...specs: Partial<TrafficPolicySpec>[]): UseLayer {
    const layer = this.open(...specs).at(place);
    if (layer === undefined) throw new Error("nothing stands there");
    return layer;
  }

  /** How often a block did something. */
  did(what: string): number {
    const lines = this.metrics.text().split("\n");
    const counts = lines.filter(
      (line) => line.includes("activations_total{") && line.includes(`what="${what}"`),
    );
    return counts.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  /** Moves time on in steps, so that what waits for one timer after the other goes on. */
  async pass(ms: number, stepMs = 1): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await settled();
      this.clock.advance(stepMs);
    }
    await settled();
  }
}

/** Lets everything that is ready go on. */
export function settled(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}

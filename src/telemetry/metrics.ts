import { type LabelRule, labelRules } from "./label-rules.ts";
import type { Counter, Gauge, Histogram, Metrics } from "./telemetry.ts";

/** Upper bounds in ms of Dapr's latency histograms (dapr-api.md §14, Configuration). */
export const defaultLatencyBuckets: readonly number[] = [
  1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650,
  800, 1000, 2000, 5000, 10000, 20000, 50000, 100000,
];
const byteBuckets: readonly number[] = [
  1024, 2048, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456, 1073741824,
  4294967296,
];

/** Of a size to the largest that is possible. */
const ratioBuckets: readonly number[] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1, 1.5, 2];

/** More label sets than this of one metric go into one cell labelled `other`: labels come from outside. */
const cellsMax = 2000;

interface Family {
  type: "counter" | "gauge" | "histogram";
  cells: Map<string, Cell>;
  /** Label values that a rule of the Configuration replaces. */
  rewrite: ReturnType<ReturnType<typeof labelRules>>;
}
type Cell = { value: number } | HistogramCell;

class HistogramCell implements Histogram {
  readonly bounds: readonly number[];
  readonly counts: Float64Array;
  sum = 0;
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }
  record(value: number): void {
    this.sum += value;
    let index = 0;
    const bounds = this.bounds;
    while (index < bounds.length && value > (bounds[index] as number)) index++;
    this.counts[index] = (this.counts[index] as number) + 1;
  }
}

class CounterCell implements Counter {
  value = 0;
  add(count = 1): void {
    this.value += count;
  }
}

class GaugeCell implements Gauge {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
}

export interface MetricsOptions {
  latencyBuckets?: readonly number[];
  rules?: readonly LabelRule[];
  /** `false`: nothing is counted, and only what `collect` reads is served. */
  isEnabled?: boolean;
  /** Read at each scrape: process figures and the like. Name without prefix → value. */
  collect?: () => Record<string, number>;
}

const ignored = {
  add: () => {},
  record: () => {},
  set: () => {},
};

/** A registry of pre-bound cells: label sets are hashed once, a measurement is an addition. */
export function createMetrics(options: MetricsOptions = {}): Metrics {
  const families = new Map<string, Family>();
  const latency = options.latencyBuckets?.length ? options.latencyBuckets : defaultLatencyBuckets;
  const rulesOf = labelRules(options.rules ?? []);
  if (options.isEnabled === false) {
    const nothing = () => ignored;
    const text = () => render(families, options.collect?.() ?? {});
    return { counter: nothing, gauge: nothing, histogram: nothing, text };
  }

  function cell<C extends Cell>(
    name: string,
    type: Family["type"],
    labels: Record<string, string>,
    make: () => C,
  ): C {
    let family = families.get(name);
    if (family === undefined) {
      family = { type, cells: new Map(), rewrite: rulesOf(name) };
      families.set(name, family);
    }
    let key = labelText(family.rewrite?.(labels) ?? labels);
    if (!family.cells.has(key) && family.cells.size >= cellsMax) key = '{overflow="other"}';
    let found = family.cells.get(key);
    if (found === undefined) {
      found = make();
      family.cells.set(key, found);
    }
    return found as C;
  }

  return {
    counter: (name, labels) => cell(name, "counter", labels, () => new CounterCell()),
    gauge: (name, labels) => cell(name, "gauge", labels, () => new GaugeCell()),
    histogram: (name, labels) =>
      cell(name, "histogram", labels, () => new HistogramCell(bucketsOf(name, latency))),
    text: () => render(families, options.collect?.() ?? {}),
  };
}

function bucketsOf(name: string, latency: readonly number[]): readonly number[] {
  if (name.includes("bytes")) return byteBuckets;
  return name.endsWith("size_ratio") ? ratioBuckets : latency;
}

function labelText(labels: Record<string, string>): string {
  const names = Object.keys(labels).sort();
  if (names.length === 0) return "";
  return `{${names.map((name) => `${name}="${escapeLabel(labels[name] ?? "")}"`).join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

function render(families: ReadonlyMap<string, Family>, extra: Record<string, number>): string {
  const lines: string[] = [];
  for (const [plain, family] of families) {
    // Of what Dapr has not the name says whose it is.
    const prefix = plain.startsWith("mecha/") ? "" : "dapr_";
    const name = `${prefix}${plain.replace(/[/.]/g, "_")}`;
    lines.push(`# HELP ${name} ${plain}`, `# TYPE ${name} ${family.type}`);
    for (const [labels, cell] of family.cells) {
      if (cell instanceof HistogramCell) renderHistogram(lines, name, labels, cell);
      else lines.push(`${name}${labels} ${cell.value}`);
    }
  }
  for (const name in extra) {
    lines.push(`# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}`, `${name} ${extra[name]}`);
  }
  return `${lines.join("\n")}\n`;
}

function renderHistogram(lines: string[], name: string, labels: string, cell: HistogramCell): void {
  const inner = labels === "" ? "" : `${labels.slice(1, -1)},`;
  let total = 0;
  for (let index = 0; index < cell.counts.length; index++) {
    total += cell.counts[index] as number;
    const bound = index < cell.bounds.length ? String(cell.bounds[index]) : "+Inf";
    lines.push(`${name}_bucket{${inner}le="${bound}"} ${total}`);
  }
  lines.push(`${name}_sum${labels} ${cell.sum}`, `${name}_count${labels} ${total}`);
}

/** `metrics.rules` of a Configuration: texts that take the place of label values, by what the values look like. */
export interface LabelRule {
  /** The metric, with or without the `dapr_` prefix. */
  name: string;
  labels: readonly { name: string; regex: Readonly<Record<string, string>> }[];
}

type Rewrite = (labels: Record<string, string>) => Record<string, string>;

/** The rewriting of the labels of a metric; `undefined` for metrics without a rule. */
export function labelRules(rules: readonly LabelRule[]): (metric: string) => Rewrite | undefined {
  const byMetric = new Map<string, Replacement[]>();
  for (const { name, labels } of rules) {
    const metric = plainName(name);
    const known = byMetric.get(metric) ?? [];
    byMetric.set(metric, [...known, ...labels.flatMap(replacementsOf)]);
  }
  return (metric) => {
    const replacements = byMetric.get(plainName(metric));
    return replacements && ((labels) => rewritten(labels, replacements));
  };
}

interface Replacement {
  label: string;
  pattern: RegExp;
  text: string;
}

function replacementsOf({ name, regex }: LabelRule["labels"][number]): Replacement[] {
  return Object.entries(regex).map(([text, pattern]) => ({
    label: name,
    pattern: new RegExp(pattern, "g"),
    // Go writes groups in braces.
    text: text.replace(/\$\{(\d+)\}/g, "$$$1"),
  }));
}

function rewritten(
  labels: Record<string, string>,
  replacements: readonly Replacement[],
): Record<string, string> {
  const result = { ...labels };
  for (const { label, pattern, text } of replacements) {
    const value = result[label];
    if (value !== undefined) result[label] = value.replace(pattern, text);
  }
  return result;
}

function plainName(name: string): string {
  return name.replace(/[/.]/g, "_").replace(/^dapr_/, "");
}

// A Component resource as its file has it.
export function component(name: string, typeAndVersion: string, items: Record<string, string>): string {
  const [type, version] = typeAndVersion.split("/");
  const lines = Object.entries(items).map(
    ([item, value]) => `    - { name: ${item}, value: ${JSON.stringify(value)} }\n`,
  );
  return `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: ${name} }
spec:
  type: ${type}
  version: ${version}
  metadata:${lines.length === 0 ? " []" : ""}
${lines.join("")}`;
}

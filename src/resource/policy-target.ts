import type { FieldReader } from "./field-reader.ts";

/** The `targetRefs` of a policy, or the app that Istio's `selector` names. A Service is the App of its name. */
export function readPolicyTargets<const K extends string>(
  spec: FieldReader,
  kinds: readonly K[],
): { kind: K; name: string }[] {
  const refs = [...spec.list("targetRefs"), ...[spec.object("targetRef")].filter((ref) => ref !== undefined)];
  const targets = refs.flatMap((ref) => {
    ref.text("group");
    ref.refused("namespace", () => false);
    ref.refused("sectionName", () => false);
    const name = ref.requiredText("name");
    const asked = ref.text("kind");
    const kind = kinds.find((one) => one === (asked === "Service" ? "App" : asked));
    if (kind !== undefined) return [{ kind, name }];
    ref.fail(`kind must be ${kinds.join(", ")}, got ${JSON.stringify(asked)}`, "kind");
    return [];
  });
  const app = readSelector(spec);
  if (app === undefined) return targets;
  if (refs.length > 0) spec.fail("spec has both selector and targetRefs", "selector");
  return [...targets, { kind: "App" as K, name: app }];
}

/** Labels that name an app. */
const appLabels = ["app", "app.kubernetes.io/name", "dapr.io/app-id"];

function readSelector(spec: FieldReader): string | undefined {
  const selector = spec.object("selector");
  if (selector === undefined) return undefined;
  const labels = Object.entries(selector.textMap("matchLabels"));
  const [only] = labels;
  if (labels.length === 1 && only !== undefined && appLabels.includes(only[0])) return only[1];
  selector.fail(
    `selector.matchLabels must be one label of ${appLabels.join(", ")}: mecha knows no other labels of an app`,
    "matchLabels",
  );
  return undefined;
}

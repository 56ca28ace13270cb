import type { FieldReader } from "./field-reader.ts";
import { type WorkflowAccessPolicySpec, type WorkflowAccessRule, workflowOperations } from "./resource.ts";

/** Which other apps may do what with workflows and activities of the apps that see the resource. */
export function readWorkflowAccessPolicy(spec: FieldReader): WorkflowAccessPolicySpec {
  return { rules: spec.list("rules").map(readRule) };
}

function readRule(rule: FieldReader): WorkflowAccessRule {
  const callers = rule.list("callers").map((caller) => caller.requiredText("appID"));
  if (callers.length === 0) rule.fail("a rule names at least one caller", "callers");
  const workflows = rule.list("workflows").map((workflow) => ({
    name: readGlob(workflow),
    operations: readOperations(workflow),
  }));
  const activities = rule.list("activities").map(readGlob);
  if (workflows.length + activities.length === 0) {
    rule.fail("a rule names at least one workflow or activity");
  }
  return { callers, workflows, activities };
}

function readOperations(workflow: FieldReader): WorkflowAccessRule["workflows"][number]["operations"] {
  const given = workflow.texts("operations");
  if (given.length === 0) workflow.fail("a workflow has at least one operation", "operations");
  return given.flatMap((name) => {
    const known = workflowOperations.find((operation) => operation === name);
    if (known !== undefined) return [known];
    workflow.fail(
      `operation ${JSON.stringify(name)} is none of ${workflowOperations.join(", ")}`,
      "operations",
    );
    return [];
  });
}

function readGlob(reader: FieldReader): RegExp {
  const glob = reader.requiredText("name");
  const pattern = globPattern(glob);
  if (pattern === undefined) reader.fail(`${JSON.stringify(glob)} is not a pattern`, "name");
  return pattern ?? /^$/;
}

/** As Go's path.Match: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are ranges, a backslash takes what follows. */
export function globPattern(glob: string): RegExp | undefined {
  const parts = /\\(.)|(\*)|(\?)|\[(\^?)((?:\\.|[^\]\\])+)\]|([[\\])|(.)/gsu;
  let pattern = "";
  for (const [, escaped, star, one, negation, range, broken, plain] of glob.matchAll(parts)) {
    if (broken !== undefined) return undefined;
    if (star !== undefined) pattern += "[^/]*";
    else if (one !== undefined) pattern += "[^/]";
    else if (range !== undefined) pattern += `[${negation ?? ""}${range.replaceAll("[", "\\[")}]`;
    else pattern += (escaped ?? plain ?? "").replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  }
  try {
    return new RegExp(`^${pattern}$`, "su");
  } catch {
    return undefined;
  }
}

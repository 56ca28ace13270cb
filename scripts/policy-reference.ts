// Writes docs/reference/policies.md from the table that test/scenario/policy-matrix.test.ts proves.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { balancingRows, blockNames, type PolicyRow, policyRows } from "../test/matrix/cells.ts";

export const policiesPath = join(resolve(import.meta.dirname, ".."), "docs", "reference", "policies.md");

const opening = `# Policies and building blocks

Written by \`npm run docs\` from \`test/matrix/cells.ts\`. Do not edit.

Each cell with a mark is a test on a whole runtime (\`test/scenario/policy-matrix.test.ts\`); the others say why there is none.
The last columns are what a policy can be attached to on the way of a call: a route or its rule (HTTPRoute over HTTP, GRPCRoute round
proxied gRPC), a version of an app (by InvokeService) and a Gateway.
`;

const rows: readonly PolicyRow[] = [...policyRows, ...balancingRows];

export function renderPolicyReference(): string {
  const head = ["policy", ...blockNames];
  const reasons: string[] = [];
  const table = rows.map(({ name, link, notFor }) => {
    const cells = blockNames.map((block) => {
      const reason = notFor[block];
      if (reason === undefined) return "✓";
      if (!reasons.includes(reason)) reasons.push(reason);
      return `(${reasons.indexOf(reason) + 1})`;
    });
    return line([`[${name}](../guide/${link})`, ...cells]);
  });
  const notes = reasons.map((reason, index) => `${index + 1}. ${reason}`);
  const claims = rows.map(({ name, claim }) => `- \`${name}\`: ${claim}`);
  return [
    opening,
    line(head),
    line(head.map(() => "---")),
    ...table,
    "",
    "Not applicable, because",
    "",
    ...notes,
    "",
    "## What a mark says",
    "",
    ...claims,
    "",
  ].join("\n");
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

if (import.meta.main) writeFileSync(policiesPath, renderPolicyReference());

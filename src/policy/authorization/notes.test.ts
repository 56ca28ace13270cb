import { expect, test } from "bun:test";
import { createMetrics } from "../../telemetry/metrics.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { DecisionNotes } from "./notes.ts";

test("DecisionNotes tells denials with their reason, not all of a flood, and counts each", () => {
  const lines: string[] = [];
  const warn = (_: object, message: string): void => void lines.push(message);
  const metrics = createMetrics();
  const notes = new DecisionNotes({ log: { warn } as unknown as Log, metrics }, "call");
  const by = { policy: "p", rule: 0 };
  for (let i = 0; i < 1000; i++)
    notes.take({ isAllowed: false, by, audits: [], shadow: undefined } as never, () => ({}));
  expect(lines[0]).toBe("authorization: denied: rule 0 of p matched");
  // More only when the loop itself takes seconds.
  expect(lines.length).toBeLessThan(200);
  expect(metrics.text()).toMatch(/authorization_decisions_total\{[^}]*verdict="denied"[^}]*\} 1000/);
});

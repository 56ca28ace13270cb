import { expect, test } from "bun:test";
import { createMetrics } from "./metrics.ts";

test("createMetrics() writes Prometheus text with Dapr's prefix", () => {
  const metrics = createMetrics({ latencyBuckets: [1, 10] });
  const cell = metrics.counter("http/server/request_count", { app_id: "a", path: '/x"y\n' });
  cell.add();
  cell.add(2);
  metrics.histogram("http/server/latency", { app_id: "a" }).record(5);
  metrics.gauge("runtime/actor.timers", {}).set(7);
  const text = metrics.text();
  expect(text).toContain('dapr_http_server_request_count{app_id="a",path="/x\\"y\\n"} 3');
  expect(text).toContain('dapr_http_server_latency_bucket{app_id="a",le="1"} 0');
  expect(text).toContain('dapr_http_server_latency_bucket{app_id="a",le="10"} 1');
  expect(text).toContain('dapr_http_server_latency_bucket{app_id="a",le="+Inf"} 1');
  expect(text).toContain('dapr_http_server_latency_sum{app_id="a"} 5');
  expect(text).toContain("dapr_runtime_actor_timers 7");
});

test("createMetrics() bounds the label sets of a metric", () => {
  const metrics = createMetrics();
  for (let index = 0; index < 5000; index++) metrics.counter("c", { path: String(index) }).add();
  const lines = metrics
    .text()
    .split("\n")
    .filter((line) => line.startsWith("dapr_c{"));
  expect(lines.length).toBeLessThanOrEqual(2001);
  expect(lines.at(-1)).toBe('dapr_c{overflow="other"} 3000');
});

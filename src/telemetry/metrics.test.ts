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

test("createMetrics() replaces label values by the rules of the Configuration", () => {
  const regex = { "orders/{id}": "^orders/.+$", "$1@host": "^(\\w+)@.*$" };
  const rules = [
    { name: "dapr_runtime_service_invocation_req_sent_total", labels: [{ name: "method", regex }] },
  ];
  const metrics = createMetrics({ rules });
  const count = (method: string) =>
    metrics.counter("runtime/service_invocation/req_sent_total", { app_id: "a", method }).add();
  for (const method of ["orders/1", "orders/2", "bob@example", "other"]) count(method);
  metrics.counter("another", { method: "orders/1" }).add();
  const text = metrics.text();
  const name = "dapr_runtime_service_invocation_req_sent_total";
  expect(text).toContain(`${name}{app_id="a",method="orders/{id}"} 2`);
  expect(text).toContain(`${name}{app_id="a",method="bob@host"} 1`);
  expect(text).toContain(`${name}{app_id="a",method="other"} 1`);
  expect(text).toContain('dapr_another{method="orders/1"} 1');
});

test("createMetrics() serves only what it collects when it is not enabled", () => {
  const metrics = createMetrics({ isEnabled: false, collect: () => ({ process_x: 1 }) });
  metrics.counter("c", {}).add();
  metrics.histogram("h", {}).record(1);
  metrics.gauge("g", {}).set(1);
  expect(metrics.text()).toBe("# TYPE process_x gauge\nprocess_x 1\n");
});

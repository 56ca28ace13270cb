import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CloudEvent } from "./cloud-event.ts";
import { NotACloudEvent } from "./envelope.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function event(value: unknown): CloudEvent {
  return new CloudEvent(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));
}

describe("CloudEvent", () => {
  test("refuses what is no JSON object, when asked for attributes", () => {
    for (const text of ["", "x", "[]", "1", "null"])
      expect(() => event(text).attributes).toThrow(NotACloudEvent);
    expect(event("x").idForLog).toBe("");
  });

  test("finds the trace of foreign events wherever it stands, and survives nonsense there", () => {
    expect(event({ data: { traceparent: "no" }, traceparent }).trace?.spanId).toBe("b7ad6b7169203331");
    expect(event({ traceid: traceparent }).trace?.traceId).toBe("0af7651916cd43dd8448eb211c80319c");
    for (const value of [7, null, {}, [], true, "x".repeat(4_000_000)]) {
      expect(event({ traceid: value, traceparent: value, tracestate: value }).trace).toBeUndefined();
    }
  });

  test("reads trace state and baggage of its own envelopes without parsing", () => {
    const state = 'a=é"\\,b=c';
    const own = { traceparent, tracestate: state, baggage: "k=ü", id: "i" };
    const head = event(own);
    expect(head.isOwn).toBe(true);
    expect(head.trace?.traceState).toBe(state);
    expect(head.baggage).toBe("k=ü");
    expect(event({ traceparent, tracestate: "", baggage: "q" }).baggage).toBe("q");
    expect(event({ traceparent, tracestate: "", id: "i" }).baggage).toBe("");
  });

  test("agrees with a full parse on any trace fields", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (parent, state, baggage) => {
        const text = JSON.stringify({ traceparent: parent, tracestate: state, baggage, id: "x" });
        const whole = event(text);
        expect(whole.baggage).toBe(baggage);
        expect(whole.text("tracestate")).toBe(state);
      }),
    );
  });

  test("expires by its own word only", () => {
    const nowMs = Date.UTC(2026, 0, 1);
    expect(event({ expiration: "2025-12-31T23:59:59Z" }).hasExpired(nowMs)).toBe(true);
    expect(event({ expiration: "2026-01-01T00:00:01Z" }).hasExpired(nowMs)).toBe(false);
    expect(event({ expiration: "soon" }).hasExpired(nowMs)).toBe(false);
    expect(event({ expiration: 5 }).hasExpired(nowMs)).toBe(false);
    expect(event({ data: { expiration: "2020-01-01T00:00:00Z" } }).hasExpired(nowMs)).toBe(false);
  });
});

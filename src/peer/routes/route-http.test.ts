import { describe, expect, test } from "bun:test";
import { simulatedEdges } from "../../edges/simulated.ts";
import { noBody } from "../../net/http1/body.ts";
import type { HttpRequest } from "../../net/http1/types.ts";
import type { Resource } from "../../resource/resource.ts";
import type { BackendRef, MirrorFilter } from "../../resource/route.ts";
import type { OutgoingCall } from "../forward-http.ts";
import type { Backend } from "./backend.ts";
import { Mirrors } from "./mirrors.ts";
import { routeHttp } from "./route-http.ts";
import { Routes } from "./routes.ts";

// Shares over many requests, with a chance that is always the same: 4 σ is what luck may do.

const requests = 20_000;

const ref = (name: string, weight: number, kind: BackendRef["kind"] = "App"): BackendRef => {
  return { kind, name, namespace: "", weight, filters: [] };
};

const request: HttpRequest = {
  ...{ method: "GET", target: "/", rawHeaders: [], body: noBody, remoteAddress: "" },
  header: () => undefined,
  signal: new AbortController().signal,
};

async function countAll(
  backends: BackendRef[],
  filters: MirrorFilter[] = [],
): Promise<Record<string, number>> {
  const { clock, random } = simulatedEdges(11);
  const match = { path: { type: "PathPrefix", value: "/" }, headers: [], queryParams: [], method: "" };
  const rule = {
    name: "",
    matches: [match],
    filters,
    backends,
    requestTimeoutMs: 0,
    backendRequestTimeoutMs: 0,
  };
  const parent = { kind: "App", name: "orders", namespace: "", sectionName: "", port: 0 };
  const spec = { parents: [parent], hostnames: [], rules: [rule] };
  const route = { kind: "HTTPRoute", name: "r", namespace: "", spec } as unknown as Resource;
  const table = new Routes([route], "default").httpOf({ namespace: "default", appId: "orders" });
  if (table === undefined) throw new Error("no table");
  const counts: Record<string, number> = {};
  const send = async ({ id }: Backend): Promise<{ status: number; headers: string[] }> => {
    counts[id] = (counts[id] ?? 0) + 1;
    return { status: 200, headers: [] };
  };
  const routing = { clock, random, mirrors: new Mirrors(clock), bodyBytesMax: 1024, namespace: "", send };
  const call = { request, body: noBody, target: "/" } as unknown as OutgoingCall;
  for (let i = 0; i < requests; i++) await routeHttp({ table, call, id: "orders", scheme: "http" }, routing);
  return counts;
}

function expectShare(count: number | undefined, share: number): void {
  const sigma = Math.sqrt(requests * share * (1 - share));
  expect(Math.abs((count ?? 0) - requests * share)).toBeLessThan(4 * sigma + 1e-9);
}

describe("20,000 requests", () => {
  test("split by weights", async () => {
    const counts = await countAll([ref("a", 90), ref("b", 9), ref("c", 1), ref("d", 0)]);
    expectShare(counts.a, 0.9);
    expectShare(counts.b, 0.09);
    expectShare(counts.c, 0.01);
    expect(counts.d).toBeUndefined();
  });

  test("split by versions of one app", async () => {
    const counts = await countAll([ref("orders-v1", 1, "AppVersion"), ref("orders-v2", 2, "AppVersion")]);
    expectShare(counts["orders-v1"], 1 / 3);
    expectShare(counts["orders-v2"], 2 / 3);
  });

  test("HTTPRouteRequestPercentageMirror: mirrors each by a draw of its own", async () => {
    const mirror = (name: string, fraction: number): MirrorFilter => {
      return { type: "RequestMirror", backend: ref(name, 1), fraction };
    };
    const counts = await countAll(
      [ref("a", 1)],
      [mirror("m20", 0.2), mirror("m50", 0.5), mirror("all", 1), mirror("no", 0)],
    );
    expect([counts.a, counts.all, counts.no]).toEqual([requests, requests, undefined]);
    expectShare(counts.m20, 0.2);
    expectShare(counts.m50, 0.5);
  });
});

test("mirrors are bounded in number, and free again when they have ended", async () => {
  const { clock } = simulatedEdges(1);
  const mirrors = new Mirrors(clock);
  const ends: (() => void)[] = [];
  const hold = () => new Promise<void>((resolve) => void ends.push(resolve));
  for (let i = 0; i < 300; i++) mirrors.send(hold);
  expect(ends).toHaveLength(256);
  for (const end of ends) end();
  await Promise.resolve();
  await Promise.resolve();
  mirrors.send(hold);
  expect(ends).toHaveLength(257);
});

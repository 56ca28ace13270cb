import { afterEach, describe, expect, test } from "bun:test";
import { Cleanup, eventually } from "../mecha-process.ts";
import { httpRoute, openRoutes, type RoutesWorld, to } from "./routes-fixture.ts";

// Backends, timeouts, retries and sessions of HTTPRoute.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const weighted = (weights: Record<string, number>): object[] =>
  Object.entries(weights).map(([name, weight]) => ({ ...to(name)[0], weight }));

async function counts(world: RoutesWorld, calls: number): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (let i = 0; i < calls; i++) {
    const backend = String(await world.backendOf("GET /"));
    found[backend] = (found[backend] ?? 0) + 1;
  }
  return found;
}

test("HTTPRouteWeight: no weight, no requests", async () => {
  const world = await openRoutes(cleanup, [
    httpRoute([{ backendRefs: weighted({ v1: 70, v2: 30, v3: 0 }) }]),
  ]);
  const found = await counts(world, 200);
  expect(found.v3).toBeUndefined();
  expect((found.v1 ?? 0) + (found.v2 ?? 0)).toBe(200);
  expect(found.v1 ?? 0).toBeGreaterThan(found.v2 ?? 0);
});

describe("instead of a backend", () => {
  test("503 when none has a weight, and when none is ready", async () => {
    const nobody = [{ kind: "Service", name: "nobody", port: 80 }];
    const matches = [{ path: { value: "/nobody" } }];
    const world = await openRoutes(cleanup, [
      httpRoute([{ backendRefs: weighted({ v1: 0, v2: 0 }) }, { matches, backendRefs: nobody }]),
    ]);
    const none = await world.call("GET /");
    expect([none.status, none.json()]).toEqual([
      503,
      { errorCode: "ERR_ROUTE", message: "no backend of the route default/route#0 has a weight" },
    ]);
    expect((await world.call("GET /nobody")).status).toBe(503);
  });

  test("HTTPRouteInvalidBackendRefUnknownKind, …InvalidNonExistentBackendRef: 500 for its share", async () => {
    const unknown = { group: "example.com", kind: "Nonsense", name: "x" };
    const gone = { group: "dapr.io", kind: "HTTPEndpoint", name: "gone" };
    const other = { kind: "Service", name: "infra-v1", namespace: "elsewhere", port: 80 };
    const rule = (path: string, backendRefs: object[]) => ({
      matches: [{ path: { value: path } }],
      backendRefs,
    });
    const world = await openRoutes(cleanup, [
      httpRoute([
        rule("/unknown", [unknown]),
        rule("/gone", [gone]),
        rule("/other", [other]),
        rule("/none", []),
        rule("/share", [unknown, ...to("v1")]),
      ]),
    ]);
    for (const path of ["/unknown", "/gone", "/other", "/none"]) {
      expect([path, (await world.call(`GET ${path}`)).status]).toEqual([path, 500]);
    }
    const shares = new Set<number>();
    for (let i = 0; i < 50; i++) shares.add((await world.call("GET /share")).status);
    expect(shares).toEqual(new Set([200, 500]));
    expect(world.mecha.log()).toBeDefined();
  });
});

describe("timeouts", () => {
  /** Answers only when the query says so. */
  const stuck = ({ target }: { target: string }) =>
    target.includes("stuck") ? new Promise<undefined>(() => {}) : undefined;

  test("HTTPRouteTimeoutRequest and …TimeoutBackendRequest: 504", async () => {
    const rule = (path: string, timeouts: object) => ({
      matches: [{ path: { value: path } }],
      timeouts,
      backendRefs: to("v1"),
    });
    const world = await openRoutes(
      cleanup,
      [httpRoute([rule("/request", { request: "50ms" }), rule("/backend", { backendRequest: "50ms" })])],
      stuck,
    );
    for (const path of ["/request", "/backend"]) {
      // A busy machine may take longer for it now and then.
      await eventually(async () => expect((await world.call(`GET ${path}`)).text).toBe("v1"));
      const late = await world.call(`GET ${path}?stuck`);
      expect([late.status, (late.json() as { errorCode: string }).errorCode]).toEqual([504, "ERR_ROUTE"]);
    }
  });

  test("a try that took too long is followed by another within the whole", async () => {
    let tries = 0;
    const rule = {
      timeouts: { request: "20s", backendRequest: "500ms" },
      retry: { attempts: 2 },
      backendRefs: to("v1"),
    };
    const world = await openRoutes(cleanup, [httpRoute([rule])], () =>
      ++tries < 3 ? new Promise<undefined>(() => {}) : undefined,
    );
    const answer = await world.call("POST /", {}, "body");
    expect([answer.text, tries]).toEqual(["v1", 3]);
    expect(world.backends.v1.requests.map(({ text }) => text)).toEqual(["body", "body", "body"]);
  });
});

test("HTTPRouteRetry: by code, as often as told, with the body", async () => {
  let tries = 0;
  const rule = { retry: { codes: [503], attempts: 2, backoff: "1ms" }, backendRefs: to("v1") };
  const world = await openRoutes(cleanup, [httpRoute([rule])], ({ target }) => {
    tries++;
    if (target === "/once") return { status: tries === 1 ? 503 : 200 };
    return { status: target === "/always" ? 503 : 500 };
  });
  expect((await world.call("POST /once", {}, "body")).status).toBe(200);
  expect(world.backends.v1.requests.map(({ text }) => text)).toEqual(["body", "body"]);
  tries = 0;
  expect([(await world.call("GET /always")).status, tries]).toEqual([503, 3]);
  tries = 0;
  expect([(await world.call("GET /other")).status, tries]).toEqual([500, 1]);
});

describe("HTTPRouteSessionPersistence", () => {
  const rule = (sessionPersistence: object) => ({ sessionPersistence, backendRefs: to("v1", "v2", "v3") });

  test("Cookie: the client stays with its backend", async () => {
    const world = await openRoutes(cleanup, [httpRoute([rule({ type: "Cookie", sessionName: "sid" })])]);
    const first = await world.call("GET /");
    const cookie = first.header("set-cookie") ?? "";
    expect(cookie).toMatch(/^sid=[\w-]+; Path=\/; HttpOnly/);
    const kept = cookie.split(";")[0] ?? "";
    for (let i = 0; i < 20; i++) {
      const next = await world.call("GET /", { Cookie: `other=1; ${kept}` });
      expect([next.text, next.header("set-cookie")]).toEqual([first.text, undefined]);
    }
    const forged = await world.call("GET /", { Cookie: "sid=bm9ib2R5" });
    expect([forged.status, forged.header("set-cookie") === undefined]).toEqual([200, false]);
  });

  test("Header, and a lifetime", async () => {
    const persistence = { type: "Header", sessionName: "x-session", absoluteTimeout: "1h" };
    const world = await openRoutes(cleanup, [httpRoute([rule(persistence)])]);
    const first = await world.call("GET /");
    const session = first.header("x-session") ?? "";
    for (let i = 0; i < 20; i++)
      expect((await world.call("GET /", { "x-session": session })).text).toBe(first.text);
    const [backend, instance] = Buffer.from(session, "base64url").toString().split("\n");
    const old = Buffer.from(`${backend}\n${instance}\n${Date.now() - 2 * 3_600_000}`).toString("base64url");
    expect((await world.call("GET /", { "x-session": old })).header("x-session")).toBeDefined();
  });
});

test("an edit of the file counts at once, and a bad one not at all", async () => {
  const world = await openRoutes(cleanup, [httpRoute([{ backendRefs: to("v1") }])]);
  expect(await world.backendOf("GET /")).toBe("v1");
  world.write(httpRoute([{ backendRefs: to("v2") }]));
  await eventually(async () => expect(await world.backendOf("GET /")).toBe("v2"));
  world.write(httpRoute([{ backendRefs: to("v3"), filters: [{ type: "ExtensionRef", extensionRef: {} }] }]));
  await eventually(() => expect(world.mecha.log()).toContain("the filter ExtensionRef is not implemented"));
  expect(await world.backendOf("GET /")).toBe("v2");
  world.write();
  await eventually(async () => expect(await world.backendOf("GET /")).toBe(500));
});

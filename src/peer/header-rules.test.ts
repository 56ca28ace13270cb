import { describe, expect, test } from "bun:test";
import { answerRules, callerRules, hopByHopHeaders, peerRules, upgradeOf } from "./header-rules.ts";

describe("callerRules.copy()", () => {
  test("drops each hop-by-hop header in any spelling and keeps order, case and duplicates", () => {
    for (const name of hopByHopHeaders) {
      for (const spelled of [name, name.toUpperCase()]) {
        expect(callerRules.copy(["X-A", "1", spelled, "v", "x-a", "2"])).toEqual(["X-A", "1", "x-a", "2"]);
      }
    }
  });

  test("drops what Connection names, wherever it stands, but not Authorization", () => {
    const raw = ["X-Secret", "1", "Connection", "close, x-secret,Authorization", "Authorization", "Bearer t"];
    expect(callerRules.copy(raw)).toEqual(["Authorization", "Bearer t"]);
  });

  test("drops addressing, identity, tokens, traces and mecha's own headers", () => {
    const names = [
      "dapr-app-id",
      "DAPR-API-TOKEN",
      "Dapr-Caller-App-Id",
      "dapr-caller-namespace",
      "traceparent",
    ];
    for (const name of [...names, "dapr-callee-app-id", "Mecha-Peer-Token", "Host", "Content-Length"]) {
      expect(callerRules.copy([name, "v", "baggage", "k=v"])).toEqual(["baggage", "k=v"]);
    }
  });

  test("drops basic authentication that only addresses an app", () => {
    const address = `Basic ${Buffer.from("dapr-app-id:orders").toString("base64")}`;
    const login = `Basic ${Buffer.from("user:password").toString("base64")}`;
    expect(callerRules.copy(["Authorization", address])).toEqual([]);
    expect(callerRules.copy(["Authorization", login])).toEqual(["Authorization", login]);
  });

  test("stays right beyond the number of spellings it learns", () => {
    for (let i = 0; i < 3000; i++) callerRules.copy([`x-${i}`, "v"]);
    expect(callerRules.copy(["tE", "trailers", "x-new", "v"])).toEqual(["x-new", "v"]);
  });
});

test("peerRules.copy() keeps the identity the caller's mecha has set", () => {
  const raw = ["dapr-caller-app-id", "a", "mecha-peer-token", "t", "X-Forwarded-For", "1.2.3.4"];
  expect(peerRules.copy(raw)).toEqual(["dapr-caller-app-id", "a", "X-Forwarded-For", "1.2.3.4"]);
});

test("answerRules.copy() keeps several Set-Cookie lines and drops the length and forged peer errors", () => {
  const raw = ["Set-Cookie", "a=1", "Content-Length", "3", "set-cookie", "b=2", "mecha-peer-error", "13"];
  expect(answerRules.copy(raw)).toEqual(["Set-Cookie", "a=1", "set-cookie", "b=2"]);
});

test("upgradeOf() answers only for an upgrade that Connection names and that is end to end", () => {
  const of = (connection: string | undefined, upgrade: string | undefined): string | undefined =>
    upgradeOf((name) => (name === "upgrade" ? upgrade : connection));
  expect(of("keep-alive, Upgrade", "websocket")).toBe("websocket");
  expect(of("keep-alive", "websocket")).toBeUndefined();
  expect(of("Upgrade, HTTP2-Settings", "h2c")).toBeUndefined();
  expect(of(undefined, undefined)).toBeUndefined();
});

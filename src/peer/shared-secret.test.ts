import { expect, test } from "bun:test";
import { SimulatedClock } from "../edges/simulated.ts";
import { type Parties, SharedSecret } from "./shared-secret.ts";

const parties: Parties = {
  caller: { appId: "shop", namespace: "default", trustDomain: "public" },
  callee: { appId: "orders", namespace: "default" },
};
const open = (secrets: string[], clock = new SimulatedClock()) => new SharedSecret(() => secrets, clock);

test("a proof is good for whoever knows the secret, and does not show it", () => {
  const proof = open(["of all"]).proofOf(parties);
  expect(proof).toMatch(/^\d+\.[\w-]{43}$/);
  expect(open(["of all"]).isProof(proof, parties)).toBe(true);
  expect(open(["another"]).isProof(proof, parties)).toBe(false);
});

test("a proof is good for one caller and one callee", () => {
  const secret = open(["of all"]);
  const proof = secret.proofOf(parties);
  const { caller, callee } = parties;
  const others: Parties[] = [
    { caller: { ...caller, appId: "admin" }, callee },
    { caller: { ...caller, namespace: "other" }, callee },
    { caller: { ...caller, trustDomain: "other" }, callee },
    { caller, callee: { ...callee, appId: "stock" } },
    { caller, callee: { ...callee, namespace: "other" } },
    { caller: { ...caller, appId: 'shop","x' }, callee },
  ];
  expect(others.filter((other) => secret.isProof(proof, other))).toEqual([]);
});

test("a proof ends after some minutes, and none comes from the future", async () => {
  const [early, late] = [new SimulatedClock(), new SimulatedClock()];
  await late.advance(5 * 60_000);
  const proof = open(["of all"], early).proofOf(parties);
  expect(open(["of all"], late).isProof(proof, parties)).toBe(true);
  await late.advance(60_000);
  expect(open(["of all"], late).isProof(proof, parties)).toBe(false);
  expect(open(["of all"], early).isProof(open(["of all"], late).proofOf(parties), parties)).toBe(false);
});

test("a new secret is shown at once, the old one still accepted", () => {
  const secrets = ["old"];
  const secret = open(secrets);
  const proof = secret.proofOf(parties);
  const { period } = secret;
  secrets.unshift("new");
  expect(secret.period).not.toBe(period);
  expect(secret.isProof(proof, parties)).toBe(true);
  expect(open(["new"]).isProof(secret.proofOf(parties), parties)).toBe(true);
});

test.each([undefined, "", "x", "1.", `1.${"a".repeat(44)}`, `-1.${"a".repeat(43)}`, `9e9.${"a".repeat(43)}`])(
  "%s is no proof",
  (shown) => {
    expect(open(["of all"]).isProof(shown, parties)).toBe(false);
  },
);

test("without a secret there is no proof", () => {
  expect(open([]).isProof(open([]).proofOf(parties), parties)).toBe(false);
});

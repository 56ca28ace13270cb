import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCertificate } from "./certificate.ts";
import { integer, oid, readElements, readOid, time } from "./der.ts";
import { issueLeaf, issueRoot } from "./issue.ts";
import { formatSpiffeId, parseSpiffeId } from "./spiffe-id.ts";
import { verifyPeer } from "./verify.ts";

const folder = mkdtempSync(join(tmpdir(), "mecha-issue-"));
afterAll(() => rmSync(folder, { recursive: true }));

const dayMs = 86_400_000;
const nowMs = Math.floor(Date.now() / 1000) * 1000;
const times = { notBeforeMs: nowMs - 900_000, notAfterMs: nowMs + dayMs };
const root = issueRoot({ name: "mecha test", ...times });
const uri = "spiffe://public/ns/default/orders";
const leaf = issueLeaf({ uri, ...times }, root);

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test("issueLeaf() makes what openssl believes by its strict rules", () => {
  const paths = ["-CAfile", file("root.pem", root.cert), file("leaf.pem", leaf.cert)];
  for (const purpose of ["sslclient", "sslserver"]) {
    const { stdout, stderr } = spawnSync("openssl", [
      "verify",
      "-x509_strict",
      "-purpose",
      purpose,
      ...paths,
    ]);
    expect(`${stdout}${stderr}`).toContain("leaf.pem: OK");
  }
  const { stdout } = spawnSync("openssl", ["x509", "-in", file("root.pem", root.cert), "-noout", "-text"]);
  expect(`${stdout}`).toContain("CA:TRUE, pathlen:0");
});

test("readCertificate() reads what issueLeaf() wrote", () => {
  const read = readCertificate(leaf.cert);
  expect(read.names).toEqual([{ tag: 0x86, text: uri }]);
  expect([read.notBeforeMs, read.notAfterMs]).toEqual([times.notBeforeMs, times.notAfterMs]);
  expect([read.isAuthority, read.keyUsage, readCertificate(root.cert).pathLength]).toEqual([false, 0x80, 0]);
});

test("verifyPeer() follows a chain as far as its authorities allow", () => {
  const roots = [readCertificate(root.cert)];
  const rules = { roots, nowMs, skewMs: 0, role: "client" } as const;
  expect(verifyPeer([readCertificate(leaf.cert)], rules).id).toEqual({
    ...{ trustDomain: "public", namespace: "default", appId: "orders" },
  });
  const strange = issueRoot({ name: "another", ...times });
  const chain = [issueLeaf({ uri, ...times }, strange), strange].map(({ cert }) => readCertificate(cert));
  expect(() => verifyPeer(chain, rules)).toThrow("a root that is not in the trust bundle here");
  // A workload's certificate signs nothing.
  const below = [issueLeaf({ uri, ...times }, leaf), leaf].map(({ cert }) => readCertificate(cert));
  expect(() => verifyPeer(below, rules)).toThrow("signed by one that may not sign");
  expect(() => verifyPeer([], rules)).toThrow("it has shown no certificate");
});

test("parseSpiffeId() takes what formatSpiffeId() gives, and nothing that only looks like it", () => {
  const id = { trustDomain: "public", namespace: "default", appId: "orders" };
  expect(formatSpiffeId(id)).toBe(uri);
  expect(parseSpiffeId(uri)).toEqual(id);
  for (const text of [`${uri}/`, uri.toUpperCase(), `${uri}%41`, `${uri}\0`, uri.replace("orders", "..")])
    expect(parseSpiffeId(text)).toBeUndefined();
  expect(() => formatSpiffeId({ ...id, appId: "a b" })).toThrow('the app id "a b" has other characters');
});

test("time() writes years before 2050 with two digits", () => {
  expect(
    time(Date.UTC(2049, 11, 31, 23, 59, 59))
      .subarray(2)
      .toString(),
  ).toBe("491231235959Z");
  expect(
    time(Date.UTC(2050, 0, 1))
      .subarray(2)
      .toString(),
  ).toBe("20500101000000Z");
});

test("integer() and oid() write what DER asks for", () => {
  expect(integer(Buffer.from([0, 0, 0x80])).toString("hex")).toBe("02020080");
  for (const id of ["2.5.29.17", "1.2.840.10045.4.3.2", "1.3.6.1.4.1.55555.1"])
    expect(readOid(readElements(oid(id))[0]?.content ?? Buffer.alloc(0))).toBe(id);
});

test("readElements() refuses lengths that lie", () => {
  for (const hex of ["30", "3005aa", "308400", "3080", "30850000000001aa"])
    expect(() => readElements(Buffer.from(hex, "hex"))).toThrow("not DER");
});

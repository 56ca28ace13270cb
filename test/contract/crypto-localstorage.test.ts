import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CryptoProvider } from "../../src/component/crypto-provider.ts";
import localstorage from "../../src/components/crypto/dapr.localstorage.ts";
import { componentHost, temporaryFolder } from "./component-host.ts";
import { cryptoContract, testKeys } from "./crypto.ts";

const open = (path: string) => localstorage.open({ path }, componentHost());

cryptoContract("crypto.dapr.localstorage", testKeys(), async (jwks) => {
  const folder = await temporaryFolder();
  for (const [name, jwk] of Object.entries(jwks))
    await writeFile(join(folder.path, name), JSON.stringify(jwk));
  const provider = await open(folder.path);
  return { provider, close: () => provider.close().then(folder.remove) };
});

describe("crypto.dapr.localstorage", () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let provider: CryptoProvider;
  const use = (keyName: string) => ({
    ...{ keyName, algorithm: "A256KW", nonce: new Uint8Array(0), associatedData: new Uint8Array(0) },
  });
  const failure = (keyName: string) => provider.getKey(keyName).then(String, (error: Error) => error.message);
  const put = (name: string, content: string | Uint8Array) => writeFile(join(folder.path, name), content);

  beforeAll(async () => {
    folder = await temporaryFolder();
    provider = await open(folder.path);
  });
  afterAll(() => folder.remove());

  test("reads symmetric keys as they are, and in both kinds of base64", async () => {
    const key = Buffer.concat([Buffer.from([0xfb, 0xff, 0xfe]), randomBytes(29)]);
    await put("raw", key);
    await put("standard", `${key.toString("base64")}\n`);
    await put("url", key.toString("base64url"));
    const wrapped = await provider.wrapKey(randomBytes(32), use("raw"));
    const plain = Buffer.from(await provider.unwrapKey(wrapped, use("raw")));
    for (const name of ["standard", "url"])
      expect(Buffer.from(await provider.unwrapKey(wrapped, use(name)))).toEqual(plain);
  });

  test.each(["rsa", "ec", "ed25519"] as const)("reads PEM of %s in each form", async (type) => {
    const options = { modulusLength: 2048, namedCurve: "P-256" };
    const { privateKey, publicKey } = generateKeyPairSync(type as "rsa", options);
    const spki = publicKey.export({ format: "pem", type: "spki" }) as string;
    await put("pkcs8.pem", privateKey.export({ format: "pem", type: "pkcs8" }));
    await put("no-ending", privateKey.export({ format: "pem", type: "pkcs8" }));
    await put("public.pem", spki);
    const forms = ["pkcs8.pem", "no-ending", "public.pem"];
    if (type === "rsa") await put("other.pem", privateKey.export({ format: "pem", type: "pkcs1" }));
    if (type === "ec") await put("other.pem", privateKey.export({ format: "pem", type: "sec1" }));
    if (type !== "ed25519") forms.push("other.pem");
    for (const name of forms) expect((await provider.getKey(name)).pem).toBe(spki);
    expect(createPublicKey(spki).equals(publicKey)).toBe(true);
  });

  test("notices at once that a key was exchanged or taken away", async () => {
    await put("changing", randomBytes(32));
    const wrapped = await provider.wrapKey(randomBytes(32), use("changing"));
    await put("changing", randomBytes(32));
    expect(await provider.unwrapKey(wrapped, use("changing")).catch(() => "another key")).toBe("another key");
    await rm(join(folder.path, "changing"));
    expect(await provider.unwrapKey(wrapped, use("changing")).catch((error) => error.message)).toBe(
      "key not found",
    );
  });

  test("stays in its folder", async () => {
    for (const name of ["../secret", "a/../../b", "..", "", "a\0b", "..\\b"])
      expect(await failure(name)).toStartWith("invalid key path");
    expect(await failure("/etc/passwd")).toBe("key not found");
  });

  test.each([
    ["broken.json", '{"kty":"oct","k":"c2VjcmV0'],
    ["list.json", "[]"],
    ["broken.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"],
    ["empty", ""],
    ["huge", "x".repeat(70_000)],
    ["type.json", '{"kty":"secret"}'],
  ])("tells nothing of what is in a bad key (%s)", async (name, content) => {
    await put(name, content);
    const message = await failure(name);
    expect(message).toMatch(/^(failed to parse key|a key has at most)/);
    expect(message).not.toContain("c2VjcmV0");
  });

  test("refuses a path that is no folder, by the field's name", async () => {
    await put("file", "x");
    for (const path of [join(folder.path, "file"), join(folder.path, "absent")])
      expect(await open(path).catch((error: Error) => error.message)).toStartWith("path ");
  });
});

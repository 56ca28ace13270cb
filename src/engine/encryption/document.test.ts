import { describe, expect, test } from "bun:test";
import { createCipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { dataCipherOf, decryptDocument, encryptDocument, keyWrapOf } from "./document.ts";

const segment = 64 * 1024;
/** The file key as it is, behind a byte that has to be there. */
const wrap = async (key: Uint8Array) => Buffer.concat([Buffer.from("w"), key]);
const unwrap = async (wrapped: Uint8Array) => {
  if (wrapped[0] !== 0x77) throw new Error("not wrapped here");
  return wrapped.subarray(1);
};
const options = {
  ...({ keyName: "key", keyWrap: "A256KW", cipher: "AES-GCM", decryptionKeyName: "key", wrap } as const),
};

async function* chunks(bytes: Uint8Array, size = bytes.length || 1): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function encrypt(
  plaintext: Uint8Array,
  more: Partial<Parameters<typeof encryptDocument>[1]> = {},
  size?: number,
) {
  return Buffer.concat(
    await Array.fromAsync(encryptDocument(chunks(plaintext, size), { ...options, ...more })),
  );
}

/** What came out, and why no more did. */
async function decrypt(document: Uint8Array, { keyName = "", size = document.length } = {}) {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of decryptDocument(chunks(document, size), { keyName, unwrap }))
      pieces.push(piece);
    return { out: Buffer.concat(pieces), why: "" };
  } catch (error) {
    return { out: Buffer.concat(pieces), why: (error as Error).message };
  }
}

describe("encryptDocument()", () => {
  test.each([0, 1, segment - 1, segment, segment + 1, 3 * segment, 3 * segment + 7])(
    "makes a document of %i bytes that decryptDocument() reads",
    async (size) => {
      const plaintext = randomBytes(size);
      for (const cipher of ["AES-GCM", "CHACHA20-POLY1305"] as const) {
        const document = await encrypt(plaintext, { cipher });
        const header = document.toString("latin1").split("\n", 3).join("\n").length + 1;
        expect(document.length - header).toBe(size + Math.ceil(size / segment) * 16);
        expect(await decrypt(document)).toEqual({ out: plaintext, why: "" });
      }
    },
  );

  test.each([1, 7, 1000, segment, segment + 1])(
    "does not care how bytes come (%i at a time)",
    async (size) => {
      const plaintext = randomBytes(size === 1 ? 2_000 : 2 * segment + 5);
      const document = await encrypt(plaintext, {}, size);
      expect(await decrypt(document, { size })).toEqual({ out: plaintext, why: "" });
    },
  );

  test("writes the header as Dapr does", async () => {
    const document = await encrypt(Buffer.from("x"), { decryptionKeyName: "a&b/<1>" });
    const [scheme, manifest = "", mac = ""] = document.toString("latin1").split("\n");
    expect(scheme).toBe("dapr.io/enc/v1");
    expect(manifest).toMatch(
      /^\{"k":"a\\u0026b\/\\u003c1\\u003e","kw":1,"wfk":"[A-Za-z0-9+/]+=*","cph":1,"np":"[A-Za-z0-9+/]{10}=="\}$/,
    );
    expect(mac).toMatch(/^[A-Za-z0-9+/]{43}=$/);
    const anonymous = await encrypt(Buffer.from("x"), { decryptionKeyName: "", keyWrap: "RSA-OAEP-256" });
    expect(anonymous.toString("latin1")).toMatch(/^dapr.io\/enc\/v1\n\{"kw":5,/);
  });

  test("draws a new key for each document", async () => {
    const [one, other] = [await encrypt(Buffer.from("same")), await encrypt(Buffer.from("same"))];
    expect(one.subarray(-20).equals(other.subarray(-20))).toBe(false);
  });

  test("holds one segment at a time", async () => {
    let taken = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      while (true) {
        taken += segment;
        yield new Uint8Array(segment);
      }
    }
    const pieces = encryptDocument(endless(), options);
    for (let i = 0; i < 5; i++) await pieces.next();
    expect(taken).toBeLessThanOrEqual(6 * segment);
  });

  test("refuses a name that makes the header too long", async () => {
    const why = await encrypt(Buffer.from("x"), { decryptionKeyName: "k".repeat(66_000) }).catch(
      (e) => e.message,
    );
    expect(why).toBe("header is too long");
  });
});

describe("decryptDocument()", () => {
  test("takes another key's name, and needs one", async () => {
    const anonymous = await encrypt(Buffer.from("x"), { decryptionKeyName: "" });
    expect((await decrypt(anonymous)).why).toContain("does not contain a key name");
    expect((await decrypt(anonymous, { keyName: "other" })).out.toString()).toBe("x");
  });

  test.each([
    ["", "invalid header: unsupported scheme"],
    ["dapr.io/enc/v2\n{}\nAA==\n", "invalid header: unsupported scheme"],
    ["dapr.io/enc/v1", "invalid header: unsupported scheme"],
    ["dapr.io/enc/v1\n", "invalid header: manifest not found"],
    ["dapr.io/enc/v1\n\n\n", "invalid header: manifest not found"],
    ["dapr.io/enc/v1\n{}\n", "invalid header: message authentication code not found"],
    ["dapr.io/enc/v1\n{}\nAA=\n", "invalid header: message authentication code not found"],
    ["dapr.io/enc/v1\n{}\nAA==\n", "invalid header: invalid manifest"],
    ["dapr.io/enc/v1\nnull\nAA==\n", "invalid header: invalid manifest"],
    [
      'dapr.io/enc/v1\n{"kw":9,"wfk":"AA==","cph":1,"np":"AAAAAAAAAA=="}\nAA==\n',
      "invalid header: invalid manifest",
    ],
    [
      'dapr.io/enc/v1\n{"kw":1,"wfk":"","cph":1,"np":"AAAAAAAAAA=="}\nAA==\n',
      "invalid header: invalid manifest",
    ],
    [
      'dapr.io/enc/v1\n{"kw":1,"wfk":"AA==","cph":3,"np":"AAAAAAAAAA=="}\nAA==\n',
      "invalid header: invalid manifest",
    ],
    ['dapr.io/enc/v1\n{"kw":1,"wfk":"AA==","cph":1,"np":"AAAA"}\nAA==\n', "invalid header: invalid manifest"],
  ])("refuses the header %p", async (header, why) => {
    expect(await decrypt(Buffer.from(header))).toEqual({ out: Buffer.alloc(0), why });
    expect((await decrypt(Buffer.from(header), { size: 1 })).why).toBe(why);
  });

  test("looks for a line end no further than a header can be long", async () => {
    const document = Buffer.from(`dapr.io/enc/v1\n${"x".repeat(70_000)}`);
    expect((await decrypt(document, { size: 1_000 })).why).toBe("invalid header: manifest not found");
  });

  test("finds a changed bit anywhere, and gives out nothing from there on", async () => {
    const plaintext = randomBytes(3 * segment + 100);
    const document = await encrypt(plaintext);
    const headerEnd = document.length - (plaintext.length + 4 * 16);
    const inSegments = Array.from(
      { length: 120 },
      () => headerEnd + Math.floor(Math.random() * (document.length - headerEnd)),
    );
    const everyHeaderBit = Array.from({ length: headerEnd * 8 }, (_, bit) => [bit >> 3, bit & 7] as const);
    const edges = [0, 1, 2, 3].flatMap((i) => [
      headerEnd + i * (segment + 16),
      headerEnd + (i + 1) * (segment + 16) - 1,
    ]);
    const bits = [...inSegments, ...edges]
      .filter((at) => at < document.length)
      .map((at) => [at, at & 7] as const);
    for (const [at, bit] of [...everyHeaderBit, ...bits]) {
      const changed = Buffer.from(document);
      changed[at] = (changed[at] as number) ^ (1 << bit);
      const { out, why } = await decrypt(changed);
      expect(`${at}.${bit}: ${why}`).not.toBe(`${at}.${bit}: `);
      const whole = Math.max(0, Math.floor((at - headerEnd) / (segment + 16)));
      expect(out.equals(plaintext.subarray(0, at < headerEnd ? 0 : whole * segment))).toBe(true);
    }
  });

  test("finds segments that are missing, doubled, exchanged, or of another document", async () => {
    const plaintext = randomBytes(3 * segment);
    const [document, other] = [await encrypt(plaintext), await encrypt(plaintext)];
    const sealed = segment + 16;
    const header = document.subarray(0, document.length - 3 * sealed);
    const [a, b, c] = [0, 1, 2].map((i) =>
      document.subarray(header.length + i * sealed).subarray(0, sealed),
    ) as [Buffer, Buffer, Buffer];
    const foreign = other.subarray(-sealed);
    const wrong = [
      [a, b],
      [a, c],
      [b, c],
      [a, b, c, c],
      [b, a, c],
      [a, b, foreign],
      [a, b, c, Buffer.from("more")],
      [a, b, c.subarray(0, 5)],
      [a, b, c.subarray(0, -1)],
    ];
    for (const parts of wrong)
      expect((await decrypt(Buffer.concat([header, ...parts]))).why).toContain("failed to decrypt segment");
    expect((await decrypt(Buffer.concat([header, a, b, c]))).why).toBe("");
  });

  test("says the same of a key that is absent and a header that was changed", async () => {
    const document = await encrypt(Buffer.from("x"), { wrap: async (key) => key });
    expect((await decrypt(document)).why).toBe("failed to validate the document's signature");
  });

  test("takes no document that was made for a key of zeros, which is what an unwrapping that fails could leave", async () => {
    const zeros = new Uint8Array(32);
    const noncePrefix = Buffer.alloc(7);
    const manifest = `{"k":"key","kw":1,"wfk":"AAAA","cph":1,"np":"${noncePrefix.toString("base64")}"}`;
    const lines = `dapr.io/enc/v1\n${manifest}\n`;
    const headerKey = Buffer.from(hkdfSync("sha256", zeros, "", "header", 32));
    const mac = createHmac("sha256", headerKey).update(lines).digest("base64");
    const payloadKey = Buffer.from(hkdfSync("sha256", zeros, noncePrefix, "payload", 32));
    const nonce = Buffer.alloc(12);
    nonce[11] = 1;
    const cipher = createCipheriv("aes-256-gcm", payloadKey, nonce);
    const sealed = Buffer.concat([cipher.update("forged"), cipher.final(), cipher.getAuthTag()]);
    const { out, why } = await decrypt(Buffer.concat([Buffer.from(`${lines}${mac}\n`), sealed]));
    expect([out.toString(), why]).toEqual(["", "failed to validate the document's signature"]);
  });
});

test("names of algorithms have any case, and short forms", () => {
  expect(["aes", "RSA", "a256kw", "A128CBC-NOPAD"].map(keyWrapOf)).toEqual([
    "A256KW",
    "RSA-OAEP-256",
    "A256KW",
    "A128CBC-NOPAD",
  ]);
  expect(["", "aes-gcm", "ChaCha20-Poly1305"].map(dataCipherOf)).toEqual([
    "AES-GCM",
    "AES-GCM",
    "CHACHA20-POLY1305",
  ]);
  expect(() => keyWrapOf("rot13")).toThrow("algorithm ROT13 is not supported");
  expect(() => dataCipherOf("rot13")).toThrow("cipher ROT13 is not supported");
  expect(() => keyWrapOf("")).toThrow("is not supported");
});

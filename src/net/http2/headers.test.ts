import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HeaderDecoder, InvalidHeaderBlock } from "./header-decoder.ts";
import { HeaderEncoder, type HeaderObject } from "./header-encoder.ts";

const fromHex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const decoder = (listBytesMax = 1 << 20) => new HeaderDecoder(4096, listBytesMax);

describe("HeaderDecoder", () => {
  test("reads the requests of RFC 7541, appendix C.3, one after the other", () => {
    const one = decoder();
    const authority = [":authority", "www.example.com"];
    const first = [":method", "GET", ":scheme", "http", ":path", "/"];
    const read = (hex: string) => one.decode(fromHex(hex)).lines;
    expect(read("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d")).toEqual([...first, ...authority]);
    const noCache = ["cache-control", "no-cache"];
    expect(read("8286 84be 5808 6e6f 2d63 6163 6865")).toEqual([...first, ...authority, ...noCache]);
    expect(read("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65")).toEqual([
      ...[":method", "GET", ":scheme", "https", ":path", "/index.html"],
      ...authority,
      ...["custom-key", "custom-value"],
    ]);
  });

  test("reads the answers of appendix C.6, coded by Huffman, while the table forgets", () => {
    const one = new HeaderDecoder(256, 1 << 20);
    const read = (hex: string) => one.decode(fromHex(hex)).lines;
    const location = ["location", "https://www.example.com"];
    expect(
      read(
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      ),
    ).toEqual([
      ...[":status", "302", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ...location,
    ]);
    expect(read("4883 640e ffc1 c0bf")).toEqual([
      ...[":status", "307", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:21 GMT"],
      ...location,
    ]);
  });

  test("leaves out what is beyond its limit, and goes on with the next block", () => {
    const one = decoder(100);
    const encoder = new HeaderEncoder();
    expect(one.decode(encoder.encode({ a: "x".repeat(200), "content-type": "a/b" })).isTooLarge).toBe(true);
    expect(one.decode(encoder.encode({ "content-type": "a/b" })).lines).toEqual(["content-type", "a/b"]);
  });

  test("reads a bomb of references to one large header without keeping it", () => {
    const one = decoder(64 * 1024);
    const encoded = [0x40, 1, 97, 0x7f, 0xa1, 0x1e];
    const bomb = Buffer.concat([Buffer.from(encoded), Buffer.alloc(4000, 97), Buffer.alloc(10_000, 0xbe)]);
    const { lines, isTooLarge } = one.decode(bomb);
    expect(isTooLarge).toBe(true);
    expect(lines.join("").length).toBeLessThan(64 * 1024);
  });

  test("throws nothing but InvalidHeaderBlock for any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), (blocks) => {
        const one = decoder();
        try {
          for (const block of blocks) one.decode(Buffer.from(block));
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidHeaderBlock);
        }
      }),
    );
  });
});

describe("HeaderEncoder", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
  const value = fc.stringMatching(/^[!-~]{0,40}$/);
  const known = fc.constantFrom("content-type", "grpc-status", "etag", "x-a");

  test("writes what the decoder reads, block after block", () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(fc.oneof(name, known), value), { maxLength: 8 }), (blocks) => {
        const encoder = new HeaderEncoder();
        const one = decoder();
        for (const headers of blocks) {
          const { lines } = one.decode(encoder.encode({ ...headers, ":status": 200 }));
          expect(lines).toEqual([":status", "200", ...Object.entries(headers).flat()]);
        }
      }),
    );
  });

  test("says a repeated line in one byte", () => {
    const encoder = new HeaderEncoder();
    const headers: HeaderObject = { ":status": 200, "content-type": "application/grpc" };
    expect(encoder.encode(headers).length).toBeGreaterThan(10);
    expect(encoder.encode(headers)).toEqual(Buffer.of(0x88, 0xbe));
  });

  test("adds nothing to the table of a peer that wants none", () => {
    const encoder = new HeaderEncoder();
    encoder.limitTable(0);
    const one = new HeaderDecoder(0, 1 << 20);
    for (let i = 0; i < 3; i++)
      expect(one.decode(encoder.encode({ "content-type": "a/b" })).lines).toEqual(["content-type", "a/b"]);
  });

  test("keeps its table when a block can not be sent: the peer never hears of it", () => {
    const encoder = new HeaderEncoder();
    const one = decoder();
    const read = (headers: HeaderObject) => one.decode(encoder.encode(headers)).lines;
    expect(read({ "content-type": "a/b" })).toEqual(["content-type", "a/b"]);
    expect(() => encoder.encode({ "content-type": "c/d", te: "trailers", bad: "\n" })).toThrow(TypeError);
    for (const type of ["a/b", "c/d", "e/f", "c/d"])
      expect(read({ "content-type": type, te: "trailers" })).toEqual([
        "content-type",
        type,
        "te",
        "trailers",
      ]);
  });

  test.each([
    ["a name with a space", { "a b": "c" }],
    ["a name in capitals", { Upper: "c" }],
    ["a line feed", { a: "b\nc" }],
    ["text beyond Latin-1", { a: "✓" }],
  ])("refuses %s", (_, headers) => {
    expect(() => new HeaderEncoder().encode(headers as unknown as HeaderObject)).toThrow(TypeError);
  });
});

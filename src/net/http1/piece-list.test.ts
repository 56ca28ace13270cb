import { expect, test } from "bun:test";
import { PieceList } from "./piece-list.ts";

test("PieceList gathers small pieces, keeps large ones, and loses none", () => {
  const list = new PieceList();
  const large = Buffer.alloc(5_000, "L");
  for (let i = 0; i < 30_000; i++) list.push(Buffer.from(String(i % 10)));
  list.push(large);
  list.push(Buffer.from("end"));
  expect(list.bytes).toBe(35_003);
  expect(list.count).toBeLessThan(10);
  const digits = "0123456789".repeat(3_000);
  expect(Buffer.from(list.join()).toString()).toBe(`${digits}${"L".repeat(5_000)}end`);
});

test("PieceList.shift() hands pieces out while more are gathered behind", () => {
  const list = new PieceList();
  let text = "";
  for (let i = 0; i < 1_000; i++) {
    list.push(Buffer.from(`${i} `));
    if (i % 3 === 0) text += Buffer.from(list.shift() ?? []).toString();
  }
  for (let piece = list.shift(); piece; piece = list.shift()) text += Buffer.from(piece).toString();
  expect(text).toBe(`${Array.from({ length: 1_000 }, (_, i) => i).join(" ")} `);
  expect(list.bytes).toBe(0);
});

test("PieceList.join() does not copy a single piece", () => {
  const list = new PieceList();
  const piece = Buffer.from("only");
  list.push(piece);
  expect(list.join()).toBe(piece);
});

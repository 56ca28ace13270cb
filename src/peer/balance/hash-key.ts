import { hashText, mixHash } from "../../kit/text-hash.ts";

const seed = 0x811c9dc5;

export function hashKey(text: string, salt = ""): number {
  return mixHash(hashText(text, salt === "" ? seed : hashText(salt, seed)));
}

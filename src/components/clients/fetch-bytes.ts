import { askOnce, type OneQuestion } from "./ask-once.ts";

const answerBytesMax = 64 << 20;

/** What stands at an address. Rejects with the address and the reason when it can not be had within the time. */
export async function fetchBytes(url: string, question: OneQuestion): Promise<Uint8Array> {
  const { status, bytes } = await askOnce(url, question, answerBytesMax);
  if (status !== 200) throw new Error(`${url} answered ${status}`);
  return bytes;
}

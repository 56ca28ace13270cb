import { askOnce, type OneQuestion } from "./ask-once.ts";

const answerBytesMax = 1 << 20;

/** Asks for a JSON object. Rejects with the address and the reason when there is none within the time. */
export async function fetchJson(url: string, question: OneQuestion): Promise<Record<string, unknown>> {
  const { status, text } = await askOnce(url, question, answerBytesMax);
  if (status < 200 || status > 299) throw new Error(`${url} answered ${status}: ${text.slice(0, 200)}`);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Error(`${url} answered no JSON object`);
}

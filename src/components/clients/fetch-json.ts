export interface JsonRequest {
  timeoutMs: number;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

const answerBytesMax = 1 << 20;

/** Asks for a JSON object. Rejects with the address and the reason when there is none within the time. */
export async function fetchJson(url: string, request: JsonRequest): Promise<Record<string, unknown>> {
  const { timeoutMs, ...init } = request;
  const reply = await fetch(url, {
    ...init,
    redirect: "error",
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error: Error) => {
    throw new Error(`${url} could not be reached: ${error.message}`, { cause: error });
  });
  const text = await readText(url, reply);
  if (!reply.ok) throw new Error(`${url} answered ${reply.status}: ${text.slice(0, 200)}`);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Error(`${url} answered no JSON object`);
}

async function readText(url: string, reply: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of reply.body ?? []) {
    size += piece.byteLength;
    if (size > answerBytesMax) throw new Error(`${url} answered more than ${answerBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

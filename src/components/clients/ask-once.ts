import { ServerUnavailable } from "../../component/server-unavailable.ts";
import type { Clock } from "../../edges/clock.ts";
import { messageOf } from "../../kit/message-of.ts";
import { type HttpAnswer, type HttpQuestion, HttpServer } from "./http-server.ts";

export interface OneQuestion {
  /** For the whole exchange. */
  timeoutMs: number;
  clock: Clock;
  method?: HttpQuestion["method"];
  headers?: Record<string, string>;
  body?: string;
}

/** Asks a server that is asked seldom: no connection is kept. Nothing may be changed by the question. */
export async function askOnce(url: string, question: OneQuestion, bytesMax: number): Promise<HttpAnswer> {
  const { timeoutMs, clock, method = "GET", headers = {}, body } = question;
  const server = new HttpServer({ name: "the server", url, timeoutMs, clock });
  try {
    const sent = body === undefined ? {} : { body: Buffer.from(body) };
    return await server.ask({ method, path: "", headers, ...sent, bytesMax, isRead: true });
  } catch (error) {
    const why = `${url} could not be reached: ${messageOf((error as Error).cause ?? error)}`;
    if (error instanceof ServerUnavailable) throw new ServerUnavailable(why, error.outcome, error.cause);
    throw new Error(why, { cause: error });
  } finally {
    server.close();
  }
}

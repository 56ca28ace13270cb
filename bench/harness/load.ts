// Load on an HTTP or gRPC server, and what it cost the process under test.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../scripts/build-once.ts";
import { connections, type Round } from "./bench.ts";
import { cpuUs } from "./proc.ts";
import { run, runProgram } from "./program.ts";

export interface HttpLoad {
  port: number;
  /** Each request has the next number in the place of `{n}`. */
  path: string;
  /** After so many of them the numbers begin anew. */
  numbers?: number;
  method?: string;
  body?: string;
  headers?: Record<string, string>;
}

/** Runs wrk against a server for some seconds, and measures the CPU of `pid` meanwhile. Any failed request fails it. */
export async function httpRound(pid: number, load: HttpLoad, seconds: number): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), "mecha-wrk-"));
  try {
    const script = join(folder, "load.lua");
    writeFileSync(script, luaOf(load));
    const url = `http://127.0.0.1:${load.port}${load.path.replace("{n}", "0")}`;
    const before = cpuUs(pid);
    const args = [
      "-t",
      "1",
      "-c",
      String(connections),
      "-d",
      `${seconds}s`,
      "--timeout",
      "10s",
      "-s",
      script,
      url,
    ];
    const output = await run(findTool("wrk"), args);
    return { ...parseWrk(output), cpuUs: cpuUs(pid) - before };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function luaOf({ path, numbers, method = "GET", body, headers = {} }: HttpLoad): string {
  const lines = [`wrk.method = ${JSON.stringify(method)}`];
  if (body !== undefined) lines.push(`wrk.body = ${JSON.stringify(body)}`);
  for (const [name, value] of Object.entries(headers)) {
    lines.push(`wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`);
  }
  const [before, after] = path.split("{n}");
  if (after !== undefined) {
    const next = numbers === undefined ? "n + 1" : `(n + 1) % ${numbers}`;
    const target = `${JSON.stringify(before)} .. n .. ${JSON.stringify(after)}`;
    lines.push("local n = 0", `function request() n = ${next}; return wrk.format(nil, ${target}) end`);
  }
  return `${lines.join("\n")}\n`;
}

/** Reads wrk's report: requests and seconds. Throws when a request failed: a quick error is no result. */
export function parseWrk(output: string): { requests: number; seconds: number } {
  const [, requests, duration, unit] = /(\d+) requests in ([\d.]+)(ms|s|m),/.exec(output) ?? [];
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1];
  const socketErrors = /Socket errors: (.*)/.exec(output)?.[1];
  if (requests === undefined || failed !== undefined || Number(requests) === 0) {
    throw new Error(`the load failed (${failed ?? "no"} bad answers)\n${output}`);
  }
  if (socketErrors !== undefined && !/^connect 0, read 0, write 0, timeout 0$/.test(socketErrors)) {
    throw new Error(`the load failed: ${socketErrors}`);
  }
  const factor = unit === "ms" ? 0.001 : unit === "m" ? 60 : 1;
  return { requests: Number(requests), seconds: Number(duration) * factor };
}

export interface GrpcLoad {
  port: number;
  /** `/package.Service/Method`. */
  path: string;
  /** One encoded request message. */
  message: Uint8Array;
  metadata?: Record<string, string>;
}

/** Runs unary calls for some seconds from a process of their own, and measures the CPU of `pid` meanwhile. */
export async function grpcRound(pid: number, load: GrpcLoad, seconds: number): Promise<Round> {
  const before = cpuUs(pid);
  const message = Buffer.from(load.message).toString("base64");
  const metadata = JSON.stringify(load.metadata ?? {});
  const args = [String(load.port), load.path, message, String(seconds), String(connections), metadata];
  const { requests, failed, firstFailure, tookS } = JSON.parse(
    await runProgram("grpc-load", args),
  ) as GrpcReport;
  if (failed > 0 || requests === 0) throw new Error(`${failed} of ${requests} calls failed: ${firstFailure}`);
  return { requests, seconds: tookS, cpuUs: cpuUs(pid) - before };
}

interface GrpcReport {
  requests: number;
  failed: number;
  firstFailure: string;
  tookS: number;
}

import type { Probe } from "../host/probe.ts";
import { didYouMean } from "../kit/nearest.ts";

const fieldNames = [
  ...["httpGet", "tcpSocket", "exec"],
  ...["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"],
];

/** A probe of the run file before the app's port is known. */
export type ProbeOnPort = (appPort: number) => Probe;

/** Reads a probe with Kubernetes' names and defaults. Throws an `Error` that says what would be right. */
export function readProbe(value: unknown): ProbeOnPort {
  const fields = objectOf(value, "a probe");
  for (const name of Object.keys(fields)) {
    if (!fieldNames.includes(name)) throw new Error(`unknown field "${name}"${didYouMean(name, fieldNames)}`);
  }
  const seconds = (name: string, fallback: number): number => numberOf(fields[name], name, fallback) * 1000;
  const timing = {
    initialDelayMs: seconds("initialDelaySeconds", 0),
    periodMs: seconds("periodSeconds", 10),
    timeoutMs: seconds("timeoutSeconds", 1),
    failureThreshold: numberOf(fields.failureThreshold, "failureThreshold", 3),
    successThreshold: numberOf(fields.successThreshold, "successThreshold", 1),
  };
  const check = readCheck(fields);
  return (appPort) => ({ check: check(appPort), ...timing });
}

function readCheck(fields: Record<string, unknown>): (appPort: number) => Probe["check"] {
  const { httpGet, tcpSocket, exec } = fields;
  if ([httpGet, tcpSocket, exec].filter((each) => each !== undefined).length !== 1) {
    throw new Error("a probe needs exactly one of httpGet, tcpSocket, exec");
  }
  if (exec !== undefined) {
    const { command } = objectOf(exec, "exec");
    if (!Array.isArray(command) || command.length === 0)
      throw new Error('exec.command has to be a list, like ["true"]');
    return () => ({ kind: "exec", command: command.map(String) });
  }
  if (tcpSocket !== undefined) {
    const { port } = objectOf(tcpSocket, "tcpSocket");
    return (appPort) => ({ kind: "tcp", port: numberOf(port, "tcpSocket.port", appPort) });
  }
  const { path = "/", port } = objectOf(httpGet, "httpGet");
  if (typeof path !== "string" || !path.startsWith("/"))
    throw new Error("httpGet.path has to begin with a slash");
  return (appPort) => ({ kind: "http", path, port: numberOf(port, "httpGet.port", appPort) });
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${what} has to be a mapping`);
}

function numberOf(value: unknown, name: string, fallback: number): number {
  if (value === undefined || value === null) return fallback;
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw new Error(`${name} is ${JSON.stringify(value)}: not a number from 0 on`);
}

import type { Log, LogFields } from "./telemetry.ts";

export const logLevels = ["debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LogOptions {
  level: LogLevel;
  /** One JSON object per line instead of logrus text. */
  asJson: boolean;
  /** Fields of every line. */
  appId: string;
  instance: string;
  version: string;
  write: (line: string) => void;
  now?: () => Date;
}

/** Lines as daprd writes them: tools and tests search them for literal texts (dapr-api.md §1.5). */
export function createLog(options: LogOptions, scope = "dapr.runtime"): Log {
  const threshold = logLevels.indexOf(options.level);
  const emit = (level: LogLevel, fields: LogFields, message: string): void => {
    if (logLevels.indexOf(level) < threshold) return;
    options.write(
      options.asJson
        ? jsonLine(options, scope, level, fields, message)
        : textLine(options, scope, level, fields, message),
    );
  };
  return {
    debug: (fields, message) => emit("debug", fields, message),
    info: (fields, message) => emit("info", fields, message),
    warn: (fields, message) => emit("warn", fields, message),
    error: (fields, message) => emit("error", fields, message),
    fatal: (fields, message) => emit("fatal", fields, message),
    scope: (name) => createLog(options, name),
  };
}

function textLine(
  options: LogOptions,
  scope: string,
  level: LogLevel,
  fields: LogFields,
  message: string,
): string {
  let line = `time="${timestamp(options)}" level=${level === "warn" ? "warning" : level} msg=${JSON.stringify(message)}`;
  line += ` app_id=${word(options.appId)} instance=${word(options.instance)} scope=${scope} type=log ver=${options.version}`;
  for (const name in fields) line += ` ${name}=${word(printable(fields[name]))}`;
  return `${line}\n`;
}

function jsonLine(
  options: LogOptions,
  scope: string,
  level: LogLevel,
  fields: LogFields,
  message: string,
): string {
  const line: Record<string, unknown> = {
    app_id: options.appId,
    instance: options.instance,
    level: level === "warn" ? "warning" : level,
    msg: message,
    scope,
    time: timestamp(options),
    type: "log",
    ver: options.version,
  };
  for (const name in fields) {
    const value = fields[name];
    line[name] = typeof value === "number" || typeof value === "boolean" ? value : printable(value);
  }
  return `${JSON.stringify(line)}\n`;
}

/** RFC 3339 with nanosecond digits, as Go prints it. */
function timestamp(options: LogOptions): string {
  const now = options.now?.() ?? new Date();
  return now.toISOString().replace("Z", "000000Z");
}

/** logrus quotes values that hold anything but plain characters. */
function word(text: string): string {
  return /^[A-Za-z0-9\-._/@^+:]+$/.test(text) ? text : JSON.stringify(text);
}

function printable(value: unknown): string {
  if (value instanceof Error) return causeChain(value);
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null) return JSON.stringify(value);
  return String(value);
}

/** `outer: middle: inner`, bounded, without repeating a cause whose text the outer message already holds. */
export function causeChain(error: Error): string {
  let text = error.message;
  let cause = error.cause;
  for (let depth = 0; depth < 8 && cause !== undefined && cause !== null; depth++) {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (!text.includes(message)) text += `: ${message}`;
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return text;
}

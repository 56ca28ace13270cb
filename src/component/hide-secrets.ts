import type { Log, LogFields } from "../telemetry/telemetry.ts";
import { secretForms } from "./secret-forms.ts";

const causesMax = 8;
const base64 = /[\w+/-]{8,}={0,2}/g;

/** Takes the secrets of one component out of what it says: its failures and its lines in the log. */
export class SecretHider {
  readonly #forms: readonly string[];

  constructor(secrets: readonly string[]) {
    this.#forms = secretForms(secrets);
  }

  get isIdle(): boolean {
    return this.#forms.length === 0;
  }

  text(text: string): string {
    let hidden = text;
    for (const form of this.#forms) hidden = hidden.replaceAll(form, "(hidden)");
    // As `Authorization: Basic` has them, behind a user's name.
    return hidden.replace(base64, (run) => (this.#isSecret(run) ? "(hidden)" : run));
  }

  #isSecret(run: string): boolean {
    const decoded = Buffer.from(run, "base64").toString("utf8");
    return this.#forms.some((form) => decoded.includes(form));
  }

  /** The same error, so that it stays of its class. */
  error<T>(error: T): T {
    for (let cause: unknown = error, left = causesMax; cause instanceof Error && left > 0; left--) {
      this.#mend(cause);
      if (cause instanceof AggregateError)
        for (const one of cause.errors.slice(0, causesMax)) this.error(one);
      cause = cause.cause;
    }
    return error;
  }

  log(log: Log): Log {
    if (this.isIdle) return log;
    const fields = (given: LogFields): LogFields =>
      Object.fromEntries(Object.entries(given).map(([name, value]) => [name, this.#value(value)]));
    return {
      debug: (given, message) => log.debug(fields(given), this.text(message)),
      info: (given, message) => log.info(fields(given), this.text(message)),
      warn: (given, message) => log.warn(fields(given), this.text(message)),
      error: (given, message) => log.error(fields(given), this.text(message)),
      fatal: (given, message) => log.fatal(fields(given), this.text(message)),
      scope: (name) => this.log(log.scope(name)),
    };
  }

  /** The same component; what its methods throw or reject with quotes no secret. */
  instance<T extends object>(instance: T): T {
    if (this.isIdle) return instance;
    const wrapped = new Map<PropertyKey, unknown>();
    return new Proxy(instance, {
      // Methods get the component itself: private fields are not the proxy's.
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function" || name === "constructor") return value;
        let known = wrapped.get(name);
        if (known === undefined) {
          known = (...given: unknown[]): unknown => this.#run(() => Reflect.apply(value, target, given));
          wrapped.set(name, known);
        }
        return known;
      },
    });
  }

  #run(work: () => unknown): unknown {
    try {
      const result = work();
      if (!(result instanceof Promise)) return result;
      return result.catch((error: unknown) => {
        throw this.error(error);
      });
    } catch (error) {
      throw this.error(error);
    }
  }

  #value(value: unknown): unknown {
    if (typeof value === "string") return this.text(value);
    return value instanceof Error ? this.error(value) : value;
  }

  #mend(error: Error): void {
    const { message, stack } = error;
    const hidden = this.text(message);
    if (hidden !== message) set(error, "message", hidden);
    if (stack !== undefined && this.text(stack) !== stack) set(error, "stack", this.text(stack));
  }
}

function set(error: Error, name: "message" | "stack", value: string): void {
  Object.defineProperty(error, name, { value, configurable: true, writable: true, enumerable: false });
}

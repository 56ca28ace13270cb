import type { Binding, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, flag, number, text } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { isUnreachable } from "../../component/unreachable.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";

export default component({
  type: "bindings.smtp",
  version: "v1",
  status: "stable",
  summary: "Mails by an SMTP server",
  package: "nodemailer",
  metadata: {
    host: text({ description: "name of the server", required: true }),
    port: number({
      description:
        "its port; at 465 the connection begins with TLS, else STARTTLS is used where the server has it",
      required: true,
      min: 1,
      max: 65_535,
    }),
    user: text({ description: "user; needs password" }),
    password: text({ description: "the user's password; needs user", sensitive: true }),
    skipTLSVerify: flag({ description: "take any certificate of the server", default: false }),
    emailFrom: text({ description: "sender; a request may say another, as of all that follow" }),
    emailTo: text({ description: "receivers, several with ;" }),
    emailCC: text({ description: "receivers of a copy, several with ;" }),
    emailBCC: text({ description: "receivers of a copy whom nobody sees, several with ;" }),
    subject: text({ description: "subject" }),
    priority: number({ description: "1 (highest) to 5 (lowest)", default: 3, min: 1, max: 5 }),
    timeout: duration({
      description: "longest wait for the server to take a mail",
      default: 30_000,
      min: 1_000,
      max: 600_000,
    }),
  },
  async open(options, { edges }): Promise<Binding> {
    const { createTransport } = await import("nodemailer");
    const { host, port, user, password, skipTLSVerify, timeout } = options;
    if (!user !== !password) {
      throw new Error("smtp binding error: both user and password fields are required in metadata");
    }
    const transport = createTransport({
      ...{ host, port, secure: port === 465 },
      ...(user && password && { auth: { user, pass: password } }),
      tls: { rejectUnauthorized: !skipTLSVerify },
      ...{ connectionTimeout: timeout, greetingTimeout: timeout, socketTimeout: timeout },
      // Content is the mail's own: nothing is fetched for it, and no file is read.
      ...{ disableFileAccess: true, disableUrlAccess: true },
    });
    const closed = new AbortController();
    return {
      operations: ["create"],
      async invoke({ operation, metadata, data }: BindingRequest) {
        if (operation !== "create") throw new Error(`unsupported operation ${operation}`);
        const mail = mailOf({ ...options, ...withoutEmpty(metadata) }, data);
        const late = new AbortController();
        const signal = AbortSignal.any([late.signal, closed.signal]);
        try {
          const sent = transport.sendMail({ ...mail, signal });
          await withinTime(edges.clock, timeout, sent, () => late.abort());
        } catch (error) {
          throw failureOf(error as SmtpError);
        }
        return undefined;
      },
      async ping() {
        await withinTime(edges.clock, timeout, transport.verify());
      },
      async close() {
        closed.abort();
        transport.close();
      },
    };
  },
});

interface SmtpError extends Error {
  code?: string;
  syscall?: string;
}

/** A server that is not there is told apart from one that refuses. */
function failureOf(error: SmtpError): Error {
  const why = `error from smtp binding, sending email failed: ${error.message}`;
  const { code = "", syscall } = error;
  const isLost = ["ECONNECTION", "ETIMEDOUT", "EDNS"].includes(code) || isUnreachable(error);
  if (!isLost && !(error instanceof NoAnswer)) return new Error(why, { cause: error });
  const isUndone = syscall === "connect" || code === "EDNS";
  return new ServerUnavailable(why, isUndone ? "undone" : "unknown", error);
}

interface Asked {
  emailFrom?: string | undefined;
  emailTo?: string | undefined;
  emailCC?: string | undefined;
  emailBCC?: string | undefined;
  subject?: string | undefined;
  priority?: number | string | undefined;
}

function mailOf(asked: Asked, data: Uint8Array) {
  // A missing one is told in Dapr's words.
  for (const name of ["emailFrom", "emailTo", "subject"] as const) {
    if (!asked[name]) {
      throw new Error(
        `smtp binding error: ${name} property not supplied in configuration- or request-metadata`,
      );
    }
  }
  return {
    from: asked.emailFrom,
    to: addressesOf(asked.emailTo),
    cc: addressesOf(asked.emailCC),
    bcc: addressesOf(asked.emailBCC),
    subject: asked.subject,
    headers: { "X-Priority": String(priorityOf(asked.priority)) },
    html: htmlOf(data),
  };
}

function addressesOf(list: string | undefined): string[] {
  const all = (list ?? "").split(";").map((address) => address.trim());
  return all.filter((address) => address !== "");
}

function priorityOf(value: number | string | undefined): number {
  const priority = Number(value);
  if (Number.isInteger(priority) && priority >= 1 && priority <= 5) return priority;
  throw new Error(
    `smtp binding error: priority value must be between 1 (highest) and 5 (lowest), not ${JSON.stringify(value)}`,
  );
}

/** A JSON text is its value, as it comes over HTTP. */
function htmlOf(data: Uint8Array): string {
  const text = Buffer.from(data).toString();
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

function withoutEmpty(metadata: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== ""));
}

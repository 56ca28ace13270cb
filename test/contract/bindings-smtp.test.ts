import { afterEach, beforeEach, expect, test } from "bun:test";
import type { SMTPServerOptions } from "smtp-server";
import type { Binding } from "../../src/component/binding.ts";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import smtp from "../../src/components/bindings/smtp.ts";
import { componentHost } from "./component-host.ts";
import { type Mail, type SmtpServer, startSmtp } from "./smtp-server.ts";
import { rejection } from "./state.ts";

let mails: Mail[];
let server: SmtpServer;
let binding: Binding | undefined;
beforeEach(() => {
  mails = [];
});
afterEach(async () => {
  await binding?.close();
  await server.close();
});

const startServer = async (options: SMTPServerOptions = {}): Promise<number> => {
  server = await startSmtp((mail) => mails.push(mail), options);
  return server.port;
};

async function open(items: Record<string, string>): Promise<Binding> {
  const values = new Map(Object.entries({ host: "127.0.0.1", ...items }));
  const definition = smtp as unknown as ComponentDefinition<ComponentKind>;
  const { options } = parseOptions(definition, values);
  binding = await smtp.open(options as Parameters<typeof smtp.open>[0], componentHost());
  return binding;
}

const send = async (metadata: Record<string, string>, data = "<p>hello</p>") =>
  binding?.invoke?.({ operation: "create", metadata, data: Buffer.from(data) });

test("sends mails by what the component and the request say", async () => {
  const port = await startServer();
  await open({ port: String(port), emailFrom: "shop@example.com", subject: "Order" });
  await send({
    emailTo: "a@example.com; b@example.com",
    emailCC: "c@example.com",
    emailBCC: "hidden@example.com",
  });
  expect(mails[0]?.from).toBe("shop@example.com");
  expect(mails[0]?.to.sort()).toEqual(["a", "b", "c", "hidden"].map((name) => `${name}@example.com`));
  expect(mails[0]?.text).toContain("Subject: Order");
  expect(mails[0]?.text).toContain("Content-Type: text/html");
  expect(mails[0]?.text).toContain("<p>hello</p>");
  expect(mails[0]?.text).toContain("X-Priority: 3");
  expect(mails[0]?.text).not.toContain("hidden@example.com");
  await send({ emailTo: "e@example.com", subject: "Other", priority: "1" }, '"quoted \\"text\\""');
  expect(mails[1]?.text).toContain("Subject: Other");
  expect(mails[1]?.text).toContain('quoted "text"');
  await send({ emailTo: "e@example.com" });
  expect(mails[2]?.text).toContain("Subject: Order");
});

test("logs in, and says when it may not", async () => {
  const port = await startServer({
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _, done) =>
      password === "right" ? done(null, { user: username }) : done(new Error("wrong password")),
  });
  const mail = { port: String(port), user: "shop", emailFrom: "a@b.c", emailTo: "d@e.f", subject: "x" };
  await open({ ...mail, password: "wrong" });
  expect(String(await rejection(send({})))).toContain("error from smtp binding, sending email failed");
  await binding?.close();
  await open({ ...mail, password: "right" });
  await send({});
  expect(mails).toHaveLength(1);
});

test("uses STARTTLS where there is some, and checks the certificate", async () => {
  const port = await startServer({ disabledCommands: [] });
  const mail = { port: String(port), emailFrom: "a@b.c", emailTo: "d@e.f", subject: "x" };
  await open(mail);
  expect(String(await rejection(send({})))).toContain("certificate");
  await binding?.close();
  await open({ ...mail, skipTLSVerify: "true" });
  await send({});
  expect(mails).toHaveLength(1);
});

test("refuses what is no mail, in Dapr's words, and headers in a subject", async () => {
  const port = await startServer();
  await open({ port: String(port), emailFrom: "a@b.c" });
  const cases: [Record<string, string>, string][] = [
    [{ subject: "x" }, "smtp binding error: emailTo property not supplied"],
    [{ emailTo: "d@e.f" }, "smtp binding error: subject property not supplied"],
    [{ emailTo: "d@e.f", subject: "x", priority: "9" }, "priority value must be between 1"],
  ];
  for (const [metadata, message] of cases) expect(String(await rejection(send(metadata)))).toContain(message);
  await send({ emailTo: "d@e.f", subject: "x\r\nBcc: evil@example.com" });
  expect(mails[0]?.to).toEqual(["d@e.f"]);
  expect(mails[0]?.text).not.toMatch(/^Bcc:/m);
  const half = await rejection(open({ port: String(port), user: "shop" }));
  expect(String(half)).toContain("both user and password fields are required");
});

test("a server that is not there, or says nothing, is told in time", async () => {
  const port = await startServer({ onConnect: () => {} });
  await open({ port: String(port), emailFrom: "a@b.c", emailTo: "d@e.f", subject: "x", timeout: "1s" });
  expect(String(await rejection(send({})))).toContain("sending email failed");
  await binding?.close();
  await open({ port: "1", emailFrom: "a@b.c", emailTo: "d@e.f", subject: "x" });
  expect(String(await rejection(send({})))).toContain("ECONNREFUSED");
});

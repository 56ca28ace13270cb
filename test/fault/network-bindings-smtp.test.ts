import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import smtp from "../../src/components/bindings/smtp.ts";
import { componentHost } from "../contract/component-host.ts";
import { startSmtp } from "../contract/smtp-server.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.smtp",
  // The server waits 100 ms before it greets, for those who talk too early.
  cycles: 100,
  async start() {
    const bodies = new Map<string, string>();
    const server = await startSmtp(({ to: [receiver = ""], text }) => bodies.set(receiver, bodyOf(text)));
    let count = 0;
    return {
      port: server.port,
      async open(port) {
        // A mail is a dozen questions, one after the other.
        const items = { host: "127.0.0.1", port: String(port), timeout: "4s", emailFrom: "shop@example.com" };
        const values = new Map(Object.entries({ ...items, subject: "Order" }));
        const definition = smtp as unknown as ComponentDefinition<ComponentKind>;
        const { options } = parseOptions(definition, values);
        const binding = await smtp.open(options as Parameters<typeof smtp.open>[0], componentHost());
        return {
          async call(text) {
            const emailTo = `mail-${++count}@example.com`;
            await binding.invoke?.({ operation: "create", metadata: { emailTo }, data: Buffer.from(text) });
            return bodies.get(emailTo) ?? "no mail came";
          },
          close: () => binding.close(),
        };
      },
      stop: () => server.close(),
    };
  },
});

function bodyOf(mail: string): string {
  const [head = "", body = ""] = mail.split(/\r\n\r\n(.*)/s);
  const [, encoding] = /^Content-Transfer-Encoding: (.*)$/m.exec(head) ?? [];
  if (encoding === "base64") return Buffer.from(body, "base64").toString();
  if (encoding !== "quoted-printable") return body.trimEnd();
  const plain = body.trimEnd().replaceAll("=\r\n", "");
  const bytes = plain.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}

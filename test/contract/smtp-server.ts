import type { AddressInfo } from "node:net";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";

export interface Mail {
  from: string;
  to: string[];
  text: string;
}

export interface SmtpServer {
  port: number;
  close(): Promise<void>;
}

/** A real SMTP server that hands on what it is given. */
export async function startSmtp(
  take: (mail: Mail) => void,
  options: SMTPServerOptions = {},
): Promise<SmtpServer> {
  const server = new SMTPServer({
    ...{
      authOptional: true,
      disabledCommands: ["STARTTLS"],
      closeTimeout: 100,
      logger: false,
      disableReverseLookup: true,
    },
    onData(stream, { envelope }, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const from = envelope.mailFrom === false ? "" : envelope.mailFrom.address;
        const to = envelope.rcptTo.map(({ address }) => address);
        take({ from, to, text: Buffer.concat(chunks).toString() });
        done();
      });
    },
    ...options,
  });
  server.on("error", () => {});
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    port: (server.server.address() as AddressInfo).port,
    close: () => new Promise<void>((closed) => server.close(closed)),
  };
}

// A real Pulsar for the contract suites: one broker for a file of tests.
import { createHmac, randomBytes } from "node:crypto";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { type Service, startService } from "../services.ts";

export interface TestPulsar {
  server: Service;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  stop(): Promise<void>;
}

export async function startPulsar(options: Record<string, string> = {}): Promise<TestPulsar> {
  // A megabyte is more in base64.
  const larger = { webSocketMaxTextFrameSize: "4000000" };
  const secret = randomBytes(32);
  const token = tokenFor("admin", secret);
  const login = {
    authenticationEnabled: "true",
    authenticationProviders: "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
    tokenSecretKey: `data:;base64,${secret.toString("base64")}`,
    superUserRoles: "admin",
    brokerClientAuthenticationPlugin: "org.apache.pulsar.client.impl.auth.AuthenticationToken",
    brokerClientAuthenticationParameters: `token:${token}`,
  };
  const server = await startService("pulsar", { options: { ...larger, ...login, token, ...options } });
  return {
    server,
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const own = { host: `127.0.0.1:${server.port}`, token, redeliveryDelay: "100ms" };
      const values = new Map(Object.entries({ ...own, ...items }));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
    stop: () => server.stop(),
  };
}

function tokenFor(subject: string, secret: Buffer): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256" })}.${part({ sub: subject })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

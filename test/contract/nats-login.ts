// Operators, accounts and users of NATS, as `nsc` would make them.
import { nkeys } from "@nats-io/transport-node";

type KeyPair = ReturnType<typeof nkeys.createUser>;

export interface NatsLogin {
  /** Settings of a server that lets in who shows a JWT of the account. */
  server: Record<string, string>;
  /** Of a user of the account, who may not publish to `denied`. */
  jwt: string;
  seedKey: string;
}

export function natsLogin(denied: string): NatsLogin {
  const operator = nkeys.createOperator();
  const account = nkeys.createAccount();
  const system = nkeys.createAccount();
  const user = nkeys.createUser();
  const everything = { subs: -1, conn: -1, data: -1, payload: -1, imports: -1, exports: -1, leaf: -1 };
  const streams = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const limits = { ...everything, ...streams, wildcards: true };
  const accountToken = token(operator, account, { type: "account", limits });
  const systemToken = token(operator, system, {
    type: "account",
    limits: { ...everything, wildcards: true },
  });
  return {
    server: {
      operator: token(operator, operator, { type: "operator" }),
      system_account: system.getPublicKey(),
      resolver: "MEMORY",
      resolver_preload: `{ ${account.getPublicKey()}: ${accountToken}, ${system.getPublicKey()}: ${systemToken} }`,
    },
    jwt: token(account, user, {
      ...{ type: "user", pub: { deny: [denied] }, sub: {} },
      ...{ subs: -1, data: -1, payload: -1 },
    }),
    seedKey: Buffer.from(user.getSeed()).toString(),
  };
}

/** A JWT of NATS: `issuer` says who `subject` is. */
function token(issuer: KeyPair, subject: KeyPair, nats: object): string {
  const claims = {
    ...{ jti: crypto.randomUUID(), iat: Math.trunc(Date.now() / 1000) - 60, name: "test" },
    ...{ iss: issuer.getPublicKey(), sub: subject.getPublicKey(), nats: { ...nats, version: 2 } },
  };
  const text = [{ typ: "JWT", alg: "ed25519-nkey" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString("base64url")}`;
}

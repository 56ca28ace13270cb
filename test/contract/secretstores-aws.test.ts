import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { PutParameterCommand, SSMClient } from "@aws-sdk/client-ssm";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import parameterstore from "../../src/components/secretstores/aws.parameterstore.ts";
import secretmanager from "../../src/components/secretstores/aws.secretmanager.ts";
import { signalTree } from "../signal-tree.ts";
import { componentHost } from "./component-host.ts";
import { startMoto, type TestMoto } from "./moto.ts";
import { secretStoreContract } from "./secret-store.ts";

const secrets = { conftestsecret: "abcd", secondsecret: "efgh" };
const many = Array.from({ length: 60 }, (_, index) => `many-${index}`);
let server: TestMoto;
beforeAll(async () => {
  server = await startMoto();
  const manager = new SecretsManagerClient(server.client);
  const ssm = new SSMClient(server.client);
  for (const [Name, SecretString] of Object.entries(secrets)) {
    await manager.send(new CreateSecretCommand({ Name, SecretString }));
    const put = { Name: `/app/${Name}`, Value: SecretString, Type: "SecureString" as const };
    await ssm.send(new PutParameterCommand(put));
  }
  for (const Name of many) await ssm.send(new PutParameterCommand({ Name, Value: "x", Type: "String" }));
  const pair = { Name: "pair", SecretString: '{"user":"u","age":7}' };
  await manager.send(new CreateSecretCommand(pair));
}, 120_000);
afterAll(() => server.stop());

const openManager = (items: Record<string, string> = {}) =>
  secretmanager.open(server.options(secretmanager, items), componentHost());
const openParameters = (items: Record<string, string> = {}) =>
  parameterstore.open(server.options(parameterstore, items), componentHost());

secretStoreContract("secretstores.aws.secretmanager", { answersUnknown: false }, async () => {
  const opened = await openManager();
  return { secrets: opened, close: () => opened.close() };
});
secretStoreContract("secretstores.aws.parameterstore", { answersUnknown: false }, async () => {
  const opened = await openParameters({ prefix: "/app/" });
  return { secrets: opened, close: () => opened.close() };
});

describe("secret stores of AWS", () => {
  test("give the values of a secret that is an object, when asked to", async () => {
    const plain = await openManager();
    expect(await plain.get("pair", {})).toEqual({ pair: '{"user":"u","age":7}' });
    const several = await openManager({ multipleKeyValuesPerSecret: "true" });
    expect(await several.get("pair", {})).toEqual({ user: "u", age: "7" });
    expect(await several.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
    await Promise.all([plain.close(), several.close()]);
  });

  test("give a version by its number, and parameters of many pages", async () => {
    const parameters = await openParameters();
    const put = { Name: "/app/secondsecret", Value: "new", Type: "SecureString" as const, Overwrite: true };
    await new SSMClient(server.client).send(
      new PutParameterCommand({ ...put, Name: "turned", Value: "old" }),
    );
    await new SSMClient(server.client).send(new PutParameterCommand({ ...put, Name: "turned" }));
    expect(await parameters.get("turned", {})).toEqual({ turned: "new" });
    expect(await parameters.get("turned", { version_id: "1" })).toEqual({ turned: "old" });
    expect(Object.keys(await parameters.bulkGet({}))).toEqual(expect.arrayContaining(many));
    await parameters.close();
  });

  test("end in time when the server is frozen, and go on when it is back", async () => {
    for (const store of [
      await openManager({ timeout: "300ms" }),
      await openParameters({ timeout: "300ms" }),
    ]) {
      signalTree(server.server.pid, "STOP");
      const error = await store.get("conftestsecret", {}).catch((e) => e);
      signalTree(server.server.pid, "CONT");
      expect(error).toBeInstanceOf(ServerUnavailable);
      await store.close();
    }
    const after = await openManager();
    expect(await after.get("conftestsecret", {})).toEqual({ conftestsecret: "abcd" });
    await after.close();
  });

  test("say what is wrong with their metadata", async () => {
    const half = await Promise.resolve()
      .then(() => openParameters({ accessKey: "" }))
      .catch((e) => e);
    expect(half.message).toContain("accessKey and secretKey need each other");
    const role = await Promise.resolve()
      .then(() => openManager({ trustAnchorArn: "a" }))
      .catch((e) => e);
    expect(role.message).toContain("trustAnchorArn");
  });
});

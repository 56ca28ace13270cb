import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import env from "../../src/components/secretstores/local.env.ts";
import file from "../../src/components/secretstores/local.file.ts";
import { secretsByDefault } from "../../src/engine/defaults/secrets.ts";
import { componentHost, temporaryFolder } from "./component-host.ts";
import { secretStoreContract } from "./secret-store.ts";

const expected = { conftestsecret: "abcd", secondsecret: "efgh" };

// Dapr's local.env answers an unknown name with an empty value.
secretStoreContract("secretstores.local.env", { answersUnknown: true }, async () => {
  const secrets = await env.open({ prefix: "" }, componentHost({ env: expected }));
  return { secrets, close: () => secrets.close() };
});

secretStoreContract("secretstores.local.file", { answersUnknown: false }, async () => {
  const folder = await temporaryFolder();
  const secretsFile = join(folder.path, "secrets.json");
  await writeFile(secretsFile, JSON.stringify(expected));
  const options = { secretsFile, nestedSeparator: ":", multiValued: false };
  return { secrets: await file.open(options, componentHost()), close: folder.remove };
});

secretStoreContract("secretstores.mecha", { answersUnknown: false }, async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder.path, "secrets.yaml"), "conftestsecret: abcd\n");
  const options = {
    secretsFile: undefined,
    nestedSeparator: ":",
    multiValued: false,
    envPrefix: "MECHA_SECRET_",
  };
  const host = componentHost({ env: { MECHA_SECRET_secondsecret: "efgh", PATH: "/bin" } });
  const secrets = await secretsByDefault({ secretFolders: [folder.path] }).open(options, host);
  return { secrets, close: folder.remove };
});

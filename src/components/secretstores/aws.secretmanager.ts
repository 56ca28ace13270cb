import type { GetSecretValueCommandOutput, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { component } from "../../component/component.ts";
import { flag } from "../../component/fields.ts";
import type { SecretStore } from "../../component/secret-store.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";
import { noSecret, secretsOfPages } from "../clients/aws-secrets.ts";

type Sdk = typeof import("@aws-sdk/client-secrets-manager");
type Secret = Record<string, string>;

export default component({
  type: "secretstores.aws.secretmanager",
  version: "v1",
  status: "beta",
  summary: "Secrets of AWS Secrets Manager",
  package: "@aws-sdk/client-secrets-manager",
  metadata: {
    ...awsFields,
    multipleKeyValuesPerSecret: flag({
      description: "a secret that is a JSON object has the values of its keys",
      default: false,
    }),
  },
  async open(options, host): Promise<SecretStore> {
    const sdk = await import("@aws-sdk/client-secrets-manager");
    const client = new sdk.SecretsManagerClient(clientOptionsOf(options));
    const link = new AwsLink("secrets manager", client, options, host);
    return new SecretManager(sdk, link, options.multipleKeyValuesPerSecret);
  },
});

class SecretManager implements SecretStore {
  readonly features: SecretStore["features"];
  readonly #sdk: Sdk;
  readonly #link: AwsLink<SecretsManagerClient>;
  readonly #hasMany: boolean;

  constructor(sdk: Sdk, link: AwsLink<SecretsManagerClient>, hasMany: boolean) {
    this.#sdk = sdk;
    this.#link = link;
    this.#hasMany = hasMany;
    this.features = new Set(hasMany ? (["MULTIPLE_KEY_VALUES_PER_SECRET"] as const) : []);
  }

  async get(key: string, metadata: Record<string, string>): Promise<Secret> {
    const { version_id: VersionId, version_stage: VersionStage } = metadata;
    const command = new this.#sdk.GetSecretValueCommand({
      SecretId: key,
      ...(VersionId && { VersionId }),
      ...(VersionStage && { VersionStage }),
    });
    try {
      const found = await this.#link.ask((client, options) => client.send(command, options), {
        isRead: true,
      });
      return this.#secretOf(found);
    } catch (error) {
      throw noSecret(error);
    }
  }

  bulkGet(): Promise<Record<string, Secret>> {
    const pageAt = async (NextToken: string | undefined) => {
      const command = new this.#sdk.ListSecretsCommand(NextToken === undefined ? {} : { NextToken });
      const page = await this.#link.ask((client, options) => client.send(command, options), { isRead: true });
      return { names: (page.SecretList ?? []).flatMap(({ Name }) => Name ?? []), next: page.NextToken };
    };
    return secretsOfPages("secrets", pageAt, (name) => this.get(name, {}));
  }

  async ping(): Promise<void> {
    const command = new this.#sdk.ListSecretsCommand({ MaxResults: 1 });
    await this.#link.ask((client, options) => client.send(command, options), { isRead: true });
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  /** Bytes are nothing that an app could ask for, as in Dapr. */
  #secretOf({ Name = "", SecretString }: GetSecretValueCommandOutput): Secret {
    if (SecretString === undefined) return {};
    return (this.#hasMany && valuesOf(SecretString)) || { [Name]: SecretString };
  }
}

function valuesOf(text: string): Secret | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return undefined;
    const entries = Object.entries(parsed);
    return Object.fromEntries(
      entries.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    );
  } catch {
    return undefined;
  }
}

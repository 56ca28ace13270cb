import type { SSMClient } from "@aws-sdk/client-ssm";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { SecretStore } from "../../component/secret-store.ts";
import { AwsLink, clientOptionsOf } from "../clients/aws.ts";
import { awsFields } from "../clients/aws-fields.ts";
import { noSecret, secretsOfPages } from "../clients/aws-secrets.ts";

type Sdk = typeof import("@aws-sdk/client-ssm");
type Secret = Record<string, string>;

export default component({
  type: "secretstores.aws.parameterstore",
  version: "v1",
  status: "alpha",
  summary: "Parameters of AWS Systems Manager, decrypted",
  package: "@aws-sdk/client-ssm",
  metadata: {
    ...awsFields,
    prefix: text({ description: "before the name of each parameter; apps do not see it", default: "" }),
  },
  async open(options, host): Promise<SecretStore> {
    const sdk = await import("@aws-sdk/client-ssm");
    const client = new sdk.SSMClient(clientOptionsOf(options));
    return new ParameterStore(sdk, new AwsLink("parameter store", client, options, host), options.prefix);
  },
});

class ParameterStore implements SecretStore {
  readonly features: SecretStore["features"] = new Set();
  readonly #sdk: Sdk;
  readonly #link: AwsLink<SSMClient>;
  readonly #prefix: string;

  constructor(sdk: Sdk, link: AwsLink<SSMClient>, prefix: string) {
    this.#sdk = sdk;
    this.#link = link;
    this.#prefix = prefix;
  }

  async get(key: string, { version_id: version }: Record<string, string>): Promise<Secret> {
    const Name = this.#prefix + (version ? `${key}:${version}` : key);
    const command = new this.#sdk.GetParameterCommand({ Name, WithDecryption: true });
    try {
      const found = await this.#link.ask((client, options) => client.send(command, options), {
        isRead: true,
      });
      const value = found.Parameter?.Value;
      return value === undefined ? {} : { [key]: value };
    } catch (error) {
      throw noSecret(error);
    }
  }

  bulkGet(): Promise<Record<string, Secret>> {
    const mine = { Key: "Name", Option: "BeginsWith", Values: [this.#prefix] };
    const pageAt = async (NextToken: string | undefined) => {
      const command = new this.#sdk.DescribeParametersCommand({
        ...(this.#prefix !== "" && { ParameterFilters: [mine] }),
        ...(NextToken !== undefined && { NextToken }),
      });
      const page = await this.#link.ask((client, options) => client.send(command, options), { isRead: true });
      const names = (page.Parameters ?? []).flatMap(({ Name }) => Name?.slice(this.#prefix.length) ?? []);
      return { names, next: page.NextToken };
    };
    return secretsOfPages("parameters", pageAt, (name) => this.get(name, {}));
  }

  async ping(): Promise<void> {
    const command = new this.#sdk.DescribeParametersCommand({ MaxResults: 1 });
    await this.#link.ask((client, options) => client.send(command, options), { isRead: true });
  }

  async close(): Promise<void> {
    await this.#link.close();
  }
}

import { duration, text } from "../../component/fields.ts";

const profile = "only accessKey and secretKey, or what the AWS SDK finds by itself, are used";

/** What every component of AWS takes. */
export const awsFields = {
  region: text({ description: "by default as the AWS SDK finds it", aliases: ["awsRegion"] }),
  endpoint: text({ description: "url of another server that speaks AWS" }),
  accessKey: text({ description: "id of the key; by default the AWS SDK's own chain", sensitive: true }),
  secretKey: text({ description: "secret of the key", sensitive: true }),
  sessionToken: text({ description: "of temporary credentials", sensitive: true }),
  timeout: duration({
    description: "longest wait for an answer",
    default: 10_000,
    min: 100,
    max: 600_000,
  }),
  assumeRoleArn: text({ description: "role to take", missing: profile }),
  sessionName: text({ description: "name of a session in a role", missing: profile }),
  trustAnchorArn: text({ description: "of IAM Roles Anywhere", missing: profile }),
  trustProfileArn: text({ description: "of IAM Roles Anywhere", missing: profile }),
};

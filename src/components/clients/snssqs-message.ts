import type { IncomingMessage, OutgoingMessage } from "../../component/pubsub.ts";

/** What of a message SNS has no place for, as JSON in one attribute; Dapr does not look at it. */
const attributeName = "mecha";

interface Rest {
  contentType?: string;
  metadata?: Record<string, string>;
  /** The text is base64, behind a letter: SNS takes no empty text. */
  isBase64?: boolean;
}

interface Attribute {
  DataType: string;
  StringValue: string;
}

/** As Dapr: the data are the text. What is no text for AWS is base64. */
export function outgoingOf({ data, contentType, metadata }: OutgoingMessage): {
  Message: string;
  MessageAttributes: Record<string, Attribute>;
} {
  const text = textOf(data);
  const rest: Rest = {
    ...(contentType !== "" && { contentType }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
    ...(text === undefined && { isBase64: true }),
  };
  const attribute = { DataType: "String", StringValue: JSON.stringify(rest) };
  return {
    Message: text ?? `=${Buffer.from(data).toString("base64")}`,
    MessageAttributes: { [attributeName]: attribute },
  };
}

/** The envelope that SNS puts round a message; `topicName` is its name at AWS. */
export function incomingOf(body: string): Omit<IncomingMessage, "topic"> & { topicName: string } {
  const { Message, TopicArn, MessageAttributes } = JSON.parse(body) as {
    Message?: string;
    TopicArn?: string;
    MessageAttributes?: Record<string, { Value?: string } | undefined>;
  };
  if (typeof Message !== "string" || typeof TopicArn !== "string") throw new Error("it is not SNS'");
  const rest = JSON.parse(MessageAttributes?.[attributeName]?.Value ?? "{}") as Rest;
  return {
    topicName: TopicArn.slice(TopicArn.lastIndexOf(":") + 1),
    data: rest.isBase64 ? Buffer.from(Message.slice(1), "base64") : Buffer.from(Message),
    contentType: rest.contentType ?? "",
    metadata: rest.metadata ?? {},
  };
}

/** `undefined`: AWS would not take it as it is. */
function textOf(data: Uint8Array): string | undefined {
  if (data.length === 0) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what AWS refuses
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

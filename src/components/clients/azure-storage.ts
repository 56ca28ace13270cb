import { duration, text } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { isUnreachable } from "../../component/unreachable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Clock } from "../../edges/clock.ts";
import { messageOf } from "../../kit/message-of.ts";

const noEntra = "only accountKey and connection strings are known";

/** What every component on Azure Storage takes. */
export const azureStorageFields = {
  accountKey: text({
    description: "the account's key",
    aliases: ["accessKey", "storageAccessKey", "storageAccountKey"],
    sensitive: true,
  }),
  azureTenantId: text({ description: "tenant of Entra ID", aliases: ["spnTenantId"], missing: noEntra }),
  azureClientId: text({ description: "client of Entra ID", aliases: ["spnClientId"], missing: noEntra }),
  azureClientSecret: text({
    description: "its secret",
    aliases: ["spnClientSecret"],
    sensitive: true,
    missing: noEntra,
  }),
  azureCertificate: text({ description: "its certificate", sensitive: true, missing: noEntra }),
  azureCertificateFile: text({ description: "the same in a file", missing: noEntra }),
  azureEnvironment: text({ description: "cloud of Azure", missing: "name it by the endpoint" }),
  timeout: duration({
    description: "longest wait for an operation with its tries",
    default: 30_000,
    min: 100,
    max: 3_600_000,
  }),
};

export const accountName = {
  description: "the storage account",
  aliases: ["storageAccount", "storageAccountName"],
} as const;

/** `https://ACCOUNT.SERVICE.core.windows.net`, or ENDPOINT/ACCOUNT, as of an emulator. */
export function serviceUrl(service: "blob" | "queue", account: string, endpoint: string | undefined): string {
  if (!endpoint) return `https://${account}.${service}.core.windows.net`;
  if (!/^https?:\/\//i.test(endpoint) || URL.parse(endpoint) === null)
    throw new Error(`the endpoint ${JSON.stringify(endpoint)} is no address: write http://… or https://…`);
  return `${endpoint.replace(/\/+$/, "")}/${account}`;
}

interface AzureCall<T> {
  clock: Clock;
  timeoutMs: number;
  /** For messages. */
  where: string;
  /** Nothing is changed by it: without an answer it is not done. */
  isRead: boolean;
  work(signal: AbortSignal): Promise<T>;
}

/** Rejects with `ServerUnavailable` when there is no answer in time; a no of the service is given as it is. */
export async function askAzure<T>({ clock, timeoutMs, where, isRead, work }: AzureCall<T>): Promise<T> {
  const late = new AbortController();
  try {
    return await withinTime(clock, timeoutMs, work(late.signal), () => late.abort());
  } catch (error) {
    if (!isUnanswered(error)) throw error;
    const outcome = isRead || /ECONNREFUSED|ENOTFOUND/.test(messageOf(error)) ? "undone" : "unknown";
    throw new ServerUnavailable(`${where}: ${messageOf(error)}`, outcome, error);
  }
}

export function statusOf(error: unknown): number | undefined {
  return (error as { statusCode?: number }).statusCode;
}

const noAnswers = ["REQUEST_SEND_ERROR", "PARSE_ERROR"];

function isUnanswered(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string };
  const isBusy = [500, 502, 503, 504].includes(statusOf(error) ?? 0);
  return isBusy || name === "AbortError" || noAnswers.includes(code ?? "") || isUnreachable(error);
}

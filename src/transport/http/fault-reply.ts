import { jsonTextReply } from "../../api/reply.ts";
import type { Fault } from "../../errors.ts";
import type { HttpReply } from "../../net/http1/types.ts";

/** `{"errorCode", "message", "details"?}`; details only of rich errors (dapr-api.md §2). */
export function faultReply(fault: Fault): HttpReply {
  const body: Record<string, unknown> = { errorCode: fault.code, message: fault.message };
  if (fault.rich) body.details = detailsOf(fault);
  const reply = jsonTextReply(JSON.stringify(body), fault.http);
  const { headers } = fault.options;
  return headers === undefined ? reply : { ...reply, headers: [...headers, ...reply.headers] };
}

function detailsOf(fault: Fault): object[] {
  const { metadata, resource, violations, help } = fault.options;
  const details: object[] = [
    { "@type": typeUrl("ErrorInfo"), reason: fault.reason, domain: "dapr.io", metadata: metadata ?? {} },
  ];
  if (resource !== undefined) {
    details.push({
      "@type": typeUrl("ResourceInfo"),
      resource_type: resource.type,
      resource_name: resource.name,
      owner: "",
      description: resource.type === "pubsub" ? fault.message : "",
    });
  }
  if (violations !== undefined) {
    details.push({ "@type": typeUrl("BadRequest"), field_violations: violations });
  }
  if (help !== undefined) details.push({ "@type": typeUrl("Help"), links: [help] });
  return details;
}

function typeUrl(message: string): string {
  return `type.googleapis.com/google.rpc.${message}`;
}

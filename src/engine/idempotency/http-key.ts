import type { InboundHttpCall } from "../../app/channel.ts";
import type { IdempotencySpec } from "../../resource/resource.ts";
import { digest, jsonOf, recordKey } from "./key.ts";
import { headerOf } from "./reply-body.ts";
import type { SpaceOf } from "./spaces.ts";

export interface KeyParts {
  call: InboundHttpCall;
  key: string;
  body: Uint8Array;
  /** The key comes from the resource's expressions, which say all that it depends on. */
  isOwnKey: boolean;
}

/** The record of a call. A header's key belongs to its caller: another app can not ask for the reply. */
export function keyedCall(
  { call, key, body, isOwnKey }: KeyParts,
  { scope, fingerprint }: IdempotencySpec,
  spaceOf: SpaceOf,
): { space: string; key: string; print: string } {
  const caller = isOwnKey ? "" : callerOf(call);
  const owner = scope === "target" ? ["call", caller] : [scope, caller];
  const print = fingerprint === "none" ? "" : digest(call.method, call.target, body);
  return { space: spaceOf(scope), key: recordKey([...owner, key]), print };
}

function callerOf(call: InboundHttpCall): string {
  return `${headerOf(call, "dapr-caller-namespace") ?? ""}/${headerOf(call, "dapr-caller-app-id") ?? ""}`;
}

/** What expressions of a key may look at. */
export function callVariables(call: InboundHttpCall, body: Uint8Array): Record<string, unknown> {
  const { method, target, headers } = call;
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  const byName: Record<string, string> = {};
  for (let i = 0; i + 1 < headers.length; i += 2) {
    byName[(headers[i] as string).toLowerCase()] = headers[i + 1] as string;
  }
  return {
    request: {
      method,
      path,
      query: Object.fromEntries(new URLSearchParams(query)),
      headers: byName,
      caller: headerOf(call, "dapr-caller-app-id") ?? "",
      body: jsonOf(body),
    },
  };
}

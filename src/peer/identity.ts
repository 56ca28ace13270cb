import net from "node:net";
import os from "node:os";

/** An app as others address it. */
export interface AppName {
  namespace: string;
  appId: string;
}

/** For messages. */
export function appText({ namespace, appId }: AppName): string {
  return `${namespace}/${appId}`;
}

/** Of apps whose Configuration names none. */
export const trustDomainDefault = "public";

/** The header lines that tell an app who calls whom. A caller's own lines of these names never pass. */
export function identityLines(caller: AppName, calleeAppId: string): string[] {
  return [
    "dapr-caller-app-id",
    caller.appId,
    "dapr-caller-namespace",
    caller.namespace,
    "dapr-callee-app-id",
    calleeAppId,
  ];
}

/** `X-Forwarded-For`, `X-Forwarded-Host` and `Forwarded` of this host (RFC 7239 wants IPv6 quoted and bracketed). */
export function forwardedLines(host: { address: string; name: string }): string[] {
  const lines: string[] = [];
  const parts: string[] = [];
  if (host.address !== "") {
    const node = net.isIPv6(host.address) ? `"[${host.address}]"` : host.address;
    lines.push("X-Forwarded-For", host.address);
    parts.push(`for=${node};by=${node}`);
  }
  if (host.name !== "") {
    lines.push("X-Forwarded-Host", host.name);
    parts.push(`host=${host.name}`);
  }
  if (parts.length > 0) lines.push("Forwarded", parts.join(";"));
  return lines;
}

/** The first outward IPv4 address of this machine, else the loopback, and its name. */
export function thisHost(): { address: string; name: string } {
  for (const addresses of Object.values(os.networkInterfaces())) {
    for (const { family, internal, address } of addresses ?? []) {
      if (!internal && family === "IPv4") return { address, name: os.hostname() };
    }
  }
  return { address: "127.0.0.1", name: os.hostname() };
}

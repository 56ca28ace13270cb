import type { RunningNode } from "../../host/node.ts";

/** Three lines at start: how long it took, where the APIs are, what is there. */
export function banner(node: RunningNode, tookMs: number, dashboard: string | undefined): string {
  let text = `mecha is ready in ${Math.round(tookMs)} ms, data in ${node.host.dataFolder}\n`;
  for (const { options, ports, scope } of node.runtimes) {
    const components = scope.components.all().map((component) => component.name);
    const socket = options.unixDomainSocket;
    const where =
      socket === ""
        ? `HTTP http://127.0.0.1:${ports.http}  gRPC 127.0.0.1:${ports.grpc}`
        : `sockets in ${socket}`;
    text += `  ${options.appId}: ${where}  components: ${components.join(", ") || "none"}\n`;
  }
  if (dashboard !== undefined) text += `  dashboard ${dashboard}\n`;
  return text;
}

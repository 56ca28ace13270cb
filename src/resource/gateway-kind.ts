import type { FieldReader } from "./field-reader.ts";
import type { GatewayListener, GatewaySpec, GatewayTls } from "./route.ts";

const listenersMax = 64;

/** Gateway API's Gateway: the ports by which requests come in from outside. */
export function readGateway(spec: FieldReader): GatewaySpec {
  // mecha is the one class there is.
  spec.text("gatewayClassName");
  for (const name of ["infrastructure", "backendTLS", "allowedListeners", "defaultScope", "tls"])
    spec.missing(name);
  const readers = spec.list("listeners");
  if (readers.length === 0) spec.fail("spec.listeners is missing", "listeners");
  if (readers.length > listenersMax) spec.fail(`there may be at most ${listenersMax} listeners`, "listeners");
  const listeners = readers.map(readListener);
  const names = listeners.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) spec.fail(`two listeners have the name ${twice}`, "listeners");
  checkPorts(spec, listeners);
  const addresses = spec.list("addresses").map((address) => {
    address.oneOf("type", ["IPAddress"], "IPAddress");
    return address.requiredText("value");
  });
  return { listeners, addresses };
}

/** A port speaks one protocol; its listeners differ by hostname. */
function checkPorts(spec: FieldReader, listeners: readonly GatewayListener[]): void {
  for (const [index, listener] of listeners.entries()) {
    const other = listeners.slice(0, index).find(({ port }) => port === listener.port);
    if (other === undefined) continue;
    if (other.protocol !== listener.protocol) {
      spec.fail(`port ${listener.port} has listeners of two protocols`, "listeners", index, "protocol");
    } else if (other.hostname === listener.hostname) {
      spec.fail(
        `listener ${listener.name} has the port and hostname of ${other.name}`,
        "listeners",
        index,
        "hostname",
      );
    }
  }
}

function readListener(listener: FieldReader): GatewayListener {
  const protocol = listener.oneOf("protocol", ["HTTP", "HTTPS"], "HTTP");
  const tls = readTls(listener);
  if (protocol === "HTTPS" && tls === undefined) listener.fail("an HTTPS listener needs tls", "protocol");
  if (protocol === "HTTP" && tls !== undefined) listener.fail("an HTTP listener has no tls", "tls");
  const allowed = listener.object("allowedRoutes");
  const namespaces = allowed?.object("namespaces");
  namespaces?.missing("selector");
  return {
    name: listener.requiredText("name"),
    hostname: listener.text("hostname").toLowerCase(),
    // 0 is chosen by the system: for tests.
    port: listener.number("port", 0, { min: 0, max: 65_535 }),
    protocol,
    tls,
    routesFrom: namespaces?.oneOf("from", ["Same", "All"], "Same") ?? "Same",
    routeKinds:
      allowed?.list("kinds").map((kind) => {
        kind.text("group");
        return kind.oneOf("kind", ["HTTPRoute", "GRPCRoute"], "HTTPRoute");
      }) ?? [],
  };
}

function readTls(listener: FieldReader): GatewayTls | undefined {
  const tls = listener.object("tls");
  if (tls === undefined) return undefined;
  tls.oneOf("mode", ["Terminate"], "Terminate");
  tls.refused("frontendValidation", () => false);
  const secrets = tls.list("certificateRefs").map((ref) => {
    ref.text("group");
    ref.oneOf("kind", ["Secret"], "Secret");
    return { name: ref.requiredText("name"), namespace: ref.text("namespace") };
  });
  const options = tls.object("options");
  const certFile = options?.text("mecha.run/tls-cert-file") ?? "";
  const keyFile = options?.text("mecha.run/tls-key-file") ?? "";
  const hasFiles = certFile !== "" && keyFile !== "";
  if ((certFile !== "") !== (keyFile !== "")) {
    tls.fail("mecha.run/tls-cert-file and mecha.run/tls-key-file go together", "options");
  }
  if (!hasFiles && secrets.length === 0) tls.fail("certificateRefs is missing", "certificateRefs");
  if (secrets.length > 1) tls.fail("more than one certificate is not implemented", "certificateRefs", 1);
  return { secrets, certFile, keyFile };
}

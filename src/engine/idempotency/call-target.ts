/** Where an effect's call goes, as the invoker knows it: `app://orders/v1/charge`, `https://host/path`. */
export function parseDestination(to: string, fault: (why: string) => Error): { id: string; path: string } {
  const [, scheme = "", host = "", path = ""] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]+)([^#]*)$/i.exec(to) ?? [];
  if (host === "") throw fault("must be like app://orders/path or https://host/path");
  if (!/^[\x21-\x7e]+$/.test(to)) throw fault("has characters that must be percent-encoded");
  const target = path.startsWith("/") ? path : `/${path}`;
  if (scheme === "app") return { id: host, path: target };
  if (scheme === "http" || scheme === "https") {
    if (!URL.canParse(to)) throw fault("is no URL");
    return { id: `${scheme}://${host}`, path: target };
  }
  const instead = scheme === "topic" ? "; use publish" : scheme === "state" ? "; use state" : "";
  throw fault(`a call to ${scheme}:// is not implemented${instead}`);
}

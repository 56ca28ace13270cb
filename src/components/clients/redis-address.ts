export interface RedisAddress {
  host: string;
  port: number;
}

const portDefault = 6379;

/** `host`, `host:port`, `[::1]:port`; a port of its own must not say something else. */
export function redisAddress(text: string, port: number | undefined): RedisAddress {
  const address = text.trim();
  if (address.includes(","))
    throw new Error("redisHost names several servers: a cluster is not supported yet");
  if (address.includes("://")) throw new Error("redisHost is host:port, without a scheme");
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(address);
  const host =
    match?.[1] ?? match?.[2] ?? (/^[\da-f:]*:[\da-f:]*:[\da-f:.]*$/i.test(address) ? address : undefined);
  const own = match?.[3] === undefined ? undefined : Number(match[3]);
  if (host === undefined || own === 0 || (own ?? 0) > 65_535) {
    throw new Error(`redisHost must be host:port, got ${JSON.stringify(text)}`);
  }
  if (own !== undefined && port !== undefined && own !== port) {
    throw new Error(`redisHost already has the port ${own}, but redisPort is ${port}: leave one of them out`);
  }
  return { host, port: own ?? port ?? portDefault };
}

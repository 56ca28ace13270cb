/** What a `nameresolution.*` component opens into: how runtimes find each other, named in the Configuration. */
export interface NameResolver {
  /** For so long what was found may be used without asking again. */
  readonly freshMs: number;
  /** Whether runtimes of other machines are found: this one then has to be reachable for them. */
  readonly reach: "machine" | "network";
  /** Tells others of a runtime, until it is taken back. Absent: others know where it is by other means. */
  announce?(self: AnnouncedRuntime): Promise<Announcement>;
  /** Where the app's runtimes are; none: nobody knows it. Rejects when that can not be told. */
  find(app: WantedApp): Promise<readonly FoundAddress[]>;
  close(): Promise<void>;
}

export interface AnnouncedRuntime {
  appId: string;
  namespace: string;
  /** Where others reach it, and its ports: for peers, of the HTTP API, and of the app (0: none). */
  host: string;
  port: number;
  httpPort: number;
  appPort: number;
}

export interface Announcement {
  close(): Promise<void>;
}

export interface WantedApp {
  appId: string;
  namespace: string;
  /** The caller's own port for peers: where nothing says another, all have the same. */
  port: number;
}

export interface FoundAddress {
  host: string;
  port: number;
  /** By the wall clock; absent: as long as it is found. */
  expiresAtMs?: number;
}

/** Reads `host`, `host:port`, `[address]:port` and bare IPv6 addresses. Throws on anything else. */
export function parseAddress(text: string, portDefault: number): FoundAddress {
  const isBareIpv6 = /^[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*$/i.test(text);
  const [, bracketed, plain, portText] = isBareIpv6
    ? ["", text]
    : (/^(?:\[([0-9a-f:.]+)\]|([^\s[\]:/]+))(?::(\d{1,5}))?$/i.exec(text) ?? []);
  const host = bracketed ?? plain ?? "";
  const port = portText === undefined ? portDefault : Number(portText);
  if (host === "" || port < 1 || port > 65_535) throw new Error(`${JSON.stringify(text)} is no host:port`);
  return { host, port };
}

/** As in a host name: what is put into one may not lead anywhere else. */
export function isNamePart(text: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$/.test(text);
}

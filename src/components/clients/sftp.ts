import type SftpClient from "ssh2-sftp-client";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { isUnreachable } from "../../component/unreachable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Clock } from "../../edges/clock.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { HostKey } from "./known-hosts.ts";

export interface SftpSettings {
  host: string;
  port: number;
  username: string;
  password: string | undefined;
  privateKey: string | undefined;
  privateKeyPassphrase: string | undefined;
  /** `undefined`: any key of the server is taken. */
  hostKeys: HostKey[] | undefined;
  /** For a connection, and for each piece of work. */
  timeoutMs: number;
  /** Pieces of work at once. */
  atOnceMax: number;
  clock: Clock;
}

interface Session {
  client: SftpClient;
  lost: PromiseWithResolvers<never>;
  isLost: boolean;
}

const waitingMax = 1_000;
const keepaliveMs = 5_000;

/** One SSH connection that is made anew when it was lost. Nothing is sent twice. */
export class SftpLink {
  readonly #settings: SftpSettings;
  readonly #where: string;
  readonly #waiting: (() => void)[] = [];
  #session: Promise<Session> | undefined;
  #atWork = 0;
  #isClosed = false;

  private constructor(settings: SftpSettings) {
    this.#settings = settings;
    this.#where = `sftp at ${settings.host}:${settings.port}`;
  }

  /** Connects, or rejects with the reason. */
  static async open(settings: SftpSettings): Promise<SftpLink> {
    const link = new SftpLink(settings);
    await link.#connected();
    return link;
  }

  /** Rejects with `ServerUnavailable` when there is no connection or no answer; a no of the server is given as it is. */
  async run<T>(isRead: boolean, work: (client: SftpClient) => Promise<T>): Promise<T> {
    await this.#turn();
    try {
      const session = await this.#connected();
      return await this.#work(session, isRead, work);
    } finally {
      this.#atWork--;
      this.#waiting.shift()?.();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const session = await this.#session?.catch(() => undefined);
    if (session !== undefined) this.#drop(session, "the binding is closed");
  }

  async #turn(): Promise<void> {
    if (this.#waiting.length >= waitingMax)
      throw new ServerUnavailable(`${this.#where}: too many requests wait already`, "undone");
    if (this.#atWork >= this.#settings.atOnceMax)
      await new Promise<void>((turn) => void this.#waiting.push(turn));
    this.#atWork++;
  }

  async #work<T>(session: Session, isRead: boolean, work: (client: SftpClient) => Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#settings;
    const working = Promise.race([work(session.client), session.lost.promise]);
    try {
      return await withinTime(clock, timeoutMs, working, () => this.#drop(session, "no answer in time"));
    } catch (error) {
      if (!session.isLost && !isCut(error)) throw error;
      this.#drop(session, messageOf(error));
      throw new ServerUnavailable(
        `${this.#where}: ${messageOf(error)}`,
        isRead ? "undone" : "unknown",
        error,
      );
    }
  }

  #connected(): Promise<Session> {
    if (this.#isClosed) return Promise.reject(new Error(`${this.#where}: the binding is closed`));
    if (this.#session === undefined) {
      const connecting = this.#connect();
      this.#session = connecting;
      connecting.catch(() => {
        if (this.#session === connecting) this.#session = undefined;
      });
    }
    return this.#session;
  }

  async #connect(): Promise<Session> {
    const { default: Client } = await import("ssh2-sftp-client");
    const { host, port, username, password, privateKey, privateKeyPassphrase, ...rest } = this.#settings;
    const { hostKeys, timeoutMs, clock } = rest;
    const refused: string[] = [];
    const lose = (why: string): void => this.#drop(session, why);
    const client = new Client("mecha", {
      error: (error) => lose(messageOf(error)),
      end: () => lose("the connection was lost"),
      close: () => lose("the connection was lost"),
    });
    const session: Session = { client, lost: Promise.withResolvers<never>(), isLost: false };
    session.lost.promise.catch(() => undefined);
    const connecting = client.connect({
      ...{ host, port, username, retries: 0, readyTimeout: timeoutMs },
      ...{ keepaliveInterval: keepaliveMs, keepaliveCountMax: 2 },
      ...(password && { password }),
      ...(privateKey && { privateKey }),
      ...(privateKeyPassphrase && { passphrase: privateKeyPassphrase }),
      ...(hostKeys && { algorithms: { serverHostKey: algorithmsOf(hostKeys) } }),
      hostVerifier: (key: Buffer) => {
        const isKnown = hostKeys === undefined || hostKeys.some(({ blob }) => blob.equals(key));
        if (!isKnown) refused.push("its host key is not the known one");
        return isKnown;
      },
    });
    try {
      await withinTime(clock, timeoutMs, Promise.race([connecting, session.lost.promise]));
    } catch (error) {
      connecting.catch(() => undefined);
      lose(messageOf(error));
      const why = `${this.#where}: ${refused[0] ?? messageOf(error)}`;
      if (refused.length > 0 || isRefusal(error)) throw new Error(why, { cause: error });
      throw new ServerUnavailable(why, "undone", error);
    }
    return session;
  }

  #drop(session: Session, why: string): void {
    if (session.isLost) return;
    session.isLost = true;
    void this.#session?.then(
      (current) => {
        if (current === session) this.#session = undefined;
      },
      () => undefined,
    );
    session.lost.reject(new Error(why));
    // What is under it ends at once; its own `end` waits for the server.
    (session.client as unknown as { client: { destroy(): void } }).client.destroy();
  }
}

/** RSA keys sign in newer ways than their type says. */
function algorithmsOf(keys: HostKey[]): never[] {
  const types = new Set(
    keys.flatMap(({ type }) => (type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type])),
  );
  return [...types] as never[];
}

function isCut(error: unknown): boolean {
  const cut =
    /no response from server|not connected|no sftp connection|end event|close event|connection lost/i;
  return isUnreachable(error) || cut.test(messageOf(error));
}

/** Trying again does not help. */
function isRefusal(error: unknown): boolean {
  return /authentication methods failed|privateKey|passphrase|no matching|unsupported algorithm/i.test(
    messageOf(error),
  );
}

import type { Clock, ClockTimer } from "../edges/clock.ts";
import type { Edges } from "../edges/edges.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { RuntimeOptions } from "./options.ts";

/** The tokens of one runtime as they are now: those of files change while it runs. */
export interface Tokens {
  /** What callers may present; none: everybody is let in. The first is handed out. */
  readonly api: readonly string[];
  /** What the app is shown. */
  readonly app: string | undefined;
  close(): void;
}

const lookEveryMs = 500;
/** What a header carries as it is. */
const tokenText = /^[\x21-\x7e]+$/;

export interface TokenParts {
  edges: Pick<Edges, "clock" | "files">;
  log: Log;
}

/** Rejects when a file that was named holds no token: an API would be open that was to be closed. */
export async function openTokens(
  { apiToken, apiTokenFile, appToken, appTokenFile }: RuntimeOptions,
  parts: TokenParts,
): Promise<Tokens> {
  const fixed = apiToken === undefined ? [] : [apiToken];
  const api = await openFile(apiTokenFile, parts);
  const app = await openFile(appTokenFile, parts);
  return {
    get api() {
      return api?.tokens ?? fixed;
    },
    get app() {
      return app === undefined ? appToken : app.tokens[0];
    },
    close() {
      api?.close();
      app?.close();
    },
  };
}

/** What runtimes prove themselves with where they share no registry: the first is used, all are accepted. */
export interface PeerSecrets {
  readonly all: readonly string[];
  close(): void;
}

/** Whoever hears a proof may try texts against it for as long as they like. */
const secretCharsMin = 16;

/** `undefined`: there is none. */
export async function openPeerSecrets(
  { peerToken, peerTokenFile }: Pick<RuntimeOptions, "peerToken" | "peerTokenFile">,
  parts: TokenParts,
): Promise<PeerSecrets | undefined> {
  const file = await openFile(peerTokenFile, parts);
  if (file === undefined && peerToken === undefined) return undefined;
  const fixed = peerToken === undefined ? [] : [peerToken];
  if ((file?.tokens ?? fixed).some(({ length }) => length < secretCharsMin)) {
    file?.close();
    throw new Error(
      `the peer token (MECHA_PEER_TOKEN, --peer-token-file) has less than ${secretCharsMin} characters: make one with openssl rand -base64 32`,
    );
  }
  return {
    get all() {
      return file?.tokens.filter(({ length }) => length >= secretCharsMin) ?? fixed;
    },
    close: () => file?.close(),
  };
}

async function openFile(path: string | undefined, parts: TokenParts): Promise<TokenFile | undefined> {
  if (path === undefined) return undefined;
  const file = new TokenFile(path, parts);
  await file.open();
  return file;
}

/** One token a line. A changed file counts when two looks found the same, so that nobody reads half of it. */
class TokenFile {
  tokens: readonly string[] = [];
  readonly #path: string;
  readonly #files: Edges["files"];
  readonly #clock: Clock;
  readonly #log: Log;
  #timer: ClockTimer | undefined;
  #isClosed = false;
  #used = "";
  #seen = "";

  constructor(path: string, { edges: { clock, files }, log }: TokenParts) {
    this.#path = path;
    this.#files = files;
    this.#clock = clock;
    this.#log = log;
  }

  async open(): Promise<void> {
    this.#used = await this.#read();
    this.#seen = this.#used;
    this.tokens = tokensOf(this.#used, this.#path);
    this.#lookLater();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    const look = (): void => void this.#look().then(() => this.#lookLater());
    this.#timer = this.#clock.setTimer(lookEveryMs, look, { background: true });
  }

  async #look(): Promise<void> {
    const text = await this.#read().catch((error: Error) => `\n${error.message}`);
    const isSettled = text === this.#seen;
    this.#seen = text;
    if (!isSettled || text === this.#used) return;
    this.#used = text;
    try {
      this.tokens = tokensOf(text, this.#path);
      this.#log.info({}, `the tokens of ${this.#path} have changed: ${this.tokens.length}`);
    } catch (error) {
      this.#log.error({}, `${(error as Error).message}; the tokens from before stay`);
    }
  }

  async #read(): Promise<string> {
    return Buffer.from(await this.#files.read(this.#path)).toString("utf8");
  }
}

/** Never names a token, not even a wrong one. */
function tokensOf(text: string, path: string): string[] {
  const tokens: string[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const token = line.trim();
    if (token === "") continue;
    if (!tokenText.test(token)) {
      throw new Error(`${path}:${index + 1}: a token is printable ASCII without spaces, one a line`);
    }
    tokens.push(token);
  }
  if (tokens.length === 0) throw new Error(`${path} holds no token: write one a line`);
  return tokens;
}

import type { RawHeaders } from "../net/http1/types.ts";

/** Fields of one connection (RFC 9110 §7.6.1) as Dapr lists them; `Connection` itself has a rule of its own. */
export const hopByHopHeaders: readonly string[] = [
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "te",
  "trailer",
  "proxy-authorization",
  "proxy-authenticate",
];

/** The HTTP client frames the message anew and names the host it calls. */
const framingHeaders = ["host", "content-length", "expect"];
/** Made anew from the span of this hop. */
const traceHeaders = ["traceparent", "tracestate", "grpc-trace-bin"];
/** How the caller addressed mecha: nothing the callee may take for the truth, or should get to know. */
const addressingHeaders = [
  "dapr-app-id",
  "dapr-api-token",
  "destination-app-id",
  "dapr-caller-app-id",
  "dapr-caller-namespace",
  "dapr-callee-app-id",
];

const pass = 0;
const drop = 1;
const connection = 2;
const authorization = 3;

/** Different spellings of names learned per rule set; names come from outside. */
const spellingsMax = 1000;
/** The first 12 bytes, in Base64, of the user `dapr-app-id:` that addresses an app by basic authentication. */
const basicAddress = "ZGFwci1hcHAtaWQ6";

/** Which header lines pass a hop: one walk over the flat list, no object per header. */
export class HeaderRules {
  readonly #rules = new Map<string, number>();
  #spellingsLeft = spellingsMax;

  constructor(dropped: readonly string[]) {
    for (const name of dropped) this.#rules.set(name, drop);
    this.#rules.set("connection", connection);
    this.#rules.set("authorization", authorization);
  }

  /** A new list of the lines that pass. */
  copy(raw: RawHeaders): RawHeaders {
    const kept: RawHeaders = [];
    let named: Set<string> | undefined;
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const name = raw[i] as string;
      const value = raw[i + 1] as string;
      const rule = this.#rules.get(name) ?? this.#learn(name);
      if (rule === pass) kept.push(name, value);
      else if (rule === connection) named = addNamed(named, value);
      else if (rule === authorization && !isAddress(value)) kept.push(name, value);
    }
    return named === undefined ? kept : withoutNamed(kept, named);
  }

  #learn(name: string): number {
    const lowerName = name.toLowerCase();
    const rule = this.#rules.get(lowerName) ?? (lowerName.startsWith("mecha-") ? drop : pass);
    if (this.#spellingsLeft > 0) {
      this.#spellingsLeft--;
      this.#rules.set(name, rule);
    }
    return rule;
  }
}

/** From an app's request to the app, peer or outside server it calls. */
export const callerRules = new HeaderRules([
  ...hopByHopHeaders,
  ...framingHeaders,
  ...traceHeaders,
  ...addressingHeaders,
]);

/** From a peer's request to the app: the caller's mecha has set identity and forwarding headers already. */
export const peerRules = new HeaderRules([
  ...hopByHopHeaders,
  ...framingHeaders,
  ...traceHeaders,
  "dapr-app-id",
  "dapr-api-token",
]);

/** From any answer to the caller. */
export const answerRules = new HeaderRules([...hopByHopHeaders, "content-length"]);
/** The same where the length is what the answer is about, or is relied upon. */
export const lengthKeepingRules = new HeaderRules(hopByHopHeaders);

/** The protocol a request asks to switch to, when `Connection` really names it; h2c is for one hop only. */
export function upgradeOf(header: (lowerName: string) => string | undefined): string | undefined {
  const protocol = header("upgrade");
  if (protocol === undefined || protocol.toLowerCase() === "h2c") return undefined;
  return /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(header("connection") ?? "") ? protocol : undefined;
}

/** Header lines without those of the given lower-case names. */
export function withoutNamed(raw: RawHeaders, names: ReadonlySet<string>): RawHeaders {
  const kept: RawHeaders = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!names.has(name.toLowerCase())) kept.push(name, raw[i + 1] as string);
  }
  return kept;
}

function addNamed(named: Set<string> | undefined, value: string): Set<string> | undefined {
  if (value === "keep-alive" || value === "close") return named;
  const names = named ?? new Set<string>();
  for (const token of value.split(",")) {
    const name = token.trim().toLowerCase();
    // A caller may not take away what identifies it.
    if (name !== "" && name !== "authorization") names.add(name);
  }
  return names;
}

function isAddress(value: string): boolean {
  return (
    value.length >= 22 && value.slice(0, 6).toLowerCase() === "basic " && value.startsWith(basicAddress, 6)
  );
}

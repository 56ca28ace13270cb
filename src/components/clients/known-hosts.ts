import { createHmac } from "node:crypto";

export interface HostKey {
  /** `ssh-ed25519` and the like. */
  type: string;
  blob: Buffer;
}

/** The keys that a known_hosts file (sshd(8)) has of a server, without those that are revoked. */
export function knownKeys(file: string, host: string, port: number): HostKey[] {
  const name = port === 22 ? host : `[${host}]:${port}`;
  const found: HostKey[] = [];
  const revoked: Buffer[] = [];
  for (const line of file.split("\n")) {
    const words = line.trim().split(/\s+/);
    const marker = words[0]?.startsWith("@") ? words.shift() : undefined;
    const [names = "", type = "", key = ""] = words;
    if (names.startsWith("#") || key === "" || !isNamed(names, name)) continue;
    const blob = Buffer.from(key, "base64");
    if (marker === "@revoked") revoked.push(blob);
    else if (marker === undefined) found.push({ type, blob });
  }
  return found.filter(({ blob }) => !revoked.some((one) => one.equals(blob)));
}

/** One line of authorized_keys: `ssh-ed25519 AAAA… comment`. Throws when it is none. */
export function publicKey(line: string): HostKey {
  const [type = "", key = ""] = line.trim().split(/\s+/);
  const blob = Buffer.from(key, "base64");
  const length = blob.length > 4 ? blob.readUInt32BE(0) : 0;
  if (type !== "" && blob.toString("latin1", 4, 4 + length) === type) return { type, blob };
  throw new Error("it is no line such as ssh-ed25519 AAAA…");
}

function isNamed(names: string, name: string): boolean {
  if (names.startsWith("|1|")) {
    const [, , salt = "", hash = ""] = names.split("|");
    return createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest("base64") === hash;
  }
  const patterns = names.split(",");
  const matches = (pattern: string): boolean => patternOf(pattern).test(name);
  if (patterns.some((one) => one.startsWith("!") && matches(one.slice(1)))) return false;
  return patterns.some((one) => !one.startsWith("!") && matches(one));
}

function patternOf(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\*/g, ".*").replace(/\?/g, ".")}$`, "i");
}

import { generateKeyPairSync, randomBytes } from "node:crypto";

/** Secrets that nobody else has, and all the ways to spell them that a search knows. */
export class Canaries {
  readonly #forms = new Map<string, string>();

  /** A new one; `where` says what it is the secret of. */
  text(where: string): string {
    const made = `cnry${randomBytes(15).toString("hex")}`;
    this.#watch(made, where);
    for (const form of [Buffer.from(made).toString("hex"), ...base64Forms(made)]) this.#watch(form, where);
    return made;
  }

  base64(where: string): string {
    return Buffer.from(this.text(where)).toString("base64");
  }

  /** A private key, of which each line is secret. */
  pem(where: string, type: "pkcs8" | "sec1" = "pkcs8"): string {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const pem = privateKey.export({ type, format: "pem" }) as string;
    for (const line of pem.split("\n"))
      if (!line.startsWith("-") && line.length > 20) this.#watch(line, where);
    return pem;
  }

  /** A secret that something else made. */
  watch(text: string, where: string): void {
    this.#watch(text, where);
  }

  /** What there are secrets of. */
  get places(): string[] {
    return [...new Set(this.#forms.values())];
  }

  /** Whose secret is in the text, and what stands round it. */
  hits(place: string, text: string): string[] {
    const found: string[] = [];
    for (const [form, where] of this.#forms) {
      const at = text.indexOf(form);
      if (at >= 0)
        found.push(`${where} in ${place}: ${text.slice(Math.max(0, at - 120), at + form.length + 20)}`);
    }
    return found;
  }

  #watch(form: string, where: string): void {
    this.#forms.set(form, where);
  }
}

/** As it is in base64, wherever in a text it begins: without the characters that its neighbours change. */
function base64Forms(text: string): string[] {
  return [0, 1, 2].map((before) => {
    const encoded = Buffer.from("x".repeat(before) + text)
      .toString("base64")
      .replace(/=+$/, "");
    return encoded.slice(before === 0 ? 0 : before + 1, -2);
  });
}

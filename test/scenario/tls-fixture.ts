import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Pair {
  cert: string;
  key: string;
}

export interface Authority {
  ca: string;
  /** For localhost and 127.0.0.1, as server and as client. */
  leaf: Pair;
}

/** A certificate authority and one certificate of it, made by openssl. */
export function createAuthority(name: string, subject = "/CN=localhost"): Authority {
  const folder = mkdtempSync(join(tmpdir(), "mecha-tls-"));
  const at = (file: string): string => join(folder, file);
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  try {
    openssl(
      "req",
      "-x509",
      ...curve,
      "-days",
      "2",
      "-subj",
      `/CN=${name}`,
      "-keyout",
      at("ca.key"),
      "-out",
      at("ca.pem"),
    );
    openssl("req", ...curve, "-subj", subject, "-keyout", at("leaf.key"), "-out", at("leaf.csr"));
    writeFileSync(at("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    const signer = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-extfile", at("ext")];
    openssl("x509", "-req", "-in", at("leaf.csr"), ...signer, "-days", "2", "-out", at("leaf.pem"));
    const read = (file: string): string => readFileSync(at(file), "utf8");
    return { ca: read("ca.pem"), leaf: { cert: read("leaf.pem"), key: read("leaf.key") } };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function openssl(...args: string[]): void {
  const { status, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

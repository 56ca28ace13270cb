import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate for localhost that signs itself, and another one nobody uses. */
export async function issueCertificate(): Promise<{ cert: string; key: string; other: string }> {
  const folder = await mkdtemp(join(tmpdir(), "tls-"));
  try {
    for (const name of ["own", "other"]) {
      const files = ["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.crt`)];
      const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
      const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
      const run = Bun.spawn(["openssl", "req", "-x509", "-nodes", ...kind, ...files, ...subject], {
        stderr: "pipe",
      });
      if ((await run.exited) !== 0)
        throw new Error(`openssl failed: ${await new Response(run.stderr).text()}`);
    }
    const read = (file: string): Promise<string> => readFile(join(folder, file), "utf8");
    return { cert: await read("own.crt"), key: await read("own.key"), other: await read("other.crt") };
  } finally {
    await rm(folder, { recursive: true });
  }
}

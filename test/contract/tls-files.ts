import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Authority, createAuthority } from "../scenario/tls-fixture.ts";
import { temporaryFolder } from "./component-host.ts";

export interface TlsFiles extends Authority {
  /** Options of a server's recipe: the paths of what it has to have. */
  paths: { tlsCa: string; tlsCert: string; tlsKey: string };
  remove(): Promise<void>;
}

/** An authority and a certificate for localhost, for both ends, and as files for a server. */
export async function tlsFiles(subject?: string): Promise<TlsFiles> {
  const { path, remove } = await temporaryFolder();
  const authority = createAuthority("broker", subject);
  const write = (name: string, text: string): string => {
    const file = join(path, name);
    writeFileSync(file, text);
    return file;
  };
  const { ca, leaf } = authority;
  const paths = {
    tlsCa: write("ca.pem", ca),
    tlsCert: write("leaf.pem", leaf.cert),
    tlsKey: write("leaf.key", leaf.key),
  };
  return { ...authority, paths, remove };
}

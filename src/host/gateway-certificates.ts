import { dirname, resolve } from "node:path";
import type { ReloadableComponents } from "../component/loader.ts";
import type { Edges } from "../edges/edges.ts";
import type { GatewayListener, GatewayResource } from "../resource/route.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { Certificate, TlsSockets } from "./tls-sockets.ts";

export interface CertificateParts {
  gateway: GatewayResource;
  listeners: readonly GatewayListener[];
  components: Pick<ReloadableComponents, "resolve">;
  edges: Pick<Edges, "clock" | "files">;
  log: Log;
}

const lookAtFilesMs = 500;
const lookAtSecretsMs = 30_000;

/** Keeps the certificates of a port as its files and secrets have them. */
export class GatewayCertificates {
  readonly #parts: CertificateParts;
  readonly #sockets: TlsSockets;
  #timer: { cancel(): void } | undefined;
  #used = "";
  #seen = "";
  #isClosed = false;

  constructor(parts: CertificateParts, sockets: TlsSockets) {
    this.#parts = parts;
    this.#sockets = sockets;
  }

  /** Rejects when there is no certificate that can be used. */
  async open(): Promise<void> {
    const certificates = await this.#read();
    this.#sockets.replace(certificates);
    this.#used = JSON.stringify(certificates);
    this.#seen = this.#used;
    this.#lookLater();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    const hasSecrets = this.#parts.listeners.some(({ tls }) => tls?.certFile === "");
    const look = (): void => void this.#look().then(() => this.#lookLater());
    const delayMs = hasSecrets ? lookAtSecretsMs : lookAtFilesMs;
    this.#timer = this.#parts.edges.clock.setTimer(delayMs, look, { background: true });
  }

  /** What changed counts when two looks found the same, so that nobody gets half of a file, or a key of another. */
  async #look(): Promise<void> {
    const { log, gateway } = this.#parts;
    try {
      const certificates = await this.#read();
      const text = JSON.stringify(certificates);
      const isSettled = text === this.#seen;
      this.#seen = text;
      if (!isSettled || text === this.#used) return;
      this.#used = text;
      this.#sockets.replace(certificates);
      log.info({}, `gateway ${gateway.name} has new certificates`);
    } catch (error) {
      const text = (error as Error).message;
      if (this.#seen !== text)
        log.error({}, `gateway ${gateway.name}: ${text}; the certificates from before stay`);
      this.#seen = text;
    }
  }

  #read(): Promise<Certificate[]> {
    return Promise.all(this.#parts.listeners.map((listener) => this.#readOne(listener)));
  }

  async #readOne({ tls, hostname }: GatewayListener): Promise<Certificate> {
    const { gateway, components, edges } = this.#parts;
    const { certFile = "", keyFile = "", secrets = [] } = tls ?? {};
    if (certFile !== "") {
      const folder = dirname(gateway.source.file);
      const read = async (path: string): Promise<string> =>
        Buffer.from(await edges.files.read(resolve(folder, path))).toString("utf8");
      const [cert, key] = await Promise.all([read(certFile), read(keyFile)]);
      return { hostname, cert, key };
    }
    const name = secrets[0]?.name ?? "";
    const items = ["tls.crt", "tls.key"].map((key) => ({ name: key, secretKeyRef: { name, key } }));
    const found = await components.resolve(gateway, items);
    const [cert, key] = [found.get("tls.crt") ?? "", found.get("tls.key") ?? ""];
    if (cert === "" || key === "") throw new Error(`the secret ${name} has no tls.crt and tls.key`);
    return { hostname, cert, key };
  }
}

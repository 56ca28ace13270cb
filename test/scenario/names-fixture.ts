import { type FakeApp, fakeApp } from "../../src/testing/index.ts";
import { type Member, Mesh } from "./identity-fixture.ts";

export type Overrides = Parameters<Mesh["member"]>[1];

/** Runtimes without anything in common but what `spec.nameResolution` names: each has a data folder of its own. */
export class Strangers {
  readonly #meshes: Mesh[] = [];
  readonly #apps: FakeApp[] = [];

  async member(appId: string, options: Overrides = {}, env: Record<string, string> = {}): Promise<Member> {
    const mesh = new Mesh();
    this.#meshes.push(mesh);
    return mesh.member(appId, { enableMtls: false, peerToken, ...options }, env);
  }

  /** With an app behind it, which answers its name and who calls. */
  async serving(name: string, appId: string, options: Overrides = {}): Promise<Member> {
    const app = await fakeApp({
      handlers: {
        "POST /who": ({ header }) => ({ body: `${name} for ${header("dapr-caller-app-id")}` }),
      },
    });
    this.#apps.push(app);
    return this.member(appId, { appPort: app.port, ...options });
  }

  /** The file of a Configuration with this spec. */
  config(spec: object): string[] {
    const mesh = new Mesh();
    this.#meshes.push(mesh);
    return mesh.config(spec);
  }

  /** A folder with a Resiliency of this spec. */
  resiliency(spec: object): string[] {
    const mesh = new Mesh();
    this.#meshes.push(mesh);
    return mesh.resiliency(spec);
  }

  folder(): string {
    const mesh = new Mesh();
    this.#meshes.push(mesh);
    return mesh.folder;
  }

  async close(): Promise<void> {
    for (const mesh of this.#meshes.splice(0).reverse()) await mesh.close();
    for (const app of this.#apps.splice(0)) await app.close();
  }
}

export const peerToken = "a secret of all runtimes here";

export const who = (appId: string) => `POST /v1.0/invoke/${appId}/method/who`;

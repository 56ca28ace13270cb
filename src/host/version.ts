import manifest from "../../package.json" with { type: "json" };

export const mechaVersion: string = manifest.version;
/** The release whose HTTP and gRPC API mecha speaks. */
export const daprApiVersion = "1.18.3";
/** What the metadata API reports: SDKs compare its numeric part with the API they need. */
export const runtimeVersion = `${daprApiVersion}+mecha.${mechaVersion}`;

/** Text of `daprd --build-info`. */
export function buildInfo(): string {
  return `Version: ${daprApiVersion}\nGit Commit: \nGit Version: mecha ${mechaVersion}\nFeatures: `;
}

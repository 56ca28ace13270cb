import type { ReloadableComponents } from "../component/loader.ts";
import type { HttpTls } from "../net/http1/types.ts";
import type { ExternalEndpoint } from "../peer/target.ts";
import type { HttpEndpointResource, MetadataItem } from "../resource/resource.ts";

/** HTTPEndpoints with their headers and certificates looked up in secret stores and the environment. */
export async function resolveEndpoints(
  resources: readonly HttpEndpointResource[],
  components: Pick<ReloadableComponents, "resolve">,
): Promise<Map<string, ExternalEndpoint>> {
  const endpoints = new Map<string, ExternalEndpoint>();
  for (const resource of resources) endpoints.set(resource.name, await resolveEndpoint(resource, components));
  return endpoints;
}

async function resolveEndpoint(
  resource: HttpEndpointResource,
  components: Pick<ReloadableComponents, "resolve">,
): Promise<ExternalEndpoint> {
  const { baseUrl, headers, clientTLS } = resource.spec;
  const resolved = await components.resolve(resource, headers);
  const lines = headers.map(({ name }): [string, string] => [name, textOf(resolved, name)]);
  if (clientTLS === undefined) return { baseUrl, headers: lines };
  const { rootCA, certificate, privateKey } = clientTLS;
  const parts = [rootCA, certificate, privateKey].filter((part): part is MetadataItem => part !== undefined);
  const texts = await components.resolve(resource, parts);
  const tls: HttpTls = {
    ...(rootCA !== undefined && { ca: textOf(texts, rootCA.name) }),
    ...(certificate !== undefined && { cert: textOf(texts, certificate.name) }),
    ...(privateKey !== undefined && { key: textOf(texts, privateKey.name) }),
  };
  return { baseUrl, headers: lines, tls };
}

/** Resolved items go by lower-case names. */
function textOf(resolved: ReadonlyMap<string, string>, name: string): string {
  return resolved.get(name.toLowerCase()) ?? resolved.get(name) ?? "";
}

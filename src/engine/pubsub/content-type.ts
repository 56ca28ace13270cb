export const cloudEventType = "application/cloudevents+json";
export const binaryType = "application/octet-stream";

/** The type and subtype in lower case, without parameters. */
function essence(contentType: string): string {
  const semicolon = contentType.indexOf(";");
  return (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
}

export function isCloudEventType(contentType: string): boolean {
  return contentType === cloudEventType || essence(contentType) === cloudEventType;
}

/** Only `application/json` itself: Dapr embeds data of other `+json` types as a string. */
export function isJsonType(contentType: string): boolean {
  return contentType === "application/json" || essence(contentType) === "application/json";
}

export function isBinaryType(contentType: string): boolean {
  return contentType === binaryType || essence(contentType) === binaryType;
}

/** What a handler answers that says what should happen instead of doing it. */
export const effectsType = "application/vnd.mecha.effects+json";

export function isEffectsType(contentType: string | undefined): boolean {
  return contentType?.toLowerCase().startsWith(effectsType) ?? false;
}

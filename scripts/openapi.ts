// Writes docs/reference/openapi.json from the operations: `bun scripts/openapi.ts`.
import { operations } from "../src/api/operations.ts";
import { openApiDocument } from "../src/transport/http/openapi.ts";

/** The version of the API the document describes, not of mecha. */
const apiVersion = "1.18.0";

export const openApiFile = new URL("../docs/reference/openapi.json", import.meta.url).pathname;

export function openApiText(): string {
  return `${JSON.stringify(openApiDocument(operations, apiVersion), null, 2)}\n`;
}

if (import.meta.main) await Bun.write(openApiFile, openApiText());

// Writes docs/reference/errors.md from the table in src/errors.ts.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Code, errors } from "../src/errors.ts";

export const errorsPath = join(resolve(import.meta.dirname, ".."), "docs", "reference", "errors.md");

const opening = `# Errors

Written by \`npm run docs\` from \`src/errors.ts\`. Do not edit.

Over HTTP an error is \`{"errorCode": …, "message": …}\` with the status below; over gRPC it is the status below. Where a
reason is given the error is a rich one: \`google.rpc.ErrorInfo\` carries the reason, over HTTP in \`details\`.

| code | HTTP | gRPC | reason | message |
|---|---|---|---|---|
`;

/** A row of the table, called with names in place of its parts, shows its message as a template. */
type Make = ((...parts: string[]) => Error) & { code: string; reason: string; http: number; grpc: number };

export function renderErrorReference(): string {
  const rows = (Object.values(errors) as unknown as Make[]).map((make) => {
    const reason = make.reason === make.code ? "" : `\`${make.reason}\``;
    return `| \`${make.code}\` | ${make.http} | ${grpcName(make.grpc)} | ${reason} | ${messageOf(make)} |`;
  });
  return `${opening}${[...new Set(rows)].sort().join("\n")}\n`;
}

function messageOf(make: Make): string {
  const message = make("…", "…", "…", "…").message;
  return message.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

function grpcName(code: number): string {
  return Object.entries(Code).find(([, value]) => value === code)?.[0] ?? String(code);
}

if (import.meta.main) writeFileSync(errorsPath, renderErrorReference());

import { afterAll, beforeAll, expect, test } from "bun:test";
import { create, createFileRegistry, type DescFile, fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_descriptor,
  file_google_protobuf_type,
} from "@bufbuild/protobuf/wkt";
import { createGrpcClient } from "./client.ts";
import { createGrpcReflection } from "./reflection.ts";
import { createGrpcServer } from "./server.ts";
import type { GrpcClient } from "./types.ts";

const service: DescFile = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      file_google_protobuf_descriptor.proto,
      {
        name: "test/echo.proto",
        package: "test",
        syntax: "proto3",
        dependency: ["google/protobuf/descriptor.proto"],
        messageType: [{ name: "Ping", field: [{ name: "text", number: 1, type: 9, label: 1 }] }],
        extension: [
          { name: "mark", number: 5000, type: 9, label: 1, extendee: ".google.protobuf.FieldOptions" },
        ],
        service: [
          { name: "Echo", method: [{ name: "Say", inputType: ".test.Ping", outputType: ".test.Ping" }] },
        ],
      },
    ],
  }),
).getFile("test/echo.proto") as DescFile;

const reflection = createGrpcReflection([service, file_google_protobuf_type]);
const server = createGrpcServer({ lookup: (path) => reflection.lookup(path) });
let client: GrpcClient;

beforeAll(async () => {
  client = createGrpcClient(await server.listen({ host: "127.0.0.1", port: 0 }));
});
afterAll(async () => {
  client.close();
  await server.close();
});

/** Field `field` of the answer, as bytes. */
async function ask(request: Uint8Array, field: number, version = "v1"): Promise<Uint8Array | undefined> {
  const call = client.stream(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`);
  await call.send(request);
  call.end();
  for await (const message of call.responses) return fieldsOf(message).get(field)?.[0];
  return undefined;
}

function fieldsOf(message: Uint8Array): Map<number, Uint8Array[]> {
  const reader = new BinaryReader(message);
  const fields = new Map<number, Uint8Array[]>();
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType === 2) fields.set(field, [...(fields.get(field) ?? []), reader.bytes()]);
    else reader.skip(wireType, field);
  }
  return fields;
}

const text = (field: number, value: string) =>
  Buffer.concat([Buffer.of(field * 8 + 2, value.length), Buffer.from(value)]);

test("lists the services, in both versions of the protocol", async () => {
  for (const version of ["v1", "v1alpha"]) {
    const services = await ask(text(7, "*"), 6, version);
    expect(Buffer.from(services ?? []).toString()).toContain("test.Echo");
  }
});

test("finds files by name and by symbol, with what they import", async () => {
  const questions = [
    text(3, "test/echo.proto"),
    ...["test.Echo", "test.Echo.Say", "test.Ping", "test.Ping.text"].map((name) => text(4, name)),
  ];
  for (const question of questions) {
    const files = fieldsOf((await ask(question, 4)) ?? new Uint8Array(0)).get(1) ?? [];
    const names = files.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
    expect(names).toEqual(["test/echo.proto", "google/protobuf/descriptor.proto"]);
  }
});

test("finds extensions by number", async () => {
  const question = Buffer.concat([text(1, "google.protobuf.FieldOptions"), Buffer.of(16, 0x88, 0x27)]);
  const files = await ask(Buffer.concat([Buffer.of(42, question.length), question]), 4);
  expect(Buffer.from(files ?? []).toString()).toContain("test/echo.proto");
  const numbers = await ask(text(6, "google.protobuf.FieldOptions"), 5);
  expect([...(numbers ?? [])].slice(-3)).toEqual([16, 0x88, 0x27]);
});

test("says what it does not know", async () => {
  for (const question of [text(3, "no.proto"), text(4, "no.Such"), text(6, "no.Such")]) {
    expect(Buffer.from((await ask(question, 7)) ?? []).toString()).toContain("not found: no.");
  }
});

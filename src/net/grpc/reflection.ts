import { type DescFile, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { grpcCode } from "./status.ts";
import { GrpcError, type GrpcMethod } from "./types.ts";

/** Server reflection (grpc.reflection v1 and v1alpha, which differ in name only) over generated descriptors. */
export function createGrpcReflection(files: readonly DescFile[]): {
  lookup(path: string): GrpcMethod | undefined;
} {
  let index: DescriptorIndex | undefined;
  const method: GrpcMethod = {
    kind: "stream",
    async handle(requests, send) {
      index ??= new DescriptorIndex(files);
      for await (const request of requests) await send(answer(request, index));
    },
  };
  return { lookup: (path) => (paths.has(path) ? method : undefined) };
}

const paths = new Set([
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]);

/** Field numbers of ServerReflectionRequest's oneof and of the answers. */
const ask = { filename: 3, symbol: 4, extension: 5, extensionNumbers: 6, services: 7 } as const;
const reply = { host: 1, request: 2, files: 4, extensionNumbers: 5, services: 6, error: 7 } as const;

interface ReflectionRequest {
  host: string;
  field: number;
  text: string;
  /** Of the extension asked for. */
  number: number;
}

class NotFound extends Error {}

/** Files by name and by every symbol they define. */
class DescriptorIndex {
  readonly services: string[] = [];
  readonly #byName = new Map<string, DescFile>();
  readonly #bySymbol = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescFile>>();

  constructor(files: readonly DescFile[]) {
    for (const file of files) {
      this.#add(file);
      for (const service of file.services) this.services.push(service.typeName);
    }
    this.services.sort();
  }

  file(name: string): DescFile {
    return found(this.#byName.get(name), name);
  }

  symbol(name: string): DescFile {
    return found(this.#bySymbol.get(name), name);
  }

  extension(type: string, number: number): DescFile {
    return found(this.#extensions.get(type)?.get(number), `extension ${number} of ${type}`);
  }

  extensionNumbers(type: string): number[] {
    this.symbol(type);
    return [...(this.#extensions.get(type)?.keys() ?? [])].sort((a, b) => a - b);
  }

  #add(file: DescFile): void {
    const name = fileName(file);
    if (this.#byName.has(name)) return;
    this.#byName.set(name, file);
    for (const dependency of file.dependencies) this.#add(dependency);
    for (const type of nestedTypes(file)) this.#addType(type, file);
  }

  #addType(type: ReturnType<typeof nestedTypes> extends Iterable<infer T> ? T : never, file: DescFile): void {
    this.#bySymbol.set(type.typeName, file);
    if (type.kind === "service") {
      for (const method of type.methods) this.#bySymbol.set(`${type.typeName}.${method.name}`, file);
    } else if (type.kind === "message") this.#addFields(type, file);
    else if (type.kind === "extension") {
      const numbers = this.#extensions.get(type.extendee.typeName) ?? new Map<number, DescFile>();
      this.#extensions.set(type.extendee.typeName, numbers.set(type.number, file));
    }
  }

  #addFields(message: DescMessage, file: DescFile): void {
    for (const field of message.fields) this.#bySymbol.set(`${message.typeName}.${field.name}`, file);
  }
}

function found(file: DescFile | undefined, name: string): DescFile {
  if (file === undefined) throw new NotFound(`not found: ${name}`);
  return file;
}

/** Descriptors leave the suffix out, the protocol wants it. */
function fileName(file: DescFile): string {
  return `${file.name}.proto`;
}

function answer(request: Uint8Array, index: DescriptorIndex): Uint8Array {
  const asked = readRequest(request);
  const writer = new BinaryWriter();
  writer.tag(reply.host, WireType.LengthDelimited).string(asked.host);
  writer.tag(reply.request, WireType.LengthDelimited).bytes(request);
  try {
    writeAnswer(writer, asked, index);
  } catch (error) {
    if (!(error instanceof NotFound)) throw error;
    writeError(writer, grpcCode.NOT_FOUND, error.message);
  }
  return writer.finish();
}

function writeAnswer(writer: BinaryWriter, asked: ReflectionRequest, index: DescriptorIndex): void {
  const { field, text, number } = asked;
  if (field === ask.filename) writeFiles(writer, index.file(text));
  else if (field === ask.symbol) writeFiles(writer, index.symbol(text));
  else if (field === ask.extension) writeFiles(writer, index.extension(text, number));
  else if (field === ask.extensionNumbers) writeExtensionNumbers(writer, text, index.extensionNumbers(text));
  else if (field === ask.services) writeServices(writer, index.services);
  else throw new GrpcError(grpcCode.INVALID_ARGUMENT, "invalid MessageRequest: no known question in it");
}

/** The file and all it imports, the file first: clients need no second question. */
function writeFiles(writer: BinaryWriter, file: DescFile): void {
  const all = new Set<DescFile>();
  const open = [file];
  for (const next of open) {
    if (all.has(next)) continue;
    all.add(next);
    open.push(...next.dependencies);
  }
  writer.tag(reply.files, WireType.LengthDelimited).fork();
  for (const each of all) {
    writer.tag(1, WireType.LengthDelimited).bytes(toBinary(FileDescriptorProtoSchema, each.proto));
  }
  writer.join();
}

function writeExtensionNumbers(writer: BinaryWriter, type: string, numbers: number[]): void {
  writer.tag(reply.extensionNumbers, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(type);
  for (const number of numbers) writer.tag(2, WireType.Varint).int32(number);
  writer.join();
}

function writeServices(writer: BinaryWriter, services: string[]): void {
  writer.tag(reply.services, WireType.LengthDelimited).fork();
  for (const name of services) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name);
    writer.join();
  }
  writer.join();
}

function writeError(writer: BinaryWriter, code: number, message: string): void {
  writer.tag(reply.error, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.Varint).int32(code);
  writer.tag(2, WireType.LengthDelimited).string(message);
  writer.join();
}

function readRequest(bytes: Uint8Array): ReflectionRequest {
  const request: ReflectionRequest = { host: "", field: 0, text: "", number: 0 };
  try {
    readFields(new BinaryReader(bytes), (field, reader) => {
      if (field === 1) request.host = reader.string();
      else if (field === ask.extension) {
        request.field = field;
        readExtension(reader.bytes(), request);
      } else if (field >= ask.filename && field <= ask.services) {
        request.field = field;
        request.text = reader.string();
      } else return false;
      return true;
    });
  } catch (cause) {
    throw new GrpcError(grpcCode.INTERNAL, "grpc: error unmarshalling request", { cause });
  }
  return request;
}

/** ExtensionRequest: `string containing_type = 1; int32 extension_number = 2`. */
function readExtension(bytes: Uint8Array, request: ReflectionRequest): void {
  readFields(new BinaryReader(bytes), (field, reader) => {
    if (field === 1) request.text = reader.string();
    else if (field === 2) request.number = reader.int32();
    else return false;
    return true;
  });
}

function readFields(reader: BinaryReader, take: (field: number, reader: BinaryReader) => boolean): void {
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!take(field, reader)) reader.skip(wireType, field);
  }
}

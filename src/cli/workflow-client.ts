import { join } from "node:path";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  createGrpcClient,
  type GrpcAddress,
  type GrpcClient,
  GrpcError,
  grpcCode,
} from "../net/grpc/index.ts";
import { TaskHubSidecarService } from "../wire/orchestrator_service_pb.js";
import type { CommandContext } from "./command.ts";
import { apiTokenOf, CommandError, findApp } from "./runtime-client.ts";

/** A runtime's workflow API, as the SDKs use it. */
export interface WorkflowClient {
  readonly method: typeof TaskHubSidecarService.method;
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>>;
}

const messageBytesMax = 256 << 20;

/** Runs `work` with a connection to the runtime that the command's flags name. */
export async function withWorkflows(
  context: CommandContext,
  work: (client: WorkflowClient) => Promise<number>,
): Promise<number> {
  const address = addressOf(context);
  const client = createGrpcClient(address, { maxMessageBytes: messageBytesMax });
  try {
    return await work({
      method: TaskHubSidecarService.method,
      call: (method, request) => call(client, context, method, request),
    });
  } catch (error) {
    if (!(error instanceof GrpcError)) throw error;
    const isAway = error.code === grpcCode.UNAVAILABLE;
    throw new CommandError(error.message, isAway ? { hint: "mecha list", exitCode: 4 } : {});
  } finally {
    client.close();
  }
}

async function call<I extends DescMessage, O extends DescMessage>(
  client: GrpcClient,
  { env }: CommandContext,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  const token = apiTokenOf(env);
  const bytes = toBinary(method.input, create(method.input, request));
  const path = `/${method.parent.typeName}/${method.name}`;
  const reply = await client.unary(
    path,
    bytes,
    token === undefined ? {} : { metadata: [["dapr-api-token", token]] },
  );
  return fromBinary(method.output, reply);
}

function addressOf(context: CommandContext): GrpcAddress {
  const port = context.values.number("dapr-grpc-port");
  if (port > 0) return { host: "127.0.0.1", port };
  const app = findApp(context);
  if (app.socketFolder === undefined) return { host: "127.0.0.1", port: app.grpcPort };
  const socketPath = join(app.socketFolder, `dapr-${app.appId}-grpc.socket`);
  return { host: "127.0.0.1", port: app.grpcPort, socketPath };
}

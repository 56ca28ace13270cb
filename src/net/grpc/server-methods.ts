import { inflateFrame } from "./compression.ts";
import { type Frame, FrameReader, soleMessage } from "./frame.ts";
import { MessageStream } from "./message-stream.ts";
import type { ServerCall } from "./server-call.ts";
import { grpcCode } from "./status.ts";
import { GrpcError, type StreamHandler, type UnaryHandler } from "./types.ts";

/** Collects the one request message, runs the handler at the end of the request, replies. */
export function serveUnary(call: ServerCall, handle: UnaryHandler, maxMessageBytes: number): void {
  let sole: Uint8Array | undefined;
  let reader: FrameReader | undefined;
  let frame: Frame | undefined;
  const receive = (chunk: Uint8Array) => {
    if (call.isEnded) return;
    if (sole === undefined && reader === undefined) {
      sole = soleMessage(chunk, maxMessageBytes);
      if (sole !== undefined) return;
    }
    try {
      if (sole !== undefined) throw tooManyMessages();
      reader ??= new FrameReader(maxMessageBytes);
      reader.push(chunk);
      const next = reader.next();
      if (next === undefined) return;
      if (frame !== undefined || reader.rest > 0) throw tooManyMessages();
      frame = next;
    } catch (error) {
      call.fail(error);
    }
  };
  const end = () => {
    if (call.isEnded) return;
    if (sole !== undefined) answer(call, handle, sole);
    else if (frame === undefined) call.fail(missingMessage(reader?.rest ?? 0));
    else answerFrame(call, handle, frame, maxMessageBytes);
  };
  call.reader = { onData: receive, onEnd: end };
}

function answerFrame(call: ServerCall, handle: UnaryHandler, frame: Frame, maxMessageBytes: number): void {
  try {
    const message = inflateFrame(frame, call.requestEncoding, maxMessageBytes);
    if (message instanceof Uint8Array) answer(call, handle, message);
    else {
      message.then(
        (bytes) => answer(call, handle, bytes),
        (error) => call.fail(error),
      );
    }
  } catch (error) {
    call.fail(error);
  }
}

function answer(call: ServerCall, handle: UnaryHandler, message: Uint8Array): void {
  if (call.isEnded) return;
  try {
    const reply = handle(message, call);
    if (reply instanceof Uint8Array) call.reply(reply);
    else {
      reply.then(
        (bytes) => replyLater(call, bytes),
        (error) => call.fail(error),
      );
    }
  } catch (error) {
    call.fail(error);
  }
}

function replyLater(call: ServerCall, message: Uint8Array): void {
  try {
    call.reply(message);
  } catch (error) {
    call.fail(error);
  }
}

/** Runs the handler at once; messages flow as it reads and sends. */
export function serveStream(call: ServerCall, handle: StreamHandler, maxMessageBytes: number): void {
  const requests = new MessageStream(maxMessageBytes);
  requests.encoding = call.requestEncoding;
  requests.attach(call.stream);
  call.reader = { onData: (chunk) => requests.receive(chunk), onEnd: () => requests.end() };
  call.onCancel = (reason) => requests.fail(reason);
  const send = (message: Uint8Array) => call.send(message);
  runStream(call, handle, requests, send);
}

async function runStream(
  call: ServerCall,
  handle: StreamHandler,
  requests: MessageStream,
  send: (message: Uint8Array) => Promise<void>,
): Promise<void> {
  try {
    await handle(requests, send, call);
    call.complete();
  } catch (error) {
    call.fail(error);
  }
}

function tooManyMessages(): GrpcError {
  return new GrpcError(grpcCode.INTERNAL, "grpc: more than one message in the request of a unary call");
}

function missingMessage(rest: number): GrpcError {
  const text =
    rest > 0
      ? "grpc: a message was cut short: unexpected EOF"
      : "grpc: no message in the request of a unary call";
  return new GrpcError(grpcCode.INTERNAL, text);
}

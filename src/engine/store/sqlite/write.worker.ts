/**
 * The thread that writes: it alone holds the writing connection, so that a slow sync to disk never stops the event
 * loop. The build lists this file as an entry point of its own.
 */

import { dirname } from "node:path";
import { BytesPacker, type Envelope, packReply, parseRequest } from "./batch-codec.ts";
import { BatchWriter } from "./batch-writer.ts";
import { Checkpointer } from "./checkpoint.ts";
import type { Connection } from "./connection.ts";
import { FeedPeers } from "./feed-peers.ts";
import { openWriter } from "./open-file.ts";
import type { FromWorker, ToWorker } from "./write-thread.ts";

declare const self: Worker;

const idleCheckpointAfterMs = 1_000;

interface Open {
  db: Connection;
  writer: BatchWriter;
  checkpointer: Checkpointer;
  peers: FeedPeers;
}

let open: Open | undefined;
let idleTimer: NodeJS.Timeout | undefined;

self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  switch (message.kind) {
    case "open":
      return openFile(message);
    case "batch":
      return write(message.envelope);
    case "close":
      return close();
  }
};

function openFile({ path, feedPath, busyTimeoutMs }: Extract<ToWorker, { kind: "open" }>): void {
  const db = openWriter(path, { busyTimeoutMs });
  open = {
    db,
    writer: new BatchWriter(db, busyTimeoutMs),
    checkpointer: new Checkpointer(db),
    peers: new FeedPeers(feedPath, dirname(feedPath)),
  };
}

function write(envelope: Envelope): void {
  if (!open) throw new Error("the store's writing thread got a batch before its file");
  const output = { reply: new BytesPacker(), touched: new Set<string>() };
  const answers = open.writer.write(parseRequest(envelope), envelope.bytes, output);
  send({ kind: "done", envelope: packReply({ answers, touched: [...output.touched] }, output.reply) });
  open.peers.touched(output.touched);
  open.checkpointer.afterBatch();
  clearTimeout(idleTimer);
  idleTimer = setTimeout(() => open?.checkpointer.whenIdle(), idleCheckpointAfterMs);
}

function close(): void {
  clearTimeout(idleTimer);
  open?.peers.close();
  open?.checkpointer.whenIdle();
  open?.db.close();
  open = undefined;
  send({ kind: "closed" });
}

function send(message: FromWorker): void {
  const transfer = message.kind === "done" ? [message.envelope.bytes.buffer as ArrayBuffer] : [];
  self.postMessage(message, transfer);
}

/** The writing thread for tests: fails in ways the real one should not when a batch asks for it. */
import "../../../src/engine/store/sqlite/write.worker.ts";
import type { ToWorker } from "../../../src/engine/store/sqlite/write-thread.ts";

declare const self: Worker;

const write = self.onmessage;
self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  if (message.kind === "batch" && message.envelope.text.includes("throw before")) throw new Error("boom");
  write?.call(self, event);
  if (message.kind === "batch" && message.envelope.text.includes("exit after")) process.exit(3);
};

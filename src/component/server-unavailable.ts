/**
 * The server behind a component did not answer in time or its connection was lost. What was asked is `undone`, or it is
 * `unknown` whether it was done: a write that was sent and not answered is never sent a second time.
 */
export class ServerUnavailable extends Error {
  readonly outcome: "undone" | "unknown";

  constructor(message: string, outcome: "undone" | "unknown", cause?: unknown) {
    super(outcome === "undone" ? message : `${message}; it is unknown whether it was done`, { cause });
    this.name = "ServerUnavailable";
    this.outcome = outcome;
  }
}

/** Nobody is there to answer any more: the event goes back, whatever the subscription says of failures. */
export class StreamEnded extends Error {
  constructor(id: string, cause: unknown) {
    super(`the stream ended while processing pub/sub event ${id}`, { cause });
    this.name = "StreamEnded";
  }
}

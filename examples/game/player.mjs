// A player remembers how its rounds ended, over all rooms.
import { AbstractActor } from "@dapr/dapr";

export class Player extends AbstractActor {
  /** Told by a room, perhaps twice: a round that is known already does not count again. */
  async ended({ room, round, result }) {
    const record = await this.record();
    if ((record.rounds[room] ?? 0) >= round) return record;
    record[result]++;
    record.rounds[room] = round;
    await this.getStateManager().setState("record", record);
    return record;
  }

  async record() {
    const [, record] = await this.getStateManager().tryGetState("record");
    return record ?? { won: 0, lost: 0, drawn: 0, rounds: {} };
  }
}

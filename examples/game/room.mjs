// A room with 21 matches on the table. Its players take one, two or three in turn; who takes the last one wins.
//
// Calls go one way, from rooms to players: two actors that call each other would wait for each other.
import { AbstractActor, ActorId, ActorProxyBuilder, Temporal } from "@dapr/dapr";
import { Player } from "./player.mjs";
import { Robot } from "./robot.mjs";

const kinds = { Player, Robot };
const empty = { seats: [], round: 0, isOpen: false, left: 0, turn: 0, next: 0, winner: null, story: [] };

export class Room extends AbstractActor {
  /** A timer ends when the actor sleeps or its host dies. The state says which one there has to be. */
  async onActivate() {
    await this.#wakeSleepers(await this.look());
  }

  async look() {
    const [, table] = await this.getStateManager().tryGetState("table");
    return table ?? structuredClone(empty);
  }

  async sit({ name, kind = "Player" } = {}) {
    if (typeof name !== "string" || name === "") return refusal('who? {"name":"Ada"} as application/json');
    const table = await this.look();
    if (table.isOpen) return refusal("the round has begun");
    if (!(kind in kinds)) return refusal(`nobody is a ${kind}`);
    if (table.seats.every((seat) => seat.name !== name)) table.seats.push({ name, kind });
    return this.#keep(table);
  }

  async begin({ turnSeconds = 20, roundSeconds = 300 } = {}) {
    const table = await this.look();
    if (table.isOpen) return refusal("the round has begun");
    if (table.seats.length < 2) return refusal("a round takes two");
    const round = table.round + 1;
    Object.assign(table, { round, isOpen: true, left: 21, turn: 1, next: 0, winner: null, story: [] });
    table.turnSeconds = turnSeconds;
    // Whatever becomes of this process, the round has an end: a reminder is in the store.
    await this.#endIn(roundSeconds, round);
    return this.#play(table);
  }

  async take({ name, matches }) {
    const table = await this.look();
    if (!table.isOpen) return refusal("there is no round");
    if (table.seats[table.next].name !== name)
      return refusal(`it is the turn of ${table.seats[table.next].name}`);
    if (![1, 2, 3].includes(matches) || matches > table.left) return refusal(`nobody can take ${matches}`);
    this.#remove(table, matches, `${name} takes ${matches}`);
    return this.#play(table);
  }

  /** The timer's: who sleeps through a turn loses a match. A timer of an earlier turn may still have been on its way. */
  async overslept(turn) {
    const table = await this.look();
    if (!table.isOpen || table.turn !== turn) return;
    this.#remove(table, 1, `${table.seats[table.next].name} is asleep and takes 1`);
    await this.#play(table);
  }

  /** The reminder's: the round is over, decided or not. It comes again until this succeeds. */
  async receiveReminder(round) {
    const table = await this.look();
    if (table.round !== round) return;
    try {
      if (table.isOpen) await this.#close(table, null);
      for (const seat of table.seats) await this.#player(seat).ended({ ...this.#result(table, seat), round });
    } catch (error) {
      // The server of the SDK would not survive it.
      console.log(`${this.getActorId().getId()}: ${error.message}; once more in a second`);
      await this.#endIn(1, round);
    }
  }

  #remove(table, matches, text) {
    table.left -= matches;
    table.story.push(`${text}, ${table.left} left`);
    console.log(`${this.getActorId().getId()}: ${table.story.at(-1)}`);
    if (table.left === 0) table.winner = table.seats[table.next].name;
    table.next = (table.next + 1) % table.seats.length;
    table.turn++;
  }

  /** Robots move at once; for anybody else the clock starts. */
  async #play(table) {
    while (table.left > 0 && table.seats[table.next].kind === "Robot") {
      const seat = table.seats[table.next];
      const { matches } = await this.#player(seat).choose({ left: table.left });
      this.#remove(table, matches, `${seat.name} takes ${matches}`);
    }
    if (table.left > 0) {
      await this.#keep(table);
      await this.#wakeSleepers(table);
      return table;
    }
    await this.#close(table, table.winner);
    // After the commit: the players are told what is certain.
    await this.#endIn(0, table.round);
    return table;
  }

  async #close(table, winner) {
    table.isOpen = false;
    table.winner = winner;
    await this.#keep(table);
    console.log(`${this.getActorId().getId()}: ${winner === null ? "nobody wins" : `${winner} wins`}`);
  }

  /** Saved before anything follows from it. */
  async #keep(table) {
    await this.getStateManager().setState("table", table);
    await this.getStateManager().saveState();
    return table;
  }

  async #wakeSleepers({ isOpen, turn, turnSeconds }) {
    if (!isOpen) return;
    await this.registerActorTimer("turn", "overslept", seconds(turnSeconds), undefined, undefined, turn);
  }

  async #endIn(delay, round) {
    await this.registerActorReminder("end", seconds(delay), undefined, undefined, round);
  }

  #result({ winner }, { name }) {
    const result = winner === null ? "drawn" : winner === name ? "won" : "lost";
    return { room: this.getActorId().getId(), result };
  }

  #player({ name, kind }) {
    return new ActorProxyBuilder(kinds[kind], this.getDaprClient()).build(new ActorId(name));
  }
}

function refusal(reason) {
  return { refused: reason };
}

function seconds(count) {
  return Temporal.Duration.from({ milliseconds: Math.round(count * 1000) });
}

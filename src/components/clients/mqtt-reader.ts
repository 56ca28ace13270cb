import type { QoS } from "mqtt-packet";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { MqttLink } from "./mqtt.ts";
import type { IncomingPublish, MqttConnection } from "./mqtt-connection.ts";

export interface MqttReaderOptions {
  clientId: string;
  filter: string;
  qos: QoS;
  clean: boolean;
  /** After so many the broker has it back, and delivers it over the next connection. */
  attemptsMax?: number;
  /** MQTT 5: which messages have to be handled one after the other. */
  partitionKeyOf?(packet: IncomingPublish): string | undefined;
}

export interface MqttTaker {
  /** Messages at work at once. */
  concurrencyMax: number;
  /** `attempt` is absent for what the broker may have delivered before. */
  handle(packet: IncomingPublish, attempt: number | undefined): Promise<void>;
}

/** A message until the broker has heard that it is handled; it may come again meanwhile, over another connection. */
interface Delivery {
  packet: IncomingPublish;
  connection: MqttConnection;
  isDone: boolean;
}

interface Consumer {
  taker: MqttTaker;
  atWork: MessagesAtWork;
  closing: AbortController;
}

/** More than this in memory, and the connection is not read until it is less. */
const waitingMax = 256;
const longEnoughMs = 5_000;

/** One subscription of one session of the broker's, for all in this process who consume from it. */
export class MqttReader {
  readonly #link: MqttLink;
  readonly #options: MqttReaderOptions;
  readonly #consumers: Consumer[] = [];
  /** By the broker's packet id. */
  readonly #deliveries = new Map<number, Delivery>();
  #waiting: Delivery[] = [];
  #connection: MqttConnection | undefined;
  #opening: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  readonly #closing = new AbortController();

  constructor(link: MqttLink, options: MqttReaderOptions) {
    this.#link = link;
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#consumers.length === 0;
  }

  /** Rejects when the broker does not allow it. */
  async add(taker: MqttTaker): Promise<{ close(options: { unsubscribes: boolean }): Promise<void> }> {
    const consumer = { taker, atWork: new MessagesAtWork(), closing: new AbortController() };
    this.#consumers.push(consumer);
    try {
      this.#opening ??= this.#open();
      await this.#opening;
    } catch (error) {
      this.#opening = undefined;
      this.#remove(consumer);
      throw error;
    }
    this.#next();
    return { close: ({ unsubscribes }) => this.#leave(consumer, unsubscribes) };
  }

  async #leave(consumer: Consumer, unsubscribes: boolean): Promise<void> {
    consumer.closing.abort();
    this.#remove(consumer);
    const isLast = this.isEmpty;
    // The broker has them still: they go to who comes next.
    if (isLast) this.#waiting = [];
    await consumer.atWork.all();
    if (!isLast || this.#closing.signal.aborted) return;
    this.#closing.abort();
    const connection = this.#connection;
    if (connection !== undefined && unsubscribes) {
      const { filter } = this.#options;
      await this.#link.inTime(connection, connection.unsubscribe(filter)).catch(() => undefined);
    }
    await connection?.close();
    await this.#running;
  }

  #remove(consumer: Consumer): void {
    const at = this.#consumers.indexOf(consumer);
    if (at >= 0) this.#consumers.splice(at, 1);
  }

  async #open(): Promise<void> {
    const first = await this.#subscribed();
    this.#running = this.#keep(first);
  }

  async #keep(first: MqttConnection): Promise<void> {
    const { filter, clientId } = this.#options;
    const { log } = this.#link;
    let connection: MqttConnection | undefined = first;
    for (let tries = 0; ; ) {
      const sinceMs = this.#link.now();
      const error = await connection?.ended;
      this.#connection = undefined;
      if (this.#isClosed) return;
      if (connection !== undefined) log.warn({ error, filter, clientId }, "a subscriber of mqtt was cut off");
      // Two with one client id end each other's connections, again and again.
      if (connection !== undefined && this.#link.now() - sinceMs > longEnoughMs) tries = 0;
      await this.#link.pause(this.#link.pauseMs(tries++), this.#closing.signal);
      if (this.#isClosed) return;
      connection = await this.#subscribed().catch((reason: unknown) => {
        log.warn({ error: reason, filter }, "mqtt can not be subscribed to; trying again");
        return undefined;
      });
    }
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted || this.#link.isClosed;
  }

  async #subscribed(): Promise<MqttConnection> {
    const { clientId, clean, filter, qos } = this.#options;
    // What waits is the broker's again, and comes anew.
    this.#waiting = [];
    let opened: MqttConnection | undefined;
    const early: IncomingPublish[] = [];
    const connection = await this.#link.connect({
      ...{ clientId, clean, receiveMax: waitingMax },
      onMessage: (packet) => {
        if (opened === undefined) early.push(packet);
        else this.#take(opened, packet);
      },
    });
    if (!connection.isSessionPresent) this.#deliveries.clear();
    this.#connection = connection;
    opened = connection;
    for (const packet of early) this.#take(connection, packet);
    try {
      await this.#link.inTime(connection, connection.subscribe(filter, qos));
    } catch (error) {
      connection.destroy();
      throw error;
    }
    if (this.#isClosed) await connection.close();
    return connection;
  }

  #take(connection: MqttConnection, packet: IncomingPublish): void {
    const id = packet.messageId;
    const known = id === undefined ? undefined : this.#deliveries.get(id);
    if (known !== undefined && packet.dup && isSame(known.packet, packet)) {
      known.connection = connection;
      if (known.isDone) this.#acknowledge(known);
      else if (!this.#isHeld(known)) this.#waiting.push(known);
      this.#next();
      return;
    }
    const delivery = { packet, connection, isDone: false };
    if (id !== undefined) this.#deliveries.set(id, delivery);
    this.#waiting.push(delivery);
    this.#next();
  }

  #isHeld(delivery: Delivery): boolean {
    return this.#waiting.includes(delivery) || this.#consumers.some(({ atWork }) => atWork.has(delivery));
  }

  /** Gives what waits to those with the least to do. */
  #next(): void {
    while (this.#waiting.length > 0) {
      const consumer = this.#freest();
      if (consumer === undefined) break;
      const delivery = this.#waiting.shift();
      if (delivery !== undefined) this.#start(consumer, delivery);
    }
    if (this.#waiting.length >= waitingMax) this.#connection?.pause();
    else this.#connection?.resume();
  }

  #freest(): Consumer | undefined {
    const free = this.#consumers.filter(({ taker, atWork }) => atWork.size < taker.concurrencyMax);
    return free.sort((a, b) => a.atWork.size - b.atWork.size)[0];
  }

  #start({ taker, atWork, closing }: Consumer, delivery: Delivery): void {
    const key = this.#options.partitionKeyOf?.(delivery.packet);
    const handle = async (): Promise<void> => {
      if (closing.signal.aborted) return;
      delivery.isDone = await this.#handled(delivery.packet, taker, closing.signal);
      if (delivery.isDone) this.#acknowledge(delivery);
    };
    atWork.start(delivery, key, async () => {
      await handle();
      // After it is no longer counted.
      queueMicrotask(() => queueMicrotask(() => this.#next()));
    });
  }

  /** Tries until it is handled: brokers deliver again only over a new connection. False when there is no more time. */
  async #handled(packet: IncomingPublish, taker: MqttTaker, closing: AbortSignal): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await taker.handle(packet, packet.dup ? undefined : attempt);
        return true;
      } catch (error) {
        const { topic, qos } = packet;
        this.#link.log.debug(
          { topic, attempt, reason: messageOf(error) },
          "a message of mqtt was not handled",
        );
        if (qos === 0) return true;
      }
      if (attempt >= (this.#options.attemptsMax ?? Number.POSITIVE_INFINITY)) return false;
      await this.#link.pause(this.#link.pauseMs(attempt), closing);
      if (closing.aborted || this.#link.isClosed) return false;
    }
  }

  #acknowledge({ packet, connection }: Delivery): void {
    if (!connection.isOpen) return;
    connection.acknowledge(packet);
    if (packet.messageId !== undefined) this.#deliveries.delete(packet.messageId);
  }
}

function isSame(one: IncomingPublish, other: IncomingPublish): boolean {
  return one.topic === other.topic && one.payload.equals(other.payload);
}

import type { Socket } from "node:net";
import type { Options as Amqp, Channel, ChannelModel, ConfirmChannel } from "amqplib";
import type { Options } from "../../component/fields.ts";
import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { type RabbitmqAddress, rabbitmqAddress } from "./rabbitmq-address.ts";
import type { rabbitmqFields } from "./rabbitmq-fields.ts";

export type RabbitmqSettings = Options<typeof rabbitmqFields>;

interface Surroundings {
  edges: Edges;
  log: Log;
}

export interface Publication {
  exchange: string;
  routingKey: string;
  content: Uint8Array;
  options: Amqp.Publish;
  /** Done once for each connection, before the first of its `key`: declares what has to be there. */
  prepare?: { key: string; run(channel: Channel): Promise<unknown> };
}

interface Publisher {
  model: ChannelModel;
  channel: ConfirmChannel;
  prepared: Map<string, Promise<unknown>>;
  /** Why the channel was closed, when the broker said it. */
  failure: Error | undefined;
}

const firstPauseMs = 100;
const publishingMax = 20_000;
const closeMs = 1_000;

/** A broker to publish to and to consume from, each by a connection of its own that is made anew when it is lost. */
export class RabbitmqLink {
  readonly #address: RabbitmqAddress;
  readonly #settings: RabbitmqSettings;
  readonly #surroundings: Surroundings;
  readonly #closed = new AbortController();
  #publisher: Promise<Publisher> | undefined;
  #consuming: Promise<ChannelModel> | undefined;
  #failures = 0;
  #waiting = 0;

  private constructor(settings: RabbitmqSettings, surroundings: Surroundings) {
    this.#address = rabbitmqAddress(settings);
    this.#settings = settings;
    this.#surroundings = surroundings;
  }

  /** Connects, or rejects with the reason. */
  static async open(settings: RabbitmqSettings, surroundings: Surroundings): Promise<RabbitmqLink> {
    const link = new RabbitmqLink(settings, surroundings);
    try {
      link.#publisher = link.#openPublisher();
      await link.#publisher;
    } catch (error) {
      await link.close();
      const text = `error connecting to rabbitmq at ${link.where}: ${messageOf(error)}`;
      throw new Error(text, { cause: error });
    }
    return link;
  }

  /** `host:port`, for messages. */
  get where(): string {
    return this.#address.where;
  }

  get isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Resolves when the broker has confirmed it. */
  async publish(publication: Publication): Promise<void> {
    if (this.#waiting >= publishingMax) throw this.#unavailable("too many messages wait already", "undone");
    this.#waiting++;
    try {
      const publisher = await this.#untilConnected();
      await this.#prepared(publisher, publication);
      await this.#confirmed(publisher, publication);
    } finally {
      this.#waiting--;
    }
  }

  /** A channel for a consumer; rejects when there is no connection now. */
  async channel(): Promise<Channel> {
    if (this.isClosed) throw this.#unavailable("the connection is closed", "undone");
    this.#consuming ??= this.#connect(() => {
      this.#consuming = undefined;
    });
    const opening = this.#consuming;
    try {
      const creating = opening.then((model) => model.createChannel());
      return await this.#inTime(creating, () => void drop(opening));
    } catch (error) {
      if (this.#consuming === opening) this.#consuming = undefined;
      throw error;
    }
  }

  /** What a consumer asks of the broker; without an answer in time its connection is lost. */
  answered<T>(work: Promise<T>): Promise<T> {
    const asked = this.#consuming;
    return this.#inTime(work, () => void (asked && drop(asked)));
  }

  pauseMs(tries: number): number {
    const { reconnectWaitSeconds: maxMs } = this.#settings;
    return pauseBefore(tries, { firstMs: firstPauseMs, maxMs, random: this.#surroundings.edges.random });
  }

  /** Ends early when the link is closed. */
  pause(ms: number): Promise<void> {
    return pause(this.#surroundings.edges.clock, ms, this.#closed.signal);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    const [publisher, consuming] = [this.#publisher, this.#consuming];
    this.#publisher = undefined;
    this.#consuming = undefined;
    await Promise.all([this.#end(publisher?.then(({ model }) => model)), this.#end(consuming)]);
  }

  async #untilConnected(): Promise<Publisher> {
    const { clock } = this.#surroundings.edges;
    const endMs = clock.monotonicMs() + this.#settings.timeout;
    for (;;) {
      if (this.isClosed) throw this.#unavailable("the connection is closed", "undone");
      try {
        this.#publisher ??= this.#openPublisher();
        return await this.#publisher;
      } catch (error) {
        const pauseMs = this.pauseMs(this.#failures++);
        if (clock.monotonicMs() + pauseMs >= endMs)
          throw this.#unavailable(messageOf(error), "undone", error);
        await this.pause(pauseMs);
      }
    }
  }

  async #openPublisher(): Promise<Publisher> {
    let publisher: Publisher | undefined;
    const lost = (): void => {
      if (publisher !== undefined) publisher.failure ??= new Error("the connection was lost");
      this.#publisher = undefined;
    };
    try {
      const model = await this.#connect(lost);
      const channel = await this.#inTime(model.createConfirmChannel(), () => destroy(model));
      publisher = { model, channel, prepared: new Map(), failure: undefined };
      const opened = publisher;
      channel.on("error", (error) => {
        opened.failure ??= error;
      });
      channel.on("close", () => {
        lost();
        void this.#end(Promise.resolve(model));
      });
      this.#failures = 0;
      return publisher;
    } catch (error) {
      this.#publisher = undefined;
      throw error;
    }
  }

  async #connect(lost: () => void): Promise<ChannelModel> {
    const { connect, credentials } = await import("amqplib");
    const { url, tls } = this.#address;
    const { timeout, clientName, saslExternal } = this.#settings;
    const { log } = this.#surroundings;
    const model = await connect(url, {
      ...{ timeout, noDelay: true, ...tls },
      ...(clientName && { clientProperties: { connection_name: clientName } }),
      ...(saslExternal && { credentials: credentials.external() }),
    });
    model.on("error", (error) => {
      if (!this.isClosed) log.warn({ error }, `the connection to rabbitmq at ${this.where} was lost`);
    });
    model.on("close", lost);
    return model;
  }

  async #prepared({ channel, model, prepared }: Publisher, { prepare }: Publication): Promise<void> {
    if (prepare === undefined) return;
    let running = prepared.get(prepare.key);
    if (running === undefined) {
      running = prepare.run(channel);
      prepared.set(prepare.key, running);
    }
    try {
      await this.#inTime(running, () => destroy(model));
    } catch (error) {
      prepared.delete(prepare.key);
      throw isOfBroker(error) ? error : this.#unavailable(messageOf(error), "undone", error);
    }
  }

  async #confirmed(publisher: Publisher, publication: Publication): Promise<void> {
    const { exchange, routingKey, content, options } = publication;
    const { channel, model } = publisher;
    let isSent = false;
    const sending = new Promise<void>((done, failed) => {
      const told = (error: Error | null): void => (error === null ? done() : failed(error));
      channel.publish(exchange, routingKey, Buffer.from(content), options, told);
      isSent = true;
    });
    try {
      await this.#inTime(sending, () => destroy(model));
    } catch (error) {
      if (messageOf(error) === nacked) throw new Error("rabbitmq did not take the message", { cause: error });
      const text = publisher.failure?.message ?? messageOf(error);
      throw this.#unavailable(text, isSent ? "unknown" : "undone", error);
    }
  }

  /** A broker that stands still keeps its connection: after the time it is left. */
  #inTime<T>(work: Promise<T>, leave: () => void): Promise<T> {
    return withinTime(this.#surroundings.edges.clock, this.#settings.timeout, work, leave);
  }

  /** As the protocol has it, or after a moment without. */
  async #end(opening: Promise<ChannelModel> | undefined): Promise<void> {
    const model = await opening?.catch(() => undefined);
    if (model === undefined || streamOf(model).destroyed) return;
    const late = Promise.withResolvers<void>();
    const timer = this.#surroundings.edges.clock.setTimer(closeMs, late.resolve);
    streamOf(model).once("close", late.resolve);
    await Promise.race([model.close().catch(() => undefined), late.promise]);
    timer.cancel();
    destroy(model);
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`rabbitmq at ${this.where}: ${text}`, outcome, cause);
  }
}

/** What the library says of a negative confirmation. */
const nacked = "message nacked";

function drop(opening: Promise<ChannelModel>): Promise<void> {
  return opening.then(destroy, () => undefined);
}

function destroy(model: ChannelModel): void {
  streamOf(model).destroy();
}

function streamOf(model: ChannelModel): Socket {
  return (model.connection as unknown as { stream: Socket }).stream;
}

/** The broker has said no: what is there was declared otherwise, or may not be touched. */
function isOfBroker(error: unknown): boolean {
  return typeof (error as { code?: unknown }).code === "number";
}

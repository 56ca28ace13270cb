import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { type MqttAddress, type MqttSettings, mqttAddress } from "./mqtt-address.ts";
import {
  MqttConnection,
  type MqttConnectionOptions,
  type MqttVersion,
  type OutgoingPublish,
} from "./mqtt-connection.ts";
import { MqttRefusal } from "./mqtt-reasons.ts";

export interface MqttSurroundings {
  edges: Edges;
  log: Log;
}

const firstPauseMs = 100;
const pauseMaxMs = 3_000;
const waitingMax = 20_000;
/** What is under way at once: brokers of MQTT 3.1.1 do not say how much they take; of QoS 2 Mosquitto takes 20. */
const underWayMax = { 0: 1_000, 1: 1_000, 2: 16 };

/** A broker to publish to, over a connection that is made anew when it is lost; subscribers have their own. */
export class MqttLink {
  readonly settings: MqttSettings;
  readonly version: MqttVersion;
  readonly #address: MqttAddress;
  readonly #surroundings: MqttSurroundings;
  readonly #closed = new AbortController();
  readonly #turns: (() => void)[] = [];
  #publisher: Promise<MqttConnection> | undefined;
  #failures = 0;
  #waiting = 0;
  #underWay = 0;

  private constructor(settings: MqttSettings, version: MqttVersion, surroundings: MqttSurroundings) {
    this.settings = settings;
    this.version = version;
    this.#address = mqttAddress(settings);
    this.#surroundings = surroundings;
  }

  /** Connects, or rejects with the reason. */
  static async open(
    settings: MqttSettings,
    version: MqttVersion,
    surroundings: MqttSurroundings,
  ): Promise<MqttLink> {
    const link = new MqttLink(settings, version, surroundings);
    try {
      await link.#connected();
    } catch (error) {
      await link.close();
      const text = `error connecting to mqtt at ${link.where}: ${messageOf(error)}`;
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

  get log(): Log {
    return this.#surroundings.log;
  }

  /** Resolves when the broker has taken it over. */
  async publish(message: OutgoingPublish): Promise<void> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many messages wait already", "undone");
    this.#waiting++;
    let hasTurn = false;
    try {
      const { clock } = this.#surroundings.edges;
      const { timeout } = this.settings;
      let connection = await this.#untilConnected();
      const turn = this.#turn(Math.min(underWayMax[message.qos], connection.sendMax));
      await withinTime(clock, timeout, turn, () => connection.destroy()).catch((error) => {
        void turn.then(() => this.#done());
        throw this.#unavailable(messageOf(error), "undone", error);
      });
      hasTurn = true;
      connection = await this.#untilConnected();
      if (message.payload.length > connection.packetBytesMax) {
        throw new Error(`mqtt at ${this.where} takes at most ${connection.packetBytesMax} bytes at once`);
      }
      await this.#confirmed(connection, message);
    } finally {
      this.#waiting--;
      if (hasTurn) this.#done();
    }
  }

  /** A connection for a subscriber; rejects when there is none now. */
  connect(
    rest: Pick<MqttConnectionOptions, "clientId" | "clean" | "onMessage" | "receiveMax">,
  ): Promise<MqttConnection> {
    const { keepAlive, timeout } = this.settings;
    return MqttConnection.open({
      ...{ address: this.#address, version: this.version, clock: this.#surroundings.edges.clock },
      ...{ keepAliveMs: keepAlive, timeoutMs: timeout },
      ...rest,
    });
  }

  /** The work, or an error after the time, when the connection is left. */
  inTime<T>(connection: MqttConnection, work: Promise<T>): Promise<T> {
    const { clock } = this.#surroundings.edges;
    return withinTime(clock, this.settings.timeout, work, () => connection.destroy());
  }

  pauseMs(tries: number): number {
    const { random } = this.#surroundings.edges;
    return pauseBefore(tries, { firstMs: firstPauseMs, maxMs: pauseMaxMs, random });
  }

  /** Ends early when one of the signals says so. */
  pause(ms: number, ...signals: AbortSignal[]): Promise<void> {
    return pause(this.#surroundings.edges.clock, ms, this.#closed.signal, ...signals);
  }

  now(): number {
    return this.#surroundings.edges.clock.monotonicMs();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    const publisher = this.#publisher;
    this.#publisher = undefined;
    await (await publisher?.catch(() => undefined))?.close();
  }

  async #untilConnected(): Promise<MqttConnection> {
    const endMs = this.now() + this.settings.timeout;
    for (;;) {
      if (this.isClosed) throw this.#unavailable("the connection is closed", "undone");
      try {
        return await this.#connected();
      } catch (error) {
        const pauseMs = this.pauseMs(this.#failures++);
        if (this.now() + pauseMs >= endMs) throw this.#unavailable(messageOf(error), "undone", error);
        await this.pause(pauseMs);
      }
    }
  }

  #connected(): Promise<MqttConnection> {
    if (this.#publisher !== undefined) return this.#publisher;
    const clientId = `mecha-${this.#surroundings.edges.random.uuid()}`;
    const opening = this.connect({ clientId, clean: true });
    this.#publisher = opening;
    const lost = (): void => {
      if (this.#publisher === opening) this.#publisher = undefined;
    };
    opening.then((connection) => {
      this.#failures = 0;
      void connection.ended.then((error) => {
        lost();
        if (!this.isClosed) this.log.warn({ error }, `the connection to mqtt at ${this.where} was lost`);
      });
    }, lost);
    return opening;
  }

  async #confirmed(connection: MqttConnection, message: OutgoingPublish): Promise<void> {
    try {
      const work = async (): Promise<void> => {
        await connection.publish(message);
        if (this.settings.awaitSave) await connection.saved();
      };
      await this.inTime(connection, work());
    } catch (error) {
      if (error instanceof MqttRefusal) throw new Error(`mqtt at ${this.where}: ${error.message}`);
      throw this.#unavailable(messageOf(error), "unknown", error);
    }
  }

  /** So many at once; the others wait for their turn. */
  async #turn(max: number): Promise<void> {
    while (this.#underWay >= max) await new Promise<void>((next) => this.#turns.push(next));
    this.#underWay++;
  }

  #done(): void {
    this.#underWay--;
    this.#turns.shift()?.();
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`mqtt at ${this.where}: ${text}`, outcome, cause);
  }
}

import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectSecure } from "node:tls";
import type { IConnackPacket, IPublishPacket, ISubackPacket, Packet, Parser, QoS } from "mqtt-packet";
import { withinTime } from "../../component/within-time.ts";
import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { MqttAddress } from "./mqtt-address.ts";
import { connectReason, MqttRefusal, reasonText } from "./mqtt-reasons.ts";

export type MqttVersion = 4 | 5;
export type IncomingPublish = IPublishPacket & { payload: Buffer };

export interface MqttConnectionOptions {
  address: MqttAddress;
  version: MqttVersion;
  clientId: string;
  clean: boolean;
  keepAliveMs: number;
  timeoutMs: number;
  /** MQTT 5: messages that are not acknowledged at once. */
  receiveMax?: number | undefined;
  clock: Clock;
  onMessage?(packet: IncomingPublish): void;
}

export interface OutgoingPublish {
  topic: string;
  payload: Buffer;
  qos: QoS;
  retain: boolean;
  properties?: IPublishPacket["properties"];
}

interface Waiter {
  /** What answers it. */
  cmd: Packet["cmd"];
  done(packet: Packet): void;
  failed(error: Error): void;
}

type Codec = typeof import("mqtt-packet");

const idMax = 65_535;
const lingerMs = 1_000;

/**
 * One connection to a broker, until it is lost. The library behind is the codec alone: its client answers a message
 * before the next one is handled, and sends by itself what was cut off.
 */
export class MqttConnection {
  /** Resolves with the reason when it is over, whoever ended it. */
  readonly ended: Promise<Error>;
  readonly #options: MqttConnectionOptions;
  readonly #codec: Codec;
  readonly #socket: Socket;
  readonly #parser: Parser;
  readonly #waiters = new Map<number, Waiter>();
  /** The broker answers pings in their order. */
  readonly #pings: PromiseWithResolvers<void>[] = [];
  #saving: Promise<void> = Promise.resolve();
  #nextSave: Promise<void> | undefined;
  readonly #end = Promise.withResolvers<Error>();
  readonly #connack = Promise.withResolvers<IConnackPacket>();
  #server: IConnackPacket | undefined;
  #failure: Error | undefined;
  #lastId = 0;
  #timer: ClockTimer | undefined;
  #heardMs = 0;
  #isPaused = false;

  private constructor(codec: Codec, options: MqttConnectionOptions) {
    this.ended = this.#end.promise;
    this.#codec = codec;
    this.#options = options;
    this.#parser = codec.parser({ protocolVersion: options.version });
    this.#parser.on("packet", (packet) => this.#take(packet));
    this.#parser.on("error", (error: Error) => this.destroy(error));
    const { host, port, tls } = options.address;
    this.#socket =
      tls === undefined ? connectPlain({ host, port, noDelay: true }) : connectSecure({ host, port, ...tls });
    this.#socket.once(tls === undefined ? "connect" : "secureConnect", () => this.#greet());
    this.#socket.on("data", (bytes: Buffer) => this.#read(bytes));
    this.#socket.on("error", (error) => this.#over(error));
    this.#socket.on("close", () => this.#over(new Error("the broker closed the connection")));
  }

  /** Connects and says who it is, or rejects with the reason. */
  static async open(options: MqttConnectionOptions): Promise<MqttConnection> {
    const { default: codec } = (await import("mqtt-packet")) as unknown as { default: Codec };
    const connection = new MqttConnection(codec, options);
    const { clock, timeoutMs, version } = options;
    const connack = await withinTime(clock, timeoutMs, connection.#connack.promise, () =>
      connection.destroy(new Error("the broker did not answer in time")),
    );
    const code = (version === 5 ? connack.reasonCode : connack.returnCode) ?? 0;
    if (code !== 0) {
      connection.destroy();
      throw new MqttRefusal(`the broker refused the connection: ${connectReason(code, version)}`);
    }
    connection.#server = connack;
    connection.#watch();
    return connection;
  }

  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  get isSessionPresent(): boolean {
    return this.#server?.sessionPresent ?? false;
  }

  /** MQTT 5: messages that the broker takes before it has confirmed the first. */
  get sendMax(): number {
    return this.#server?.properties?.receiveMaximum ?? idMax;
  }

  get packetBytesMax(): number {
    return this.#server?.properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY;
  }

  /** Resolves when the broker has taken it over; with QoS 0 when it is written. */
  async publish(message: OutgoingPublish): Promise<void> {
    const packet = { cmd: "publish" as const, dup: false, ...message };
    if (message.qos === 0) return this.#send(packet);
    const messageId = this.#nextId();
    const answer = await this.#request({ ...packet, messageId }, message.qos === 1 ? "puback" : "pubrec");
    accepted(answer, "the message");
    if (message.qos === 2) await this.#request({ cmd: "pubrel", messageId }, "pubcomp");
  }

  /**
   * Resolves when Mosquitto has saved what it has confirmed. It takes one packet of a connection in a turn, answers at
   * once, and saves at the end of a turn that changed something, which a message for a subscriber who is there does
   * not. So it is told of a change, and asked in a later turn. One save is for all who wait.
   */
  saved(): Promise<void> {
    this.#nextSave ??= this.#saving.then(() => {
      this.#nextSave = undefined;
      const save = this.unsubscribe(neverSubscribed).then(() => this.#ping());
      this.#saving = save.catch(() => undefined);
      return save;
    });
    return this.#nextSave;
  }

  async subscribe(topic: string, qos: QoS): Promise<void> {
    const messageId = this.#nextId();
    // With MQTT 5 what is retained comes once, not with every new connection.
    const subscription = this.#options.version === 5 ? { topic, qos, rh: 1, rap: true } : { topic, qos };
    const packet = { cmd: "subscribe" as const, messageId, subscriptions: [subscription] };
    const { granted } = (await this.#request(packet, "suback")) as ISubackPacket;
    const code = Number(granted[0] ?? 0);
    if (code >= 128) throw new MqttRefusal(`the broker refused the subscription: ${reasonText(code)}`);
  }

  async unsubscribe(topic: string): Promise<void> {
    const messageId = this.#nextId();
    await this.#request({ cmd: "unsubscribe", messageId, unsubscriptions: [topic] }, "unsuback");
  }

  /** The message was handled: the broker may forget it. */
  acknowledge({ qos, messageId }: IncomingPublish): void {
    if (qos === 0 || messageId === undefined || this.#failure !== undefined) return;
    this.#send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
  }

  /** No more messages until `resume()`: what is sent waits in the sockets. */
  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#heardMs = this.#options.clock.monotonicMs();
    this.#socket.resume();
  }

  /** Says goodbye: what was sent arrives. */
  async close(): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#send({ cmd: "disconnect" });
    this.#socket.end();
    this.resume();
    const late = this.#options.clock.setTimer(lingerMs, () => this.destroy());
    await this.ended;
    late.cancel();
  }

  destroy(reason = new Error("the connection was given up")): void {
    this.#over(reason);
    this.#socket.destroy();
  }

  #greet(): void {
    const { clientId, clean, keepAliveMs, version, receiveMax, address } = this.#options;
    const { username, password } = address;
    this.#send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: version, clientId, clean },
      keepalive: Math.ceil(keepAliveMs / 1000),
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password: Buffer.from(password) }),
      ...(version === 5 && {
        properties: {
          ...(!clean && { sessionExpiryInterval: neverExpires }),
          ...(receiveMax !== undefined && { receiveMaximum: receiveMax }),
        },
      }),
    });
  }

  #read(bytes: Buffer): void {
    this.#heardMs = this.#options.clock.monotonicMs();
    try {
      this.#parser.parse(bytes);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #take(packet: Packet): void {
    const { cmd } = packet;
    if (cmd === "connack") this.#connack.resolve(packet);
    else if (cmd === "publish") this.#options.onMessage?.(packet as IncomingPublish);
    else if (cmd === "pingresp") this.#pings.shift()?.resolve();
    else if (cmd === "pubrel") this.#send({ cmd: "pubcomp", messageId: packet.messageId });
    else if (cmd === "disconnect") {
      const text = reasonText(packet.reasonCode ?? 0);
      this.destroy(new Error(`the broker ended the connection: ${text}`));
    } else this.#answered(packet);
  }

  #answered(packet: Packet): void {
    const id = packet.messageId ?? 0;
    const waiter = this.#waiters.get(id);
    // A negative PUBREC ends the exchange.
    if (waiter === undefined || waiter.cmd !== packet.cmd) return;
    this.#waiters.delete(id);
    waiter.done(packet);
  }

  #request(packet: Packet & { messageId: number }, cmd: Packet["cmd"]): Promise<Packet> {
    return new Promise((done, failed) => {
      if (this.#failure !== undefined) return failed(this.#failure);
      this.#waiters.set(packet.messageId, { cmd, done, failed });
      this.#send(packet);
    });
  }

  #ping(): Promise<void> {
    const answer = Promise.withResolvers<void>();
    this.#send({ cmd: "pingreq" });
    this.#pings.push(answer);
    return answer.promise;
  }

  #nextId(): number {
    if (this.#waiters.size >= idMax) throw new Error("too many messages wait for the broker");
    do this.#lastId = (this.#lastId % idMax) + 1;
    while (this.#waiters.has(this.#lastId));
    return this.#lastId;
  }

  #send(packet: Packet): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#socket.write(this.#codec.generate(packet, { protocolVersion: this.#options.version }));
  }

  /** Asks a silent broker, and leaves one that stays silent. */
  #watch(): void {
    const { clock, keepAliveMs } = this.#options;
    this.#heardMs = clock.monotonicMs();
    const look = (): void => {
      if (this.#failure !== undefined) return;
      const silentMs = clock.monotonicMs() - this.#heardMs;
      if (!this.#isPaused && silentMs > keepAliveMs * 1.5) {
        this.destroy(new Error(`the broker said nothing for ${Math.round(silentMs)} ms`));
        return;
      }
      this.#ping().catch(() => undefined);
      this.#timer = clock.setTimer(keepAliveMs / 2, look);
    };
    this.#timer = clock.setTimer(keepAliveMs / 2, look);
  }

  #over(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#timer?.cancel();
    this.#connack.promise.catch(() => undefined);
    this.#connack.reject(reason);
    for (const { failed } of this.#waiters.values()) failed(reason);
    this.#waiters.clear();
    for (const { reject } of this.#pings.splice(0)) reject(reason);
    this.#end.resolve(reason);
    this.#socket.destroySoon();
  }
}

const neverSubscribed = "mecha/saved";
const neverExpires = 0xff_ff_ff_ff;

function accepted(packet: Packet, what: string): void {
  const { reasonCode = 0 } = packet as { reasonCode?: number };
  if (reasonCode >= 128) throw new MqttRefusal(`the broker refused ${what}: ${reasonText(reasonCode)}`);
}

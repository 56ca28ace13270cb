import type { Consumer, ConsumerConfig, JsMsg } from "@nats-io/jetstream";
import type { Msg, MsgHdrs, Subscription } from "@nats-io/transport-node";
import type { Binding, BindingEvent, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, list, number, type Options, text } from "../../component/fields.ts";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { NatsLink } from "../clients/nats.ts";
import { natsFields } from "../clients/nats-fields.ts";
import { NatsPull } from "../clients/nats-pull.ts";

const fields = {
  ...natsFields,
  subject: text({
    description: "create and request send here; without it the request's metadata names the subject",
  }),
  subjects: list({ description: "the app gets the messages of these, also with wildcards", default: [] }),
  queueGroup: text({ description: "of all in one group one gets a message; by default the app id" }),
  streamName: text({
    description: "stream of JetStream that keeps messages; without it they are gone when nobody listens",
  }),
  durableName: text({
    description: "with streamName: consumers, instead of queueGroup; the subject is added",
  }),
  ackWait: duration({
    description: "with streamName: how long the server waits for a sign of life of a message's handler",
    default: 30_000,
    min: 1_000,
  }),
  maxDeliver: number({
    description: "with streamName: tries of a message at most; by default no end",
    min: 1,
  }),
  concurrency: number({ description: "messages at work at most", default: 64, min: 1, max: 1_000 }),
};

export default component({
  type: "bindings.nats",
  version: "v1",
  status: "beta",
  summary:
    "Messages of NATS, to a subject and from subjects; requests and their answers; streams of JetStream",
  package: "@nats-io/transport-node",
  metadata: fields,
  async open(options, host): Promise<Binding> {
    const { subject, streamName } = options;
    if (subject !== undefined) checkSubject(subject);
    const { edges, log } = host;
    const link = await NatsLink.open(options, { edges, log, isCore: streamName === undefined });
    return new NatsBinding(
      link,
      { ...options, queueGroup: options.queueGroup ?? host.appId },
      { edges, log },
    );
  },
});

type Settings = Options<typeof fields>;
type Surroundings = { edges: Edges; log: Log };
type Handler = (event: BindingEvent) => Promise<Uint8Array | undefined>;

const redeliverMs = 1_000;
/** Messages that wait for one at work to be done; NATS itself holds none back. */
const waitingMax = 10_000;
const waitingBytesMax = 64 << 20;

class NatsBinding implements Binding {
  readonly operations = ["create", "request"];
  readonly #link: NatsLink;
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #inputs: { close(): Promise<void> }[] = [];

  constructor(link: NatsLink, settings: Settings, surroundings: Surroundings) {
    this.#link = link;
    this.#settings = settings;
    this.#surroundings = surroundings;
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply | undefined> {
    if (!this.operations.includes(operation))
      throw new Error(`invalid operation type: ${operation}. Expected create or request`);
    const { subject: named, ...rest } = metadata;
    const subject = this.#subjectOf(named);
    const headers = this.#headers(rest);
    if (operation === "request") {
      const answer = await this.#link.request(subject, data, headers);
      const problem = answer.headers?.get("Nats-Service-Error");
      if (problem) throw new Error(`${subject} answered with an error: ${problem}`);
      return { data: answer.data, metadata: metadataOf(answer) };
    }
    const { streamName, timeout } = this.#settings;
    const { jetstream } = this.#link;
    if (streamName === undefined) await this.#link.send(subject, data, headers);
    else {
      const options = { timeout, expect: { streamName }, ...(headers && { headers }) };
      await this.#link.ask(() => jetstream.publish(subject, data, options));
    }
    return undefined;
  }

  async read(handler: Handler): Promise<void> {
    const { subjects, streamName } = this.#settings;
    for (const subject of subjects) {
      if (streamName === undefined) this.#inputs.push(this.#listen(subject, handler));
      else this.#inputs.push(await this.#consume(subject, streamName, handler));
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#inputs.map((input) => input.close()));
    await this.#link.close();
  }

  #subjectOf(named: string | undefined): string {
    const { subject } = this.#settings;
    if (subject !== undefined && named !== undefined && named !== subject)
      throw new Error(`the subject is the component's, ${subject}: a request can not name another`);
    const found = subject ?? named;
    if (found === undefined) throw new Error("subject is missing: there is none to send to");
    checkSubject(found);
    return found;
  }

  #headers(metadata: Record<string, string>): MsgHdrs | undefined {
    const entries = Object.entries(metadata);
    if (entries.length === 0) return undefined;
    const headers = this.#link.headers();
    for (const [name, value] of entries) headers.set(name, value);
    return headers;
  }

  #listen(subject: string, handler: Handler): { close(): Promise<void> } {
    const { queueGroup: queue, concurrency } = this.#settings;
    const messages = new LiveMessages(handler, { concurrency, ...this.#surroundings, link: this.#link });
    const subscription: Subscription = this.#link.connection.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: (error, message) => {
        if (error) this.#surroundings.log.warn({ error, subject }, "a subject can not be read");
        else messages.take(message);
      },
    });
    return {
      async close() {
        subscription.unsubscribe();
        await messages.close();
      },
    };
  }

  async #consume(subject: string, stream: string, handler: Handler): Promise<NatsPull> {
    const { durableName, queueGroup, concurrency } = this.#settings;
    const name = `${durableName ?? queueGroup}-${subject}`.replace(/[^A-Za-z0-9_-]/g, "_");
    const pull = new NatsPull({
      ...{ surroundings: this.#surroundings, topic: subject, concurrencyMax: concurrency },
      signEveryMs: this.#settings.ackWait / 2,
      consumer: () => this.#consumer(stream, name, subject),
      begin: (message) => ({ partitionKey: undefined, handle: () => this.#handle(message, handler) }),
    });
    await pull.open();
    return pull;
  }

  async #consumer(stream: string, name: string, subject: string): Promise<Consumer> {
    const { ackWait, maxDeliver } = this.#settings;
    const config = {
      ...{ durable_name: name, filter_subject: subject, ack_policy: "explicit", deliver_policy: "all" },
      ack_wait: ackWait * 1_000_000,
      ...(maxDeliver !== undefined && { max_deliver: maxDeliver }),
    } as ConsumerConfig;
    await this.#link.ask(async () => {
      const { manager } = this.#link;
      const known = await manager.consumers.info(stream, name).catch(() => undefined);
      const { ack_wait, max_deliver } = config;
      if (known === undefined) await manager.consumers.add(stream, config);
      else await manager.consumers.update(stream, name, { ack_wait, ...(max_deliver && { max_deliver }) });
    });
    return this.#link.ask(() => this.#link.jetstream.consumers.get(stream, name));
  }

  /** Never rejects: what is not acknowledged comes again. */
  async #handle(message: JsMsg, handler: Handler): Promise<void> {
    try {
      await handler(eventOf(message));
    } catch {
      return message.nak(redeliverMs);
    }
    await this.#link.turn();
    message.ack();
  }
}

type LiveParts = Surroundings & { concurrency: number; link: NatsLink };

/** Messages of a subject that nobody keeps: some at work, some waiting, and what is more than that is refused. */
class LiveMessages {
  readonly #handler: Handler;
  readonly #parts: LiveParts;
  readonly #atWork = new MessagesAtWork();
  readonly #waiting: Msg[] = [];
  #waitingBytes = 0;
  #refused = 0;
  #isClosing = false;

  constructor(handler: Handler, parts: LiveParts) {
    this.#handler = handler;
    this.#parts = parts;
  }

  take(message: Msg): void {
    const bytes = this.#waitingBytes + message.data.length;
    if (this.#isClosing) return;
    if (this.#atWork.size < this.#parts.concurrency) this.#start(message);
    else if (this.#waiting.length >= waitingMax || bytes > waitingBytesMax) this.#refuse(message);
    else {
      this.#waiting.push(message);
      this.#waitingBytes = bytes;
    }
  }

  /** Those that wait are nobody's: a subject promises nothing. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#waiting.length = 0;
    await this.#atWork.all();
  }

  #start(message: Msg): void {
    this.#atWork.start(message, undefined, async () => {
      await this.#handle(message);
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#waitingBytes -= next.data.length;
      this.#start(next);
    });
  }

  /** Never rejects. Whoever asked gets the app's answer, or the word that there is none. */
  async #handle(message: Msg): Promise<void> {
    try {
      const answer = await this.#handler(eventOf(message));
      if (message.reply) message.respond(answer ?? new Uint8Array());
    } catch {
      this.#sayNo(message, "500", "the app did not take the message");
    }
  }

  #refuse(message: Msg): void {
    if (this.#refused++ === 0)
      this.#parts.log.warn(
        { subject: message.subject },
        "more messages come than the app takes; some are lost",
      );
    this.#sayNo(message, "503", "too many messages wait already");
  }

  #sayNo(message: Msg, code: string, text: string): void {
    if (!message.reply) return;
    const headers = this.#parts.link.headers();
    headers.set("Nats-Service-Error", text);
    headers.set("Nats-Service-Error-Code", code);
    try {
      message.respond(new Uint8Array(), { headers });
    } catch {
      // The connection is closed: who asked finds out by the time.
    }
  }
}

function checkSubject(subject: string): void {
  const isPlain = /^[^\s*>]+$/.test(subject) && !subject.split(".").includes("");
  // Those are the server's own, with which one can do anything.
  if (isPlain && !/^[$_]/.test(subject)) return;
  throw new Error(`subject ${JSON.stringify(subject)} can not be sent to`);
}

/** Headers that would be the app's own request's. */
const notHeaders = new Set([
  ...["connection", "content-length", "content-type", "host", "keep-alive", "te", "trailer"],
  ...["transfer-encoding", "upgrade", "expect"],
]);

function eventOf(message: Msg | JsMsg): BindingEvent {
  const contentType = message.headers?.get("Content-Type");
  return {
    data: message.data,
    metadata: { ...metadataOf(message), subject: message.subject },
    ...(contentType && { contentType }),
  };
}

function metadataOf({ headers }: Pick<Msg, "headers">): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of headers?.keys() ?? []) {
    const value = headers?.get(name) ?? "";
    const isHeader = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && /^[\x20-\x7e]*$/.test(value);
    const lower = name.toLowerCase();
    if (isHeader && !notHeaders.has(lower) && !lower.startsWith("dapr-")) found[name] = value;
  }
  return found;
}

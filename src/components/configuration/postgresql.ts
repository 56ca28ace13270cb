import { component } from "../../component/component.ts";
import type { ConfigurationItem, ConfigurationStore } from "../../component/configuration-store.ts";
import { text } from "../../component/fields.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { openPostgresql, type PostgresqlConnection } from "../clients/postgresql.ts";
import { postgresqlFields } from "../clients/postgresql-fields.ts";
import { PostgresqlListener } from "../clients/postgresql-listener.ts";

export default component({
  type: "configuration.postgresql",
  version: "v1",
  status: "stable",
  summary: "Rows of a PostgreSQL table; changes by the notices of a trigger",
  package: "postgres",
  metadata: {
    ...postgresqlFields,
    table: text({ description: "table with the columns key, value, version and metadata", required: true }),
    notifyChannel: text({
      description: "channel that the table's trigger notifies",
      aliases: ["pgNotifyChannel"],
    }),
  },
  async open(options, host): Promise<ConfigurationStore> {
    const table = checkedName("table", options.table);
    const { notifyChannel } = options;
    const channel = notifyChannel ? checkedName("notifyChannel", notifyChannel) : undefined;
    const connection = await openPostgresql(options, host);
    const listen = async (name: string, onHint: () => void): Promise<PostgresqlListener> => {
      const connect = (events: object) => openPostgresql(options, host, { max: 1, ...events });
      const listener = new PostgresqlListener({ clock: host.edges.clock, channel: name, connect, onHint });
      await listener.open();
      return listener;
    };
    try {
      const [found] = await connection.read<{ oid: unknown }>("SELECT to_regclass($1::text)::oid AS oid", [
        table,
      ]);
      // The text is Dapr's.
      if (found?.oid === null) throw new Error(`postgreSQL configuration table '${table}' does not exist`);
    } catch (error) {
      await connection.close();
      throw error;
    }
    return new PostgresqlConfiguration(connection, { table, channel, listen, log: host.log });
  },
});

/** As in Dapr: names become part of statements. */
function checkedName(field: string, name: string): string {
  if (name.length > 64) throw new Error(`${field} name is too long - "${name}". max allowed length is 64`);
  if (/^[a-z0-9_]+(\.[a-z0-9_]+)?$/.test(name)) return name;
  throw new Error(
    `invalid ${field} name "${name}". non-alphanumerics or upper cased names are not supported`,
  );
}

type Items = Record<string, ConfigurationItem>;

interface Row {
  key: string;
  value: string | null;
  version: string | null;
  metadata: Record<string, unknown> | string | null;
}

interface Subscription {
  /** Empty: all. */
  keys: ReadonlySet<string>;
  /** What it was last told, or would have found at its beginning, as JSON. */
  known: Map<string, string>;
  listener: (items: Items) => void;
}

interface Around {
  table: string;
  channel: string | undefined;
  listen(channel: string, onHint: () => void): Promise<PostgresqlListener>;
  log: Log;
}

class PostgresqlConfiguration implements ConfigurationStore {
  readonly #connection: PostgresqlConnection;
  readonly #around: Around;
  readonly #subscriptions = new Set<Subscription>();
  readonly #listeners = new Map<string, Promise<PostgresqlListener>>();
  #telling: Promise<void> | undefined;
  #isHinted = false;
  #isClosed = false;

  constructor(connection: PostgresqlConnection, around: Around) {
    this.#connection = connection;
    this.#around = around;
  }

  async get(keys: readonly string[]): Promise<Items> {
    const condition =
      keys.length === 0 ? "" : " WHERE key = ANY(ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))";
    const query = `SELECT key, value, version::text AS version, metadata FROM ${this.#around.table}${condition}`;
    const rows = await this.#connection.read<Row>(query, keys.length === 0 ? [] : [JSON.stringify(keys)]);
    return newestOf(rows);
  }

  async subscribe(
    keys: readonly string[],
    metadata: Record<string, string>,
    listener: (items: Items) => void,
  ): Promise<() => Promise<void>> {
    await this.#listenTo(this.#around.channel ?? channelOf(metadata));
    const subscription = { keys: new Set(keys), known: shown(await this.get(keys)), listener };
    this.#subscriptions.add(subscription);
    // What came between the look and this moment was told to nobody.
    this.#hint();
    return async () => void this.#subscriptions.delete(subscription);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#subscriptions.clear();
    const listeners = await Promise.allSettled(this.#listeners.values());
    await Promise.all(listeners.map((opened) => opened.status === "fulfilled" && opened.value.close()));
    await this.#connection.close();
    await this.#telling;
  }

  async #listenTo(channel: string | undefined): Promise<void> {
    const { table, listen } = this.#around;
    if (channel === undefined) {
      const why = "notifyChannel must be set in component metadata or request metadata";
      throw new Error(`unable to subscribe to "${table}". ${why}`);
    }
    const opening = this.#listeners.get(channel) ?? listen(channel, () => this.#hint());
    this.#listeners.set(channel, opening);
    try {
      await opening;
    } catch (error) {
      this.#listeners.delete(channel);
      throw error;
    }
  }

  /** Notices say what changed, but one may be lost: the table says it for sure. */
  #hint(): void {
    this.#isHinted = true;
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
    });
  }

  async #tellAll(): Promise<void> {
    while (this.#isHinted && !this.#isClosed) {
      this.#isHinted = false;
      try {
        await this.#tell();
      } catch (error) {
        // When the connection is back there is another hint.
        if (!this.#isClosed) this.#around.log.warn({ error }, "changed configuration could not be read");
      }
    }
  }

  async #tell(): Promise<void> {
    const subscriptions = [...this.#subscriptions];
    const wantsAll = subscriptions.some(({ keys }) => keys.size === 0);
    const wanted = new Set(subscriptions.flatMap(({ keys }) => [...keys]));
    if (!wantsAll && wanted.size === 0) return;
    const items = await this.get(wantsAll ? [] : [...wanted]);
    for (const subscription of subscriptions) {
      const own = Object.entries(items).filter(
        ([key]) => subscription.keys.size === 0 || subscription.keys.has(key),
      );
      const changed = changes(subscription.known, Object.fromEntries(own));
      if (Object.keys(changed).length > 0 && this.#subscriptions.has(subscription))
        subscription.listener(changed);
    }
  }
}

/** Earlier clients name the channel in each request. */
function channelOf(metadata: Record<string, string>): string | undefined {
  const given = Object.entries(metadata).find(([name]) => name.toLowerCase() === "pgnotifychannel")?.[1];
  return given ? checkedName("notifyChannel", given) : undefined;
}

/** A key may have several versions: the highest number counts. */
function newestOf(rows: readonly Row[]): Items {
  const items: Items = {};
  for (const { key, value, version, metadata } of rows) {
    const before = items[key];
    if (before !== undefined && numberOf(version) <= numberOf(before.version)) continue;
    items[key] = { value: value ?? "", version: version ?? "", metadata: textsOf(metadata) };
  }
  return items;
}

function numberOf(version: string | null): number {
  return version !== null && /^[+-]?\d+$/.test(version) ? Number(version) : -1;
}

function textsOf(metadata: Row["metadata"]): Record<string, string> {
  const members: unknown = typeof metadata === "string" ? JSON.parse(metadata) : metadata;
  if (typeof members !== "object" || members === null) return {};
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [name, String(value)]));
}

function shown(items: Items): Map<string, string> {
  return new Map(Object.entries(items).map(([key, item]) => [key, JSON.stringify(item)]));
}

/** Brings `known` up to date and answers what differed; what is gone has an empty value. */
function changes(known: Map<string, string>, items: Items): Items {
  const changed: Items = {};
  for (const [key, text] of shown(items)) {
    if (known.get(key) !== text) changed[key] = items[key] as ConfigurationItem;
    known.set(key, text);
  }
  for (const key of known.keys()) {
    if (key in items) continue;
    known.delete(key);
    changed[key] = { value: "", version: "", metadata: {} };
  }
  return changed;
}

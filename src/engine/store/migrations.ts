import type { Connection } from "./sqlite/connection.ts";

/** "mcha": tells a mecha store from any other SQLite file. */
export const applicationId = 0x6d636861;

/**
 * Every schema a released mecha has written, oldest first; entry n brings a file from version n to n + 1.
 * Entries are never edited once released: add one.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  -- One counter for etags, offsets, claims and fencing tokens: a number is never used twice, so none of them is.
  INSERT INTO counters VALUES ('revision', 0), ('keys', 0), ('timers', 0);

  CREATE TABLE keys (
    space TEXT NOT NULL, key TEXT NOT NULL,
    etag INTEGER NOT NULL, expires_at INTEGER, content_type TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (space, key)
  ) WITHOUT ROWID;
  CREATE INDEX keys_by_expiry ON keys (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TRIGGER key_added AFTER INSERT ON keys
    BEGIN UPDATE counters SET value = value + 1 WHERE name = 'keys'; END;
  CREATE TRIGGER key_removed AFTER DELETE ON keys
    BEGIN UPDATE counters SET value = value - 1 WHERE name = 'keys'; END;

  -- appended: messages ever; messages and bytes: those kept now.
  CREATE TABLE topics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    appended INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0, dropped INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE messages (
    topic INTEGER NOT NULL, offset INTEGER NOT NULL,
    published_at INTEGER NOT NULL, not_before INTEGER, expires_at INTEGER,
    order_key TEXT, headers TEXT, data BLOB NOT NULL,
    PRIMARY KEY (topic, offset)
  ) WITHOUT ROWID;
  -- Every message up to the cursor is either done or has a row in claims. passed: how many the cursor has passed.
  CREATE TABLE consumers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, name TEXT NOT NULL,
    cursor INTEGER NOT NULL, passed INTEGER NOT NULL,
    UNIQUE (topic, name)
  );
  -- claim 0: not in flight. visible_at: when it may be claimed (again).
  CREATE TABLE claims (
    consumer INTEGER NOT NULL, offset INTEGER NOT NULL,
    claim INTEGER NOT NULL, attempt INTEGER NOT NULL, visible_at INTEGER NOT NULL,
    order_key TEXT, owner TEXT,
    PRIMARY KEY (consumer, offset)
  ) WITHOUT ROWID;
  CREATE INDEX claims_by_time ON claims (consumer, visible_at);
  CREATE INDEX claims_by_order ON claims (consumer, order_key, offset) WHERE order_key IS NOT NULL;

  -- visible_at: due_at, or the end of the lease while claimed.
  CREATE TABLE timers (
    space TEXT NOT NULL, id TEXT NOT NULL,
    due_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, claim INTEGER NOT NULL, owner TEXT, data BLOB NOT NULL,
    PRIMARY KEY (space, id)
  ) WITHOUT ROWID;
  CREATE INDEX timers_by_time ON timers (space, visible_at);
  CREATE INDEX timers_by_owner ON timers (owner) WHERE owner IS NOT NULL;
  CREATE TRIGGER timer_added AFTER INSERT ON timers
    BEGIN UPDATE counters SET value = value + 1 WHERE name = 'timers'; END;
  CREATE TRIGGER timer_removed AFTER DELETE ON timers
    BEGIN UPDATE counters SET value = value - 1 WHERE name = 'timers'; END;

  CREATE TABLE history (
    instance TEXT NOT NULL, position INTEGER NOT NULL, event BLOB NOT NULL,
    PRIMARY KEY (instance, position)
  ) WITHOUT ROWID;

  CREATE TABLE leases (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, expires_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX leases_by_expiry ON leases (expires_at);
  `,
  // Histories by number instead of name: those that grow at the same time lie side by side, and a commit of several
  // writes half the pages.
  `
  CREATE TABLE histories (id INTEGER PRIMARY KEY, instance TEXT NOT NULL UNIQUE);
  CREATE TABLE events (
    history INTEGER NOT NULL, position INTEGER NOT NULL, event BLOB NOT NULL,
    PRIMARY KEY (history, position)
  ) WITHOUT ROWID;
  INSERT INTO histories (instance) SELECT DISTINCT instance FROM history ORDER BY instance;
  INSERT INTO events (history, position, event)
    SELECT histories.id, position, event FROM history JOIN histories USING (instance) ORDER BY histories.id, position;
  DROP TABLE history;
  CREATE VIEW history AS
    SELECT instance, position, event FROM histories JOIN events ON events.history = histories.id;
  CREATE TRIGGER history_inserted INSTEAD OF INSERT ON history BEGIN
    INSERT OR IGNORE INTO histories (instance) VALUES (new.instance);
    INSERT INTO events (history, position, event)
      SELECT id, new.position, new.event FROM histories WHERE instance = new.instance;
  END;
  `,
];

export const schemaVersion = migrations.length;

/** The file cannot be used by this mecha; the message says what to do. */
export class StoreFileRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StoreFileRefused";
  }
}

export function readSchemaVersion(db: Connection): number {
  return pragmaNumber(db, "user_version");
}

/** Refuses what this mecha cannot read: another program's file, or a newer mecha's. */
export function refuseUnknownFile(db: Connection, path: string): void {
  const found = readSchemaVersion(db);
  refuseForeign(db, path, found);
  refuseNewer(path, found, schemaVersion);
}

/** Brings the file to this mecha's schema, or refuses it. Safe when several processes do it at once. */
export function migrate(db: Connection, path: string, steps: readonly string[] = migrations): void {
  const found = readSchemaVersion(db);
  refuseForeign(db, path, found);
  refuseNewer(path, found, steps.length);
  if (found === steps.length) return;
  db.transact(() => {
    // Another process may have migrated between the look above and the lock.
    const current = readSchemaVersion(db);
    refuseNewer(path, current, steps.length);
    for (const step of steps.slice(current)) db.run(step);
    db.run(`PRAGMA application_id = ${applicationId}`);
    db.run(`PRAGMA user_version = ${steps.length}`);
  });
}

function refuseForeign(db: Connection, path: string, version: number): void {
  const owner = pragmaNumber(db, "application_id");
  if (owner === applicationId) return;
  const tables = db.all<{ count: number }>("SELECT count(*) AS count FROM sqlite_schema")[0]?.count ?? 0;
  if (owner === 0 && version === 0 && tables === 0) return;
  // Read without a transaction: another process may have created the store between the two looks.
  if (pragmaNumber(db, "application_id") === applicationId) return;
  throw new StoreFileRefused(
    `${path} is an SQLite file, but not a mecha store; choose another data directory`,
  );
}

function refuseNewer(path: string, found: number, known: number): void {
  if (found <= known) return;
  throw new StoreFileRefused(
    `this store was written by a newer mecha (schema ${found}, this one knows ${known}): ${path}; ` +
      "upgrade this mecha, or point --data-dir at another directory",
  );
}

function pragmaNumber(db: Connection, name: string): number {
  const row = db.all<Record<string, number>>(`PRAGMA ${name}`)[0];
  return row?.[name] ?? 0;
}

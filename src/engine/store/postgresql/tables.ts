/**
 * The tables, as sqlite's but for what PostgreSQL does better. Names hold what the caller gave, escaped
 * (`text.ts`); the collation "C" compares bytes, which for UTF-8 is the order of code points.
 */
export const tables = `
CREATE DOMAIN name_text AS text COLLATE "C";
-- One counter for etags, offsets, claims and fencing tokens: a number is never given twice, also after a crash.
CREATE SEQUENCE revision AS bigint;

CREATE TABLE keys (
  space name_text NOT NULL, key name_text NOT NULL,
  etag bigint NOT NULL, expires_at bigint, content_type text NOT NULL, value bytea NOT NULL,
  PRIMARY KEY (space, key)
);
CREATE INDEX keys_by_expiry ON keys (expires_at) WHERE expires_at IS NOT NULL;

-- appended: messages ever; messages and bytes: those kept now; scanned: where the search for handled ones goes on.
CREATE TABLE topics (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name name_text NOT NULL UNIQUE,
  appended bigint NOT NULL DEFAULT 0, messages bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0, dropped bigint NOT NULL DEFAULT 0, scanned bigint NOT NULL DEFAULT 0
);
CREATE TABLE messages (
  topic bigint NOT NULL, seq bigint NOT NULL,
  published_at bigint NOT NULL, not_before bigint, expires_at bigint,
  order_key text COLLATE "C", headers text, data bytea NOT NULL,
  PRIMARY KEY (topic, seq)
);
-- Every message up to the cursor is either done or has a row in claims. passed: how many the cursor has passed.
CREATE TABLE consumers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic bigint NOT NULL, name name_text NOT NULL,
  cursor bigint NOT NULL, passed bigint NOT NULL,
  UNIQUE (topic, name)
);
-- claim 0: not in flight. visible_at: when it may be claimed (again).
CREATE TABLE claims (
  consumer bigint NOT NULL, seq bigint NOT NULL,
  claim bigint NOT NULL, attempt integer NOT NULL, visible_at bigint NOT NULL,
  order_key text COLLATE "C", owner text,
  PRIMARY KEY (consumer, seq)
);
CREATE INDEX claims_by_time ON claims (consumer, visible_at);
CREATE INDEX claims_by_order ON claims (consumer, order_key, seq) WHERE order_key IS NOT NULL;

-- visible_at: due_at, or the end of the lease while claimed.
CREATE TABLE timers (
  space name_text NOT NULL, id name_text NOT NULL,
  due_at bigint NOT NULL, visible_at bigint NOT NULL, claim bigint NOT NULL, owner text, data bytea NOT NULL,
  PRIMARY KEY (space, id)
);
CREATE INDEX timers_by_time ON timers (space, visible_at);
CREATE INDEX timers_by_owner ON timers (owner) WHERE owner IS NOT NULL;

CREATE TABLE history (
  instance name_text NOT NULL, position integer NOT NULL, event bytea NOT NULL,
  PRIMARY KEY (instance, position)
);

CREATE TABLE leases (
  name name_text PRIMARY KEY, owner text NOT NULL, token bigint NOT NULL, expires_at bigint NOT NULL
);
CREATE INDEX leases_by_expiry ON leases (expires_at);
`;

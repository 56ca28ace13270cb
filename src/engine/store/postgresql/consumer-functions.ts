import { never } from "../sqlite/claim-table.ts";

/** Messages that wait for their order key, per group: beyond, the cursor stands until some are handled. */
const waitingMax = 10_000;
/** Messages looked at by one claim. */
const scanMax = 1000;
/** Bytes one claim returns before it stops; one larger message still passes. */
const claimBytesMax = 8 * 1024 * 1024;

/** Consumer groups: who has seen what of a topic. The same rules as sqlite's `consumer-table.ts`. */
export const consumerFunctions = `
CREATE FUNCTION ensure_group(class integer, locks integer[], topic_name text, group_name text, earliest boolean)
  RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM take_locks(class, false, locks);
  INSERT INTO topics (name) VALUES (topic_name) ON CONFLICT (name) DO NOTHING;
  -- "earliest" starts before the oldest message kept, "latest" after the newest.
  INSERT INTO consumers (topic, name, cursor, passed)
    SELECT id, group_name, CASE WHEN earliest THEN 0 ELSE nextval('revision') END,
      CASE WHEN earliest THEN appended - messages ELSE appended END FROM topics WHERE name = topic_name
    ON CONFLICT (topic, name) DO NOTHING;
END $$;

CREATE FUNCTION delete_group(class integer, locks integer[], topic_name text, group_name text)
  RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  gone bigint;
BEGIN
  PERFORM take_locks(class, false, locks);
  DELETE FROM consumers USING topics WHERE topics.name = topic_name AND consumers.topic = topics.id
    AND consumers.name = group_name RETURNING consumers.id INTO gone;
  DELETE FROM claims WHERE consumer = gone;
END $$;

-- When the message may be delivered: now, later, or "never" while an earlier one with its order key is not done.
-- One that the claim "along" holds is no obstacle: both come together.
CREATE FUNCTION ready_at(group_id bigint, m messages, along bigint, now_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  IF m.order_key IS NOT NULL THEN
    PERFORM 1 FROM claims WHERE consumer = group_id AND order_key = m.order_key AND seq < m.seq
      AND claim <> along LIMIT 1;
    IF FOUND THEN RETURN ${never}; END IF;
  END IF;
  IF m.not_before IS NULL OR m.not_before <= now_ms THEN RETURN now_ms; END IF;
  RETURN least(m.not_before, coalesce(m.expires_at, m.not_before));
END $$;

CREATE TYPE claimed AS (seq bigint, claim bigint, attempt integer, published_at bigint, headers text, data bytea,
  is_expired boolean);

-- Messages behind the cursor whose time has come: lease over, delay over, or their order key is free.
CREATE FUNCTION claim_due(c consumers, claimer text, rev bigint, along bigint, max_count integer, lease_ms bigint,
  now_ms bigint) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
DECLARE
  due record;
  follower record;
  m messages;
  at bigint;
  size bigint := 0;
  taken integer := 0;
BEGIN
  FOR due IN SELECT claims.seq, claims.attempt FROM claims WHERE consumer = c.id AND visible_at <= now_ms
      ORDER BY claims.seq LIMIT max_count LOOP
    SELECT * INTO m FROM messages WHERE topic = c.topic AND seq = due.seq;
    IF NOT FOUND THEN
      DELETE FROM claims WHERE consumer = c.id AND seq = due.seq;
      CONTINUE;
    END IF;
    EXIT WHEN size >= ${claimBytesMax} OR taken >= max_count;
    at := ready_at(c.id, m, along, now_ms);
    IF at > now_ms THEN
      UPDATE claims SET visible_at = at, claim = 0, owner = NULL WHERE consumer = c.id AND seq = due.seq;
      CONTINUE;
    END IF;
    UPDATE claims SET claim = rev, owner = claimer, visible_at = now_ms + lease_ms, attempt = claims.attempt + 1
      WHERE consumer = c.id AND seq = due.seq;
    size := size + length(m.data);
    taken := taken + 1;
    RETURN NEXT (m.seq, rev, due.attempt + 1, m.published_at, m.headers, m.data, coalesce(m.expires_at <= now_ms, false))::claimed;
    CONTINUE WHEN along <> rev OR m.order_key IS NULL;
    -- Those parked behind it, up to one that somebody has or that is delayed.
    FOR follower IN SELECT claims.seq, claims.attempt, claims.visible_at FROM claims
        WHERE consumer = c.id AND order_key = m.order_key AND claims.seq > due.seq ORDER BY claims.seq LIMIT max_count LOOP
      EXIT WHEN follower.visible_at <> ${never} OR taken >= max_count OR size >= ${claimBytesMax};
      SELECT * INTO m FROM messages WHERE topic = c.topic AND seq = follower.seq;
      EXIT WHEN NOT FOUND OR m.not_before > now_ms;
      UPDATE claims SET claim = rev, owner = claimer, visible_at = now_ms + lease_ms, attempt = claims.attempt + 1
        WHERE consumer = c.id AND seq = follower.seq;
      size := size + length(m.data);
      taken := taken + 1;
      RETURN NEXT (m.seq, rev, follower.attempt + 1, m.published_at, m.headers, m.data,
        coalesce(m.expires_at <= now_ms, false))::claimed;
    END LOOP;
  END LOOP;
END $$;

-- Messages beyond the cursor. Those that must wait are parked in claims, so that the cursor can move on.
CREATE FUNCTION claim_new(c consumers, claimer text, rev bigint, along bigint, max_count integer, lease_ms bigint,
  now_ms bigint) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
DECLARE
  m messages;
  at bigint;
  taken integer := 0;
  scanned integer := 0;
  size bigint := 0;
  room integer;
  until bigint := c.cursor;
BEGIN
  IF max_count <= 0 THEN RETURN; END IF;
  FOR m IN SELECT * FROM messages WHERE topic = c.topic AND seq > c.cursor ORDER BY seq LIMIT ${scanMax} LOOP
    EXIT WHEN taken >= max_count OR size >= ${claimBytesMax};
    at := ready_at(c.id, m, along, now_ms);
    IF at <= now_ms THEN
      INSERT INTO claims VALUES (c.id, m.seq, rev, 1, now_ms + lease_ms, m.order_key, claimer);
      taken := taken + 1;
      size := size + length(m.data);
      RETURN NEXT (m.seq, rev, 1, m.published_at, m.headers, m.data, coalesce(m.expires_at <= now_ms, false))::claimed;
    ELSE
      IF at = ${never} THEN
        room := coalesce(room, ${waitingMax} - (SELECT count(*) FROM (SELECT 1 FROM claims WHERE consumer = c.id
          AND visible_at = ${never} LIMIT ${waitingMax}) AS waiting));
        EXIT WHEN room <= 0;
        room := room - 1;
      END IF;
      INSERT INTO claims VALUES (c.id, m.seq, 0, 0, at, m.order_key, NULL);
    END IF;
    until := m.seq;
    scanned := scanned + 1;
  END LOOP;
  IF scanned > 0 THEN UPDATE consumers SET cursor = until, passed = passed + scanned WHERE id = c.id; END IF;
END $$;

-- The last row has no message: "attempt" is 1 when a further claim may find something now, and "published_at" tells
-- in how many milliseconds the next delayed or leased message may be claimed.
CREATE FUNCTION claim_messages(class integer, locks integer[], topic_name text, group_name text, claimer text,
  max_count integer, lease_ms bigint, together boolean, given bigint) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
DECLARE
  c consumers;
  now_ms bigint := moment(given);
  rev bigint;
  -- A number that no claim has, unless messages with one order key may come together.
  along bigint := -1;
  taken integer := 0;
  one claimed;
  first_at bigint;
  before bigint;
BEGIN
  SELECT consumers.* INTO c FROM consumers JOIN topics ON topics.id = consumers.topic
    WHERE topics.name = topic_name AND consumers.name = group_name;
  IF c.id IS NULL THEN RAISE EXCEPTION USING ERRCODE = 'MGONE', MESSAGE = 'no such group'; END IF;
  SELECT min(visible_at) INTO first_at FROM claims WHERE consumer = c.id;
  PERFORM 1 FROM messages WHERE topic = c.topic AND seq > c.cursor LIMIT 1;
  IF FOUND OR first_at <= now_ms THEN
    PERFORM take_locks(class, false, locks);
    now_ms := moment(given);
    SELECT * INTO c FROM consumers WHERE id = c.id;
    IF c.id IS NULL THEN RAISE EXCEPTION USING ERRCODE = 'MGONE', MESSAGE = 'no such group'; END IF;
    before := c.cursor;
    rev := nextval('revision');
    IF together THEN along := rev; END IF;
    FOR one IN SELECT * FROM claim_due(c, claimer, rev, along, max_count, lease_ms, now_ms) LOOP
      taken := taken + 1;
      RETURN NEXT one;
    END LOOP;
    FOR one IN SELECT * FROM claim_new(c, claimer, rev, along, max_count - taken, lease_ms, now_ms) LOOP
      taken := taken + 1;
      RETURN NEXT one;
    END LOOP;
    SELECT cursor INTO before FROM consumers WHERE id = c.id AND cursor > before;
    SELECT min(visible_at) INTO first_at FROM claims WHERE consumer = c.id;
    -- Nothing came, but something moved: there may be more behind it.
    IF taken = 0 AND (before > c.cursor OR first_at <= now_ms) THEN
      RETURN NEXT (NULL, NULL, 1, 0, NULL, NULL, NULL)::claimed;
      RETURN;
    END IF;
  END IF;
  RETURN NEXT (NULL, NULL, 0, nullif(first_at, ${never}) - now_ms, NULL, NULL, NULL)::claimed;
END $$;

-- What processes held that died without a word is free again at once; the topics and timer spaces concerned.
CREATE FUNCTION release_owners(class integer, owners text[], given bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  now_ms bigint := moment(given);
BEGIN
  PERFORM take_locks(class, true, '{}');
  RETURN QUERY WITH freed AS (
    UPDATE claims SET claim = 0, owner = NULL, visible_at = now_ms WHERE owner = ANY (owners) RETURNING consumer)
    SELECT DISTINCT 'topic:' || topics.name FROM freed JOIN consumers ON consumers.id = freed.consumer
      JOIN topics ON topics.id = consumers.topic;
  RETURN QUERY WITH freed AS (
    UPDATE timers SET claim = 0, owner = NULL, visible_at = due_at WHERE owner = ANY (owners) RETURNING space)
    SELECT DISTINCT 'timers:' || space FROM freed;
END $$;
`;

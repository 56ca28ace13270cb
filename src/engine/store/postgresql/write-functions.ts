import { never } from "../sqlite/claim-table.ts";

/**
 * The writing side, in the server: a batch is one call and one round trip, so a client that is stopped or cut off in
 * the middle holds no lock. `b` holds the bytes of the whole batch, `[start, length]` in the JSON points into it.
 * A mutation answers with its outcome as JSON, or with `!reason message` when it refuses.
 */
export const writeFunctions = `
-- The time that counts: the server's, or the one a test gives.
CREATE FUNCTION moment(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
$$;

-- Locks are taken before anything else, all in one order: 0 (alone: exclusive), then what is written, hashed.
CREATE FUNCTION take_locks(class integer, alone boolean, locks integer[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF alone THEN
    PERFORM pg_advisory_xact_lock(class, 0);
  ELSE
    PERFORM pg_advisory_xact_lock_shared(class, 0);
    PERFORM pg_advisory_xact_lock(class, one) FROM unnest(locks) AS one;
  END IF;
END $$;

CREATE FUNCTION cut(b bytea, ref jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT substring(b FROM (ref->>0)::integer + 1 FOR (ref->>1)::integer)
$$;

CREATE FUNCTION put_key(m jsonb, b bytea, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  current bigint;
  rev bigint;
BEGIN
  IF coalesce(m->>'etag', '') <> '' OR (m->'ifAbsent')::boolean THEN
    SELECT etag INTO current FROM keys WHERE space = m->>'space' AND key = m->>'key'
      AND (expires_at IS NULL OR expires_at > now_ms);
    IF coalesce(m->>'etag', '') <> '' AND current::text IS DISTINCT FROM m->>'etag' THEN
      RETURN '!etag key ' || (m->>'key') || CASE WHEN current IS NULL THEN ' does not exist' ELSE ' has changed' END;
    END IF;
    IF (m->'ifAbsent')::boolean AND current IS NOT NULL THEN
      RETURN '!exists key ' || (m->>'key') || ' exists already';
    END IF;
  END IF;
  rev := nextval('revision');
  INSERT INTO keys (space, key, etag, expires_at, content_type, value)
    VALUES (m->>'space', m->>'key', rev, ceil((m->>'expiresAtMs')::float8), coalesce(m->>'contentType', ''), cut(b, m->'value'))
    ON CONFLICT (space, key) DO UPDATE SET etag = excluded.etag, expires_at = excluded.expires_at,
      content_type = excluded.content_type, value = excluded.value;
  RETURN '{"etag":"' || rev || '"}';
END $$;

CREATE FUNCTION delete_key(m jsonb, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  current bigint;
BEGIN
  SELECT etag INTO current FROM keys WHERE space = m->>'space' AND key = m->>'key'
    AND (expires_at IS NULL OR expires_at > now_ms);
  IF coalesce(m->>'etag', '') <> '' AND current::text IS DISTINCT FROM m->>'etag' THEN
    RETURN '!etag key ' || (m->>'key') || CASE WHEN current IS NULL THEN ' does not exist' ELSE ' has changed' END;
  END IF;
  IF (m->'mustExist')::boolean AND current IS NULL THEN
    RETURN '!absent key ' || (m->>'key') || ' does not exist';
  END IF;
  DELETE FROM keys WHERE space = m->>'space' AND key = m->>'key';
  RETURN CASE WHEN current IS NULL THEN '{"existed":false}' ELSE '{"existed":true}' END;
END $$;

CREATE FUNCTION delete_keys(m jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  removed bigint;
BEGIN
  DELETE FROM keys WHERE space = m->>'space' AND key >= m->>'prefix' AND (m->>'end' IS NULL OR key < m->>'end');
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN json_build_object('existed', removed > 0, 'count', removed);
END $$;

-- The topic's counters are written at the end of the batch.
CREATE FUNCTION append_message(topic_name text, m jsonb, b bytea, now_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  topic_id bigint;
  rev bigint;
BEGIN
  SELECT id INTO topic_id FROM topics WHERE name = topic_name;
  IF topic_id IS NULL THEN INSERT INTO topics (name) VALUES (topic_name) RETURNING id INTO topic_id; END IF;
  rev := nextval('revision');
  INSERT INTO messages (topic, seq, published_at, not_before, expires_at, order_key, headers, data)
    VALUES (topic_id, rev, now_ms, ceil((m->>'notBeforeMs')::float8), ceil((m->>'expiresAtMs')::float8), m->>'orderKey',
      m->>'headers', cut(b, m->'data'));
  RETURN rev;
END $$;

-- Ends a claim and lets the next message with its order key go: then those who wait for it are to be woken.
CREATE FUNCTION ack(d jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  done record;
BEGIN
  DELETE FROM claims USING consumers, topics
    WHERE topics.name = d->>'topic' AND consumers.topic = topics.id AND consumers.name = d->>'group'
      AND claims.consumer = consumers.id AND claims.seq = (d->>'offset')::bigint
      AND claims.claim = (d->>'claim')::bigint AND claims.claim > 0
    RETURNING claims.consumer, claims.order_key INTO done;
  IF done.consumer IS NULL THEN
    RETURN '!claim message ' || (d->>'offset') || ' of ' || (d->>'topic') || ' is no longer claimed by this owner';
  END IF;
  IF done.order_key IS NULL THEN RETURN '{}'; END IF;
  UPDATE claims SET visible_at = 0 WHERE consumer = done.consumer AND visible_at = ${never} AND seq =
    (SELECT seq FROM claims WHERE consumer = done.consumer AND order_key = done.order_key ORDER BY seq LIMIT 1);
  RETURN '{"wake":true}';
END $$;

CREATE FUNCTION set_timer(m jsonb, b bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  IF (m->'ifAbsent')::boolean THEN
    INSERT INTO timers (space, id, due_at, visible_at, claim, data) VALUES
      (m->>'space', m->>'id', ceil((m->>'dueAtMs')::float8), ceil((m->>'dueAtMs')::float8), 0, cut(b, m->'data'))
      ON CONFLICT (space, id) DO NOTHING;
    RETURN CASE WHEN FOUND THEN '{}' ELSE '!exists timer ' || (m->>'id') || ' exists already' END;
  END IF;
  INSERT INTO timers (space, id, due_at, visible_at, claim, data) VALUES
    (m->>'space', m->>'id', ceil((m->>'dueAtMs')::float8), ceil((m->>'dueAtMs')::float8), 0, cut(b, m->'data'))
    ON CONFLICT (space, id) DO UPDATE SET due_at = excluded.due_at, visible_at = excluded.visible_at,
      claim = 0, owner = NULL, data = excluded.data;
  RETURN '{}';
END $$;

CREATE FUNCTION finish_timer(m jsonb, b bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  held bigint := (m#>>'{timer,claim}')::bigint;
BEGIN
  IF held <= 0 THEN RETURN '!claim timer ' || (m#>>'{timer,id}') || ' is not claimed'; END IF;
  IF m->>'dueAtMs' IS NULL THEN
    DELETE FROM timers WHERE space = m#>>'{timer,space}' AND id = m#>>'{timer,id}' AND claim = held;
  ELSE
    UPDATE timers SET due_at = ceil((m->>'dueAtMs')::float8), visible_at = ceil((m->>'dueAtMs')::float8), claim = 0, owner = NULL,
      data = CASE WHEN m->'data' IS NULL THEN data ELSE cut(b, m->'data') END
      WHERE space = m#>>'{timer,space}' AND id = m#>>'{timer,id}' AND claim = held;
  END IF;
  RETURN CASE WHEN FOUND THEN '{}'
    ELSE '!claim timer ' || (m#>>'{timer,id}') || ' was set anew, deleted or claimed by another' END;
END $$;

CREATE FUNCTION append_history(m jsonb, b bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  length integer := coalesce(
    (SELECT position FROM history WHERE instance = m->>'instance' ORDER BY position DESC LIMIT 1), -1) + 1;
BEGIN
  IF length <> (m->>'expectedLength')::integer THEN
    RETURN '!length history of ' || (m->>'instance') || ' has ' || length || ' events, not ' || (m->>'expectedLength');
  END IF;
  INSERT INTO history (instance, position, event)
    SELECT m->>'instance', length + n::integer - 1, cut(b, ref)
      FROM jsonb_array_elements(m->'events') WITH ORDINALITY AS events (ref, n);
  RETURN '{}';
END $$;

CREATE FUNCTION mutate(m jsonb, b bytea, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
  removed bigint;
BEGIN
  CASE m->>'kind'
    WHEN 'put' THEN RETURN put_key(m, b, now_ms);
    WHEN 'append' THEN RETURN '{"offset":' || append_message(m->>'topic', m->'message', b, now_ms) || '}';
    WHEN 'ack' THEN RETURN ack(m->'delivery');
    WHEN 'delete' THEN RETURN delete_key(m, now_ms);
    WHEN 'deletePrefix' THEN RETURN delete_keys(m);
    WHEN 'deadLetter' THEN
      answer := ack(m->'delivery');
      IF left(answer, 1) = '!' THEN RETURN answer; END IF;
      RETURN '{"offset":' || append_message(m->>'topic', m->'message', b, now_ms)
        || CASE WHEN answer = '{}' THEN '}' ELSE ',"wake":true}' END;
    WHEN 'timerSet' THEN RETURN set_timer(m, b);
    WHEN 'timerDelete' THEN
      DELETE FROM timers WHERE space = m->>'space' AND id = m->>'id';
      RETURN CASE WHEN FOUND THEN '{"existed":true}' ELSE '{"existed":false}' END;
    WHEN 'timerDone' THEN RETURN finish_timer(m, b);
    WHEN 'history' THEN RETURN append_history(m, b);
    WHEN 'historyDelete' THEN
      DELETE FROM history WHERE instance = m->>'instance';
      GET DIAGNOSTICS removed = ROW_COUNT;
      RETURN json_build_object('existed', removed > 0, 'count', removed);
    WHEN 'guard' THEN
      PERFORM 1 FROM leases WHERE name = m->>'lease' AND token = (m->>'token')::bigint AND expires_at > now_ms;
      RETURN CASE WHEN FOUND THEN '{}'
        ELSE '!lease lease ' || (m->>'lease') || ' is not held with token ' || (m->>'token') END;
  END CASE;
END $$;
`;

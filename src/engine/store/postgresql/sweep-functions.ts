import { never } from "../sqlite/claim-table.ts";

const topicsPerSweep = 50;
const sweptPerBatch = 500;
const holesScanned = 1000;

/** Removes messages: those that every group has handled, and those that are too old or too many. In slices. */
export const sweepFunctions = `
CREATE FUNCTION remove_messages(t bigint, until bigint, max_count integer, lost bigint) RETURNS integer
  LANGUAGE plpgsql AS $$
DECLARE
  removed integer;
  size bigint;
BEGIN
  WITH gone AS (
    DELETE FROM messages WHERE topic = t AND seq <= (SELECT max(seq) FROM
      (SELECT seq FROM messages WHERE topic = t AND seq <= until ORDER BY seq LIMIT max_count) AS slice)
    RETURNING length(data) AS size)
  SELECT count(*), coalesce(sum(gone.size), 0) INTO removed, size FROM gone;
  IF removed > 0 THEN
    UPDATE topics SET messages = messages - removed, bytes = bytes - size, dropped = dropped + lost WHERE id = t;
  END IF;
  RETURN removed;
END $$;

-- One pending message must not keep all that were handled after it.
CREATE FUNCTION remove_holes(t bigint, done bigint, seen bigint, max_count integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  since bigint;
  until bigint;
  removed integer;
  size bigint;
BEGIN
  SELECT greatest(done, scanned) INTO since FROM topics WHERE id = t;
  SELECT max(seq) INTO until FROM (SELECT seq FROM messages WHERE topic = t AND seq > since AND seq <= seen
    ORDER BY seq LIMIT least(max_count, ${holesScanned})) AS slice;
  WITH gone AS (
    DELETE FROM messages WHERE topic = t AND seq > since AND seq <= until AND NOT EXISTS (SELECT 1 FROM claims
      WHERE consumer IN (SELECT id FROM consumers WHERE topic = t) AND claims.seq = messages.seq)
    RETURNING length(data) AS size)
  SELECT count(*), coalesce(sum(gone.size), 0) INTO removed, size FROM gone;
  UPDATE topics SET messages = messages - removed, bytes = bytes - size, scanned = coalesce(until, 0)
    WHERE id = t AND (removed > 0 OR scanned <> coalesce(until, 0));
  RETURN removed;
END $$;

-- Removes the oldest messages, handled or not, up to the one given.
CREATE FUNCTION drop_messages(t bigint, until bigint, max_count integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  last bigint;
  lost bigint;
BEGIN
  SELECT max(seq) INTO last FROM
    (SELECT seq FROM messages WHERE topic = t AND seq <= until ORDER BY seq LIMIT max_count) AS slice;
  IF last IS NULL THEN RETURN 0; END IF;
  SELECT count(*) INTO lost FROM messages WHERE topic = t AND seq <= last AND (
    seq > (SELECT min(cursor) FROM consumers WHERE topic = t)
    OR EXISTS (SELECT 1 FROM claims WHERE consumer IN (SELECT id FROM consumers WHERE topic = t) AND claims.seq = messages.seq));
  DELETE FROM claims WHERE consumer IN (SELECT id FROM consumers WHERE topic = t) AND seq <= last;
  UPDATE consumers SET cursor = last, passed = passed +
      (SELECT count(*) FROM messages WHERE messages.topic = t AND seq > consumers.cursor AND seq <= last)
    WHERE topic = t AND cursor < last;
  -- A dropped message may have been the one that others with its order key waited for.
  UPDATE claims SET visible_at = 0 WHERE consumer IN (SELECT id FROM consumers WHERE topic = t) AND visible_at = ${never};
  RETURN remove_messages(t, last, max_count, lost);
END $$;

CREATE FUNCTION sweep_topic(t bigint, before_ms bigint, bytes_max bigint, max_count integer) RETURNS integer
  LANGUAGE plpgsql AS $$
DECLARE
  done bigint;
  seen bigint;
  until bigint;
  excess bigint;
  removed integer := 0;
BEGIN
  SELECT min(coalesce((SELECT min(seq) - 1 FROM claims WHERE consumer = consumers.id), cursor)), min(cursor)
    INTO done, seen FROM consumers WHERE topic = t;
  IF done IS NOT NULL THEN
    removed := remove_messages(t, done, max_count, 0);
    IF done < seen THEN removed := removed + remove_holes(t, done, seen, max_count); END IF;
  END IF;
  -- The work of workflows waits for its worker however long that takes.
  IF (SELECT name LIKE 'workflow:%' OR name LIKE 'activity:%' FROM topics WHERE id = t) THEN RETURN removed; END IF;
  -- Clocks may go back: only what lies before the first message that is young enough.
  SELECT coalesce(min(seq) FILTER (WHERE published_at >= before_ms) - 1, max(seq)) INTO until FROM
    (SELECT seq, published_at FROM messages WHERE topic = t ORDER BY seq LIMIT max_count) AS oldest;
  removed := removed + drop_messages(t, until, max_count);
  SELECT bytes - bytes_max INTO excess FROM topics WHERE id = t;
  IF excess > 0 THEN
    SELECT max(seq) INTO until FROM (SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM
      (SELECT seq, length(data) AS size FROM messages WHERE topic = t ORDER BY seq LIMIT max_count) AS oldest) AS sums
      WHERE before < excess;
    removed := removed + drop_messages(t, until, max_count);
  END IF;
  RETURN removed;
END $$;

-- One slice; the id of the last topic swept when there are more, 0 when the round is over.
CREATE FUNCTION sweep(class integer, after bigint, age_ms bigint, bytes_max bigint, max_count integer, given bigint)
  RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  now_ms bigint := moment(given);
  left_over integer := max_count;
  swept integer := 0;
  t bigint;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM keys WHERE expires_at <= now_ms) AND NOT EXISTS (SELECT 1 FROM topics)
    AND NOT EXISTS (SELECT 1 FROM leases WHERE expires_at <= now_ms) THEN RETURN 0; END IF;
  -- One sweeper is enough.
  IF NOT pg_try_advisory_xact_lock(class, -1) THEN RETURN 0; END IF;
  PERFORM take_locks(class, true, '{}');
  DELETE FROM keys WHERE (space, key) IN
    (SELECT space, key FROM keys WHERE expires_at <= now_ms ORDER BY expires_at LIMIT ${sweptPerBatch});
  DELETE FROM leases WHERE name IN (SELECT name FROM leases WHERE expires_at <= now_ms LIMIT ${sweptPerBatch});
  DELETE FROM topics WHERE id IN (SELECT id FROM topics WHERE messages = 0 AND NOT EXISTS
    (SELECT 1 FROM consumers WHERE consumers.topic = topics.id) LIMIT ${sweptPerBatch});
  FOR t IN SELECT id FROM topics WHERE messages > 0 AND id > after ORDER BY id LIMIT ${topicsPerSweep} LOOP
    left_over := left_over - sweep_topic(t, now_ms - age_ms, bytes_max, left_over);
    -- The same topic again: there may be more of it.
    IF left_over <= 0 THEN RETURN t - 1; END IF;
    swept := swept + 1;
  END LOOP;
  RETURN CASE WHEN swept = ${topicsPerSweep} THEN t ELSE 0 END;
END $$;
`;

/** What a batch is made of beside mutations, and the batch itself. */
export const batchFunctions = `
-- A savepoint only where a mutation after the first may refuse: the first has nothing before it to undo.
CREATE FUNCTION apply_commit(op jsonb, b bytea, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  outcomes text[] := '{}';
  m jsonb;
  one text;
BEGIN
  FOR m IN SELECT value FROM jsonb_array_elements(op->'mutations') LOOP
    one := mutate(m, b, now_ms);
    IF left(one, 1) = '!' THEN
      one := json_build_object('conflict', json_build_object('index', cardinality(outcomes),
        'reason', split_part(substr(one, 2), ' ', 1), 'message', substr(one, strpos(one, ' ') + 1)))::text;
      IF cardinality(outcomes) = 0 THEN RETURN one; END IF;
      RAISE EXCEPTION USING ERRCODE = 'MCONF', MESSAGE = one;
    END IF;
    outcomes := array_append(outcomes, one);
  END LOOP;
  RETURN '{"value":[' || array_to_string(outcomes, ',') || ']}';
END $$;

CREATE FUNCTION apply_or_undo(op jsonb, b bytea, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN apply_commit(op, b, now_ms);
EXCEPTION WHEN SQLSTATE 'MCONF' THEN
  RETURN SQLERRM;
END $$;

CREATE FUNCTION give_back(op jsonb, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  UPDATE claims SET claim = 0, owner = NULL, visible_at = now_ms + ceil((op->>'delayMs')::float8)::bigint,
      attempt = attempt - (op->'untried')::boolean::integer
    FROM consumers, topics
    WHERE topics.name = op#>>'{delivery,topic}' AND consumers.topic = topics.id
      AND consumers.name = op#>>'{delivery,group}' AND claims.consumer = consumers.id
      AND claims.seq = (op#>>'{delivery,offset}')::bigint AND claims.claim = (op#>>'{delivery,claim}')::bigint
      AND claims.claim > 0;
  RETURN CASE WHEN FOUND THEN '{"value":true}' ELSE '{"value":false}' END;
END $$;

CREATE FUNCTION extend_claims(op jsonb, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  owned boolean[] := '{}';
  d jsonb;
BEGIN
  FOR d IN SELECT value FROM jsonb_array_elements(op->'deliveries') LOOP
    UPDATE claims SET visible_at = now_ms + ceil((op->>'leaseMs')::float8)::bigint FROM consumers, topics
      WHERE topics.name = d->>'topic' AND consumers.topic = topics.id AND consumers.name = d->>'group'
        AND claims.consumer = consumers.id AND claims.seq = (d->>'offset')::bigint
        AND claims.claim = (d->>'claim')::bigint AND claims.claim > 0;
    owned := array_append(owned, FOUND);
  END LOOP;
  RETURN '{"value":' || to_json(owned)::text || '}';
END $$;

CREATE FUNCTION acquire_lease(op jsonb, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  held leases;
  new_token bigint;
BEGIN
  SELECT * INTO held FROM leases WHERE name = op->>'name' AND expires_at > now_ms;
  IF held.owner <> op->>'owner' THEN
    RETURN json_build_object('value', json_build_object('held', false, 'lease', json_build_object('name', held.name,
      'owner', held.owner, 'token', held.token, 'expiresAtMs', held.expires_at)));
  END IF;
  new_token := coalesce(held.token, nextval('revision'));
  INSERT INTO leases (name, owner, token, expires_at)
    VALUES (op->>'name', op->>'owner', new_token, now_ms + ceil((op->>'ttlMs')::float8)::bigint)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at;
  RETURN json_build_object('value', json_build_object('held', true, 'token', new_token,
    'expiresAtMs', now_ms + ceil((op->>'ttlMs')::float8)::bigint));
END $$;

CREATE FUNCTION release_lease(op jsonb, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  ended bigint;
BEGIN
  DELETE FROM leases WHERE name = op->>'name' AND token = (op->>'token')::bigint RETURNING expires_at INTO ended;
  RETURN CASE WHEN ended > now_ms THEN '{"value":true}' ELSE '{"value":false}' END;
END $$;

CREATE FUNCTION write_batch(class integer, alone boolean, locks integer[], appended text[], given bigint,
  ops jsonb, b bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answers text[] := '{}';
  op jsonb;
  now_ms bigint;
  began bigint;
BEGIN
  PERFORM take_locks(class, alone, locks);
  -- After the locks: who had to wait for a lease's end must see that it has ended.
  now_ms := moment(given);
  IF cardinality(appended) > 0 THEN began := nextval('revision'); END IF;
  FOR op IN SELECT value FROM jsonb_array_elements(ops) LOOP
    answers := array_append(answers, CASE op->>'op'
      WHEN 'commit' THEN
        CASE WHEN (op->'savepoint')::boolean THEN apply_or_undo(op, b, now_ms) ELSE apply_commit(op, b, now_ms) END
      WHEN 'nack' THEN give_back(op, now_ms)
      WHEN 'extend' THEN extend_claims(op, now_ms)
      WHEN 'acquireLease' THEN acquire_lease(op, now_ms)
      WHEN 'renewLease' THEN renew_lease(op, now_ms)
      WHEN 'releaseLease' THEN release_lease(op, now_ms)
    END);
  END LOOP;
  -- The topics are locked: what is newer than the batch's beginning is the batch's own.
  UPDATE topics SET appended = topics.appended + fresh.count, messages = topics.messages + fresh.count,
      bytes = topics.bytes + fresh.size
    FROM topics AS own CROSS JOIN LATERAL
      (SELECT count(*) AS count, sum(length(data)) AS size FROM messages WHERE topic = own.id AND seq > began) AS fresh
    WHERE began IS NOT NULL AND own.name = ANY (write_batch.appended) AND topics.id = own.id AND fresh.count > 0;
  RETURN '[' || array_to_string(answers, ',') || ']';
END $$;

CREATE FUNCTION renew_lease(op jsonb, now_ms bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  UPDATE leases SET expires_at = now_ms + ceil((op->>'ttlMs')::float8)::bigint
    WHERE name = op->>'name' AND token = (op->>'token')::bigint AND expires_at > now_ms;
  RETURN CASE WHEN FOUND THEN '{"value":true}' ELSE '{"value":false}' END;
END $$;
`;

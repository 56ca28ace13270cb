/**
 * daprd reads JSON with Go's encoding/json, which matches the names of fields without case, and SDKs have come to rely
 * on it: `@dapr/dapr` sends `entryID` for `entryId`. These are the fields of the bodies of its HTTP API.
 */
const names = [
  ...["key", "value", "etag", "metadata", "options", "concurrency", "consistency", "contentType"],
  ...["keys", "parallelism", "operations", "operation", "request", "data"],
  ...["resourceId", "lockOwner", "expiryInSeconds", "entryId", "event"],
  ...["pubsubname", "topic", "route", "routes", "rules", "match", "path", "default", "deadLetterTopic"],
  ...["name", "schedule", "repeats", "dueTime", "ttl", "overwrite", "failurePolicy", "drop", "constant"],
  ...["interval", "maxRetries", "period", "callback", "entities", "entitiesConfig", "actorIdleTimeout"],
  ...["drainOngoingCallTimeout", "drainRebalancedActors", "reentrancy", "maxStackDepth"],
  ...["bulkSubscribe", "enabled", "maxMessagesCount", "maxAwaitDurationMs"],
];
const exact = new Set(names);
const byLowerCase = new Map(names.map((name) => [name.toLowerCase(), name]));

/** The same members under their canonical names; an exact name wins over another spelling of it. Never in place. */
export function looseMembers(members: Record<string, unknown>): Record<string, unknown> {
  let renamed: Record<string, unknown> | undefined;
  for (const name in members) {
    if (exact.has(name)) continue;
    const canonical = byLowerCase.get(name.toLowerCase());
    if (canonical === undefined || canonical in members) continue;
    renamed ??= { ...members };
    renamed[canonical] = members[name];
  }
  return renamed ?? members;
}

import type { CheckReport } from "../maintenance.ts";
import { never } from "../sqlite/claim-table.ts";
import { parseStoreAddress } from "./address.ts";
import { Link, type LinkOptions } from "./link.ts";
import { readCounts } from "./reads.ts";
import { readVersion, refuseNewer, schemaVersion } from "./schema.ts";

/** What must hold between the tables at every commit, as of sqlite's `maintenance.ts`: rows these find are problems. */
const invariants: readonly [problem: string, sql: string][] = [
  [
    "topics whose counters are wrong",
    `SELECT name AS example FROM topics WHERE (messages, bytes) IS DISTINCT FROM
       (SELECT (count(*), coalesce(sum(length(data)), 0)::bigint) FROM messages WHERE topic = topics.id)`,
  ],
  ["messages of no topic", "SELECT seq AS example FROM messages WHERE topic NOT IN (SELECT id FROM topics)"],
  [
    "consumer groups whose position is wrong",
    `SELECT consumers.name AS example FROM consumers JOIN topics ON topics.id = topic WHERE appended - passed <>
       (SELECT count(*) FROM messages WHERE messages.topic = consumers.topic AND seq > cursor)`,
  ],
  [
    "claims beyond their group's position",
    "SELECT seq AS example FROM claims JOIN consumers ON consumers.id = consumer WHERE seq > cursor",
  ],
  [
    "claims without a group or message",
    `SELECT claims.seq AS example FROM claims LEFT JOIN consumers ON consumers.id = consumer
       LEFT JOIN messages ON messages.topic = consumers.topic AND messages.seq = claims.seq WHERE messages.seq IS NULL`,
  ],
  [
    "messages that wait for their order key while nothing holds it",
    `SELECT seq AS example FROM claims WHERE visible_at = ${never} AND NOT EXISTS
       (SELECT 1 FROM claims AS earlier WHERE earlier.consumer = claims.consumer
          AND earlier.order_key = claims.order_key AND earlier.seq < claims.seq)`,
  ],
  [
    "histories with gaps",
    `SELECT instance AS example FROM history GROUP BY instance
       HAVING count(*) <> max(position) + 1 OR min(position) <> 0`,
  ],
  [
    "numbers above the revision counter",
    `SELECT number AS example FROM (SELECT max(etag) AS number FROM keys UNION ALL SELECT max(seq) FROM messages
       UNION ALL SELECT max(claim) FROM claims UNION ALL SELECT max(claim) FROM timers
       UNION ALL SELECT max(token) FROM leases) AS numbers WHERE number > (SELECT last_value FROM revision)`,
  ],
  [
    "server settings under which a power cut loses what was acknowledged",
    `SELECT name || '=' || setting AS example FROM pg_settings
       WHERE (name = 'fsync' OR name = 'full_page_writes') AND setting = 'off'`,
  ],
];

/** Examines what must hold in the schema, also while processes use it. One not made yet is sound. */
export async function checkPostgresqlStore(
  text: string,
  options: Partial<LinkOptions> = {},
): Promise<CheckReport> {
  const { url, schema, shown } = parseStoreAddress(text);
  const link = new Link({ server: url, schema, max: 1, timeoutMs: 300_000, patienceMs: 5_000, ...options });
  try {
    const version = await readVersion(link, schema);
    refuseNewer(shown, version, schemaVersion);
    const nothing = { keys: 0, messages: 0, timers: 0, bytesOnDisk: 0, schemaVersion: version };
    if (version === 0) return { problems: [], stats: nothing };
    const problems: string[] = [];
    for (const [problem, sql] of invariants) {
      const rows = await link.read<{ example: unknown }>(`${sql} LIMIT 5`);
      if (rows.length > 0) problems.push(`${problem}, such as ${rows.map((row) => row.example).join(", ")}`);
    }
    return { problems, stats: { ...(await readCounts(link)), schemaVersion: version } };
  } finally {
    await link.close();
  }
}

// What the jobs clients of every SDK are asked to do; what one lacks is named with its reason.
export const jobCases = [
  "job-once",
  "job-every",
  "job-cron",
  "job-get",
  "job-overwrite",
  "job-delete",
  "job-retried",
  "job-dropped",
  "job-list",
  "job-delete-by-prefix",
] as const;

export type JobCase = (typeof jobCases)[number];

/** What a program's client is to print of them. */
export function jobResults(absent: Partial<Record<JobCase, string>> = {}): Record<string, string> {
  return Object.fromEntries(
    jobCases.map((name) => [name, absent[name] === undefined ? "ok" : `skip: ${absent[name]}`]),
  );
}

// Every suite of `npm test`, in the order in which they are taken up (two at a time, see runner.mjs): the slow ones
// first, so that they do not end up alone at the end.
//
//   files     bun test files, and folders searched for them (`folder/*`: not below it); a suite without a file is reported as skipped
//   each      a process for each file (big servers and foreign SDKs must not share one)
//   preload   a module that is loaded before the files
//   command   instead of files: what Bun runs, from the root; its exit code is one test
//   alone     nothing else runs beside it
//   needs     services to install first (scripts/services.d)
//   timeoutS  the whole process is ended and counted as failed after this
//   ok        part of `npm run ok`; with okFiles, only those

export const suites = [
  { name: "sdk", files: ["test/sdk"], each: true, timeoutS: 1200, testTimeoutS: 600 },
  { name: "types", command: ["node_modules/typescript/bin/tsc", "--noEmit"], timeoutS: 180, ok: true },
  { name: "lint", command: ["node_modules/@biomejs/biome/bin/biome", "check", "."], timeoutS: 120, ok: true },
  { name: "tidy", files: ["test/*"], timeoutS: 120, testTimeoutS: 60, ok: true },
  { name: "unit", files: ["src"], timeoutS: 300, testTimeoutS: 15, ok: true },
  {
    name: "clock",
    files: ["test/clock"],
    timeoutS: 300,
    testTimeoutS: 60,
    ok: true,
    okFiles: ["test/clock/calendar.test.ts"],
  },
  // 300 seeds; more by `npm run simulate`.
  { name: "simulator", files: ["test/simulator"], timeoutS: 600, testTimeoutS: 300 },
  { name: "replay", files: ["test/replay"], timeoutS: 120, testTimeoutS: 60, ok: true },
  { name: "contract", files: ["test/contract"], timeoutS: 600, testTimeoutS: 30, ok: true },
  // Every transactional store over every broker: eleven brokers, one after the other.
  { name: "outbox", files: ["test/outbox"], timeoutS: 600, testTimeoutS: 300 },
  {
    name: "scenario",
    files: ["test/scenario"],
    timeoutS: 900,
    testTimeoutS: 60,
    ok: true,
    // The stories in one process; those of many processes and engines take minutes.
    okFiles: [
      "invoke-app",
      "invoke-http",
      "invoke-grpc",
      "pubsub-routing",
      "pubsub-bulk",
      "hot-reload",
      "dashboard",
    ].map((name) => `test/scenario/${name}.test.ts`),
  },
  {
    // What touches the engine's store, over its other home.
    name: "postgresql",
    files: [
      ...["actors-home", "actors-stream", "actors", "bindings-cron", "jobs-grpc", "jobs", "kit"],
      ...["idempotency-effects", "idempotency-grpc", "idempotency-starts", "idempotency"],
      "rate-limits-shared",
      ...["pubsub-bulk", "pubsub-durable", "pubsub-fidelity", "pubsub-routing"],
      ...["schedule-singleton", "schedules-reload", "schedules", "singleton-app", "singletons"],
      ...["workflow-access", "workflow-at-once", "workflow-cli", "workflow-home", "workflow-keeping"],
      ...["workflow-limits", "workflow"],
    ].map((name) => `test/scenario/${name}.test.ts`),
    preload: "test/scenario/over-postgresql.ts",
    timeoutS: 900,
    testTimeoutS: 60,
  },
  // Receivers of traces: builds a collector with Go and gets a Zipkin from Maven.
  { name: "otel", files: ["test/otel"], timeoutS: 1200, testTimeoutS: 60 },
  // The conformance suite of HTTP/2 servers, a Go program.
  { name: "http2", files: ["test/http2"], timeoutS: 900, testTimeoutS: 120 },
  { name: "wire", files: ["test/wire"], timeoutS: 300, testTimeoutS: 60, ok: true },
  { name: "fault", files: ["test/fault"], each: true, timeoutS: 900, testTimeoutS: 600 },
  { name: "fuzz", files: ["test/fuzz"], timeoutS: 600, testTimeoutS: 300 },
  // What attackers are known to send, against whole runtimes (docs/internals/security.md).
  { name: "security", files: ["test/security"], timeoutS: 300, testTimeoutS: 60 },
  { name: "house", files: ["test/house"], needs: ["nginx"], timeoutS: 600, testTimeoutS: 300 },
  { name: "examples", files: ["examples", "test/examples"], each: true, timeoutS: 600, testTimeoutS: 300 },
];

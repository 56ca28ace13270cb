// The application of the timers bench. `POST /job/PREFIX-DUEMS-N` is a job that fires; `GET /PREFIX` tells how those of
// a prefix came: how many, when the first and the last, and by how much the due times were missed.
const fires = new Map<string, { at: number[]; late: number[] }>();

function fired(name: string): void {
  const [prefix = "", dueMs] = name.split("-");
  const atMs = performance.timeOrigin + performance.now();
  let of = fires.get(prefix);
  if (of === undefined) {
    of = { at: [], late: [] };
    fires.set(prefix, of);
  }
  of.at.push(atMs);
  of.late.push(atMs - Number(dueMs));
}

function report(prefix: string): object {
  const { at, late } = fires.get(prefix) ?? { at: [], late: [] };
  const sorted = late.toSorted((a, b) => a - b);
  const share = (of: number) => sorted[Math.floor(sorted.length * of)];
  return {
    count: at.length,
    firstAtMs: at[0],
    lastAtMs: at.at(-1),
    lateP50Ms: share(0.5),
    lateP99Ms: share(0.99),
    early: late.filter((ms) => ms < 0).length,
  };
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    const path = request.url.slice(request.url.indexOf("/", 8));
    if (request.method !== "POST") return Response.json(report(path.slice(1)));
    await request.arrayBuffer();
    fired(path.slice("/job/".length));
    return new Response(null, { status: 200 });
  },
});
console.log(server.port);

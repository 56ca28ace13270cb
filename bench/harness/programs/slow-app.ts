// An application with little capacity: PLACES requests at once, each answered after MS milliseconds; more wait in line.
const [places = "16", ms = "10"] = process.argv.slice(2);
let free = Number(places);
const line: (() => void)[] = [];

async function place(): Promise<void> {
  if (free > 0) free--;
  else await new Promise<void>((resolve) => line.push(resolve));
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 60,
  async fetch() {
    await place();
    await new Promise((done) => setTimeout(done, Number(ms)));
    const next = line.shift();
    if (next === undefined) free++;
    else next();
    return new Response("done");
  },
});
console.log(server.port);

// The yardstick "bare Bun HTTP echo", and the application behind the proxies: the least an HTTP server can do.
// `GET` answers a fixed body of the size given, anything else answers 204 after its body was read.
const body = "x".repeat(Number(process.argv[2] ?? 128));

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    if (request.method === "GET") return new Response(body);
    await request.text();
    return new Response(null, { status: 204 });
  },
});
console.log(server.port);

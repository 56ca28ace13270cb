// The application behind the bench of actors: it hosts one type, and answers a fixed body to everything else.
const body = "x".repeat(128);

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    if (request.url.endsWith("/dapr/config")) return Response.json({ entities: ["Echo"] });
    if (request.method !== "GET") await request.text();
    return new Response(body);
  },
});
console.log(server.port);

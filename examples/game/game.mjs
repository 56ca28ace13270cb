// The app: it hosts the actors. Who plays, calls them through any runtime: there is no other API.
import { CommunicationProtocolEnum, DaprServer } from "@dapr/dapr";
import { Player } from "./player.mjs";
import { Robot } from "./robot.mjs";
import { Room } from "./room.mjs";

const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  clientOptions: {
    daprHost: "127.0.0.1",
    daprPort: process.env.DAPR_HTTP_PORT,
    // A room that nobody looks at sleeps; its reminder wakes it.
    actor: { actorIdleTimeout: "10s" },
  },
  logger: { level: 0 },
});

await server.actor.init();
for (const type of [Room, Player, Robot]) await server.actor.registerActor(type);
await server.start();

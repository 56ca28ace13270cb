import { startMongo } from "../contract/mongodb.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({ name: "state.mongodb", start: startMongo, hasty: { operationTimeout: "1s" } });

import { startMemcached } from "../contract/memcached.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({ name: "state.memcached", start: startMemcached, hasty: { timeout: "500" }, losesAll: true });

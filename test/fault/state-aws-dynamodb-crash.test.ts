import dynamodb from "../../src/components/state/aws.dynamodb.ts";
import { componentHost } from "../contract/component-host.ts";
import { makeTable } from "../contract/dynamodb.ts";
import { startMoto } from "../contract/moto.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({
  name: "state.aws.dynamodb",
  async start() {
    const moto = await startMoto();
    await makeTable(moto, "t");
    const open = (items: Record<string, string> = {}) =>
      dynamodb.open(moto.options(dynamodb, { table: "t", ...items }), componentHost());
    return { server: moto.server, open, stop: moto.stop };
  },
  hasty: { timeout: "500ms" },
  forgets: true,
});

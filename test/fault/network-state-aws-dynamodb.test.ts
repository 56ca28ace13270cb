import dynamodb from "../../src/components/state/aws.dynamodb.ts";
import { componentHost } from "../contract/component-host.ts";
import { makeTable } from "../contract/dynamodb.ts";
import { startMoto } from "../contract/moto.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.aws.dynamodb",
  async start() {
    const moto = await startMoto();
    await makeTable(moto, "t");
    const open = (port: number, seconds = 1.5) => {
      const items = { table: "t", endpoint: `http://127.0.0.1:${port}`, timeout: `${seconds * 1_000}ms` };
      return dynamodb.open(moto.options(dynamodb, items), componentHost());
    };
    return { server: moto.server, open, stop: moto.stop };
  },
});

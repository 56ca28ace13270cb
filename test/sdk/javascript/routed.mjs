// Calls the app "orders", which is a name of routes alone, with the SDK's gRPC client, and prints what came of each call.
import { CommunicationProtocolEnum, DaprClient, HttpMethod } from "@dapr/dapr";
import { status } from "@grpc/grpc-js";

const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: process.env.DAPR_GRPC_PORT,
  communicationProtocol: CommunicationProtocolEnum.GRPC,
});
const said = {};

async function call(name, method) {
  try {
    said[name] = JSON.stringify(await client.invoker.invoke("orders", method, HttpMethod.POST, "hello"));
  } catch (error) {
    said[name] = status[error.code] ?? String(error);
  }
}

await call("plain", "echo");
await call("flaky", "flaky");
await call("limited", "limited");
await call("limited again", "limited");
await call("nowhere", "nowhere");
await client.stop();
process.stdout.write(JSON.stringify(said));

import { create, toBinary } from "@bufbuild/protobuf";
import { GetStateRequestSchema } from "../src/wire/dapr/proto/runtime/v1/state_pb.js";
import { type Bench, ratioLine, takeTurns } from "./harness/bench.ts";
import { withStarted } from "./harness/closing.ts";
import { grpcRound } from "./harness/load.ts";
import { startMecha } from "./harness/mecha.ts";
import { startProgram } from "./harness/program.ts";
import { key, saveOnce } from "./harness/state.ts";

export default {
  name: "get-state-grpc",
  run: (settings) =>
    withStarted(async (keep) => {
      const echo = await keep(startProgram("grpc-echo"));
      const mecha = await keep(startMecha());
      await saveOnce(mecha.httpPort);
      const message = toBinary(
        GetStateRequestSchema,
        create(GetStateRequestSchema, { storeName: "statestore", key }),
      );
      const path = "/dapr.proto.runtime.v1.Dapr/GetState";
      const rounds = await takeTurns(settings, {
        mecha: (seconds) => grpcRound(mecha.pid, { port: mecha.grpcPort, path, message }, seconds),
        yardstick: (seconds) => grpcRound(echo.pid, { port: echo.port, path, message }, seconds),
      });
      return [ratioLine("get state, gRPC", 1.6, "http2 echo", rounds)];
    }),
} satisfies Bench;

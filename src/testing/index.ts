// The test kit of the npm package, `mecha/testing`: a whole runtime inside a test, fake apps beside it, time to turn by hand.
export { SimulatedClock } from "../edges/simulated.ts";
export { type AppHandler, type AppReply, type AppRequest, type FakeApp, fakeApp } from "./fake-app.ts";
export {
  type HttpAnswer,
  startMecha,
  type TestApp,
  type TestMecha,
  type TestMechaOptions,
} from "./test-mecha.ts";
export { until } from "./until.ts";

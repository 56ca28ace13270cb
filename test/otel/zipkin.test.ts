// Spans in a real Zipkin.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { randomHex } from "../../src/telemetry/propagation.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { startSidecar } from "../scenario/telemetry-fixture.ts";
import { type Service, startService } from "../services.ts";

setDefaultTimeout(90_000);

const cleanup = new Cleanup();
let zipkin: Service;
beforeAll(async () => {
  zipkin = await startService("zipkin");
  cleanup.add(() => zipkin.stop());
}, 10 * 60_000);
afterAll(() => cleanup.run());

interface ZipkinSpan {
  name: string;
  kind?: string;
  parentId?: string;
  localEndpoint?: { serviceName?: string };
  tags?: Record<string, string>;
}

test("Zipkin shows the call with its service, parent and tags", async () => {
  const endpoint = `http://127.0.0.1:${zipkin.port}/api/v2/spans`;
  const configuration = `  tracing: { samplingRate: "1", zipkin: { endpointAddress: "${endpoint}" } }\n`;
  const { url } = await startSidecar(cleanup, { appId: "shop", configuration, folder: cleanup.folder() });
  const [traceId, parentId] = [randomHex(16), randomHex(8)];
  await fetch(url("/v1.0/metadata"), { headers: { traceparent: `00-${traceId}-${parentId}-01` } });
  const [span] = await eventually(async () => {
    const reply = await fetch(`http://127.0.0.1:${zipkin.port}/api/v2/trace/${traceId}`);
    if (!reply.ok) throw new Error(`Zipkin answered ${reply.status}`);
    return (await reply.json()) as ZipkinSpan[];
  });
  expect(span).toMatchObject({
    name: "/v1.0/metadata",
    kind: "CLIENT",
    parentId,
    localEndpoint: { serviceName: "shop" },
    tags: { "dapr.protocol": "http", "dapr.status_code": "200" },
  });
});

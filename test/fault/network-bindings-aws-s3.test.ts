import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import s3 from "../../src/components/bindings/aws.s3.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMoto } from "../contract/moto.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.aws.s3",
  async start() {
    const moto = await startMoto();
    const client = new S3Client({ ...moto.client, forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: "net" }));
    client.destroy();
    let count = 0;
    return {
      port: moto.server.port,
      async open(port) {
        const endpoint = `http://127.0.0.1:${port}`;
        const items = { endpoint, bucket: "net", forcePathStyle: "true", timeout: "1s" };
        const binding = await s3.open(moto.options(s3, items), componentHost());
        return {
          async call(text) {
            const metadata = { key: `object-${++count}` };
            await binding.invoke?.({ operation: "create", metadata, data: Buffer.from(text) });
            const reply = await binding.invoke?.({ operation: "get", metadata, data: new Uint8Array() });
            return Buffer.from(reply?.data ?? []).toString();
          },
          close: () => binding.close(),
        };
      },
      stop: () => moto.stop(),
    };
  },
});

// Azure's emulator of its storage: blobs on the port, queues on `details.queuePort`. It writes its folder from time to
// time: what it has acknowledged last does not outlive a kill -9.
import { join } from "node:path";
import { findTool } from "../build-once.ts";
import type { Recipe } from "./recipe.ts";

export default {
  name: "azurite",
  npm: ["azurite@3.37.0"],
  async launch({ folder, port, freePort, packages }) {
    const queuePort = await freePort();
    const entry = join(packages.npm, "node_modules", "azurite", "dist", "src", "azurite.js");
    const ports = { blobPort: port, queuePort, tablePort: await freePort() };
    const flags = Object.entries(ports).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const answers = (one: number) =>
      fetch(`http://127.0.0.1:${one}/`).then(
        () => true,
        () => false,
      );
    return {
      command: findTool("node"),
      args: [
        entry,
        "--location",
        folder,
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
        ...flags,
      ],
      isReady: async () => (await answers(port)) && (await answers(queuePort)),
      details: {
        queuePort,
        accountName: "devstoreaccount1",
        // The emulator's own, in its documentation.
        accountKey:
          "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
      },
    };
  },
} satisfies Recipe;

// Written by `bun run catalog` from the files of src/components. Do not edit.
import type { ComponentDefinition } from "./component.ts";

/** Loads the file of a component; nothing of it is read before a resource names it. */
export type ComponentLoader = () => Promise<{ default: ComponentDefinition }>;

/** Every built-in component by type and version. */
export const catalog: Readonly<Record<string, ComponentLoader>> = {
  "pubsub.in-memory/v1": () => import("../components/pubsub/in-memory.ts"),
  "secretstores.local.env/v1": () => import("../components/secretstores/local.env.ts"),
  "secretstores.local.file/v1": () => import("../components/secretstores/local.file.ts"),
  "state.in-memory/v1": () => import("../components/state/in-memory.ts"),
  "state.sqlite/v1": () => import("../components/state/sqlite.ts"),
};

import type { ComponentDefinition } from "../../component/component.ts";
import type { ImplicitComponent } from "../../component/selection.ts";
import type { Store } from "../store/store.ts";
import { configurationOnStore } from "./configuration.ts";
import { cronBinding } from "./cron.ts";
import { lockOnStore } from "./lock.ts";
import { pubsubOnStore } from "./pubsub.ts";
import { pubsubOnPostgresql } from "./pubsub-postgresql.ts";
import { type SecretDefaults, secretsByDefault } from "./secrets.ts";
import { stateOnStore } from "./state.ts";

/** The `*.mecha` components, bound to the store of this process. Closing one leaves the store open. */
export function engineComponents(store: Store, options: SecretDefaults): ComponentDefinition[] {
  return [
    stateOnStore(store),
    pubsubOnStore(store),
    lockOnStore(store),
    configurationOnStore(store),
    secretsByDefault(options),
    cronBinding,
    pubsubOnPostgresql,
  ];
}

/** What every app has, except in strict mode. */
export const implicitComponents: readonly ImplicitComponent[] = [
  { name: "secretstore", type: "secretstores.mecha", metadata: {} },
  { name: "statestore", type: "state.mecha", metadata: { actorStateStore: "true" } },
  { name: "pubsub", type: "pubsub.mecha", metadata: {} },
  { name: "configstore", type: "configuration.mecha", metadata: {} },
  { name: "lockstore", type: "lock.mecha", metadata: {} },
];

import type { Components, LoadedComponent } from "../component/components.ts";
import { parseFlag } from "../component/fields.ts";
import type { StateStore } from "../component/state-store.ts";
import { errors } from "../errors.ts";
import type { AppScope } from "./call.ts";
import { type StateTarget, stateTarget } from "./state-target.ts";

/** The state store of an app's actors. Throws when there is none. */
export function actorStore(app: AppScope): StateTarget {
  const store = actorStoreIn(app.components);
  if (store === undefined) throw errors.ACTOR_RUNTIME_NOT_FOUND();
  return stateTarget(app, store.name);
}

/** The component with `actorStateStore`; the loader has refused a second one. */
export function actorStoreIn(components: Components): LoadedComponent<"state"> | undefined {
  return components.list("state").find(({ properties }) => isOn(properties.get("actorstatestore")));
}

/** Actors and workflows need all or nothing, and etags. The text is Dapr's. */
export function requireTransactions({ store }: StateTarget): NonNullable<StateStore["transact"]> {
  if (store.transact !== undefined && store.features.has("ETAG")) return store.transact.bind(store);
  throw new Error(
    `actors: state store does not exist or incorrectly configured. Have you set the property '{"name": "actorStateStore", "value": "true"}' in your state store component file?`,
  );
}

/** Throws when a transaction of so many operations is too large for the store. The text is Dapr's. */
export function requireRoom({ store: { operationsMax } }: StateTarget, count: number): void {
  if (operationsMax === undefined || operationsMax <= 0 || count <= operationsMax) return;
  throw new Error("the transaction contains more operations than supported by the state store");
}

function isOn(value: string | undefined): boolean {
  try {
    return value !== undefined && parseFlag(value);
  } catch {
    return false;
  }
}

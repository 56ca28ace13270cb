import type { Components } from "../component/components.ts";
import type {
  BulkEntry,
  KeysLikeRequest,
  KeysLikeResult,
  StateEntry,
  StateStore,
} from "../component/state-store.ts";
import { engineState } from "../engine/defaults/state.ts";
import type { InstanceStore } from "../engine/workflow/instance-store.ts";
import { actorStore, actorStoreIn, requireTransactions } from "./actor-store.ts";
import type { AppScope } from "./call.ts";
import type { StateTarget } from "./state-target.ts";

/**
 * The actor state store as workflows use it: inside the policies of the component and with its encryption. `undefined`
 * when the engine's own store is the one, which needs none of this.
 */
export function instanceStoreOf(components: Components, app: () => AppScope): InstanceStore | undefined {
  const loaded = actorStoreIn(components);
  if (loaded === undefined || engineState(loaded.instance) !== undefined) return undefined;
  const { instance: store, name } = loaded;
  const never = new AbortController().signal;
  const run = <T>(operation: string, work: (target: StateTarget) => Promise<T>): Promise<T> => {
    const target = actorStore(app());
    requireTransactions(target);
    return target.run(operation, () => work(target), { signal: never });
  };
  return {
    name,
    operationsMax: store.operationsMax,
    async get(request) {
      const { entry, target } = await run("get", async (target) => ({
        entry: await target.store.get(request),
        target,
      }));
      return entry && opened(entry, target);
    },
    async bulkGet(requests) {
      const { entries, target } = await run("bulk_get", async (target) => ({
        entries: await readMany(target, requests),
        target,
      }));
      return entries.map((entry) => (entry.error === undefined ? opened(entry, target) : entry));
    },
    transact(operations, metadata) {
      return run("transaction", (target) => {
        const { cipher } = target;
        const sealed = operations.map((operation) => {
          if (cipher === undefined || operation.kind === "delete") return operation;
          const { request } = operation;
          return { ...operation, request: { ...request, value: cipher.encrypt(request.value) } };
        });
        return requireTransactions(target)(sealed, metadata);
      });
    },
    keysLike: store.keysLike && ((request) => run("keys_like", ({ store: now }) => keysLike(now, request))),
  };
}

async function keysLike(store: StateStore, request: KeysLikeRequest): Promise<KeysLikeResult> {
  return (await store.keysLike?.(request)) ?? { keys: [] };
}

type Requests = Parameters<InstanceStore["bulkGet"]>[0];

async function readMany({ store }: StateTarget, requests: Requests): Promise<BulkEntry[]> {
  if (store.bulkGet !== undefined) return store.bulkGet(requests);
  const entries: BulkEntry[] = [];
  for (const request of requests) {
    const entry = await store.get(request);
    if (entry !== undefined) entries.push({ key: request.key, ...entry });
  }
  return entries;
}

function opened<T extends StateEntry>(entry: T, { cipher }: StateTarget): T {
  return cipher === undefined ? entry : { ...entry, value: cipher.decrypt(entry.value) };
}

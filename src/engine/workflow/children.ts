import type { Store } from "../store/store.ts";
import { decodeEvent } from "./events.ts";
import { type AppName, historyName } from "./names.ts";

export interface ChildName {
  app: AppName;
  instanceId: string;
}

/** The children that the history of an instance tells of. */
export async function childrenOf(store: Store, app: AppName, instanceId: string): Promise<ChildName[]> {
  const history = await store.readHistory(historyName(app, instanceId), 0);
  return history.flatMap((bytes) => {
    const { eventType, router } = decodeEvent(bytes).event;
    if (eventType.case !== "childWorkflowInstanceCreated") return [];
    const appId = router?.targetAppID ?? app.appId;
    const namespace = router?.targetAppNamespace ?? app.namespace;
    return [{ app: { appId, namespace }, instanceId: eventType.value.instanceId }];
  });
}

import { decodeEvent } from "./events.ts";
import type { AppName } from "./names.ts";

export interface ChildName {
  app: AppName;
  instanceId: string;
}

/** The children that the history of an instance of the app tells of. */
export function childrenOf(app: AppName, history: readonly Uint8Array[]): ChildName[] {
  return history.flatMap((bytes) => {
    const { eventType, router } = decodeEvent(bytes).event;
    if (eventType.case !== "childWorkflowInstanceCreated") return [];
    const appId = router?.targetAppID ?? app.appId;
    const namespace = router?.targetAppNamespace ?? app.namespace;
    return [{ app: { appId, namespace }, instanceId: eventType.value.instanceId }];
  });
}

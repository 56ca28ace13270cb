import type { BindingEvent } from "../../component/binding.ts";

/** Stands before the app: an event of a binding that it knows is acknowledged without the app. */
export interface BindingGuard {
  deliver(event: BindingEvent, hand: () => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined>;
}

export type BindingGuardOf = (component: string) => BindingGuard | undefined;

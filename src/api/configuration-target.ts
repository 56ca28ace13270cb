import { randomUUID } from "node:crypto";
import { errors } from "../errors.ts";
import type { AppScope } from "./call.ts";
import { type Target, targetsOf } from "./target.ts";

type Close = () => Promise<void>;

/** The open subscriptions of one app at one store, by id. */
export interface Subscriptions {
  /** Opens one under a new id; `ended` is called when it is closed. */
  open(start: (id: string) => Promise<Close>, ended: () => void): Promise<string>;
  /** False when there is none of that id. */
  close(id: string): Promise<boolean>;
  /** The store has gone: all end without being closed there. */
  endAll(): void;
}

export interface ConfigurationTarget extends Target<"configuration"> {
  readonly subscriptions: Subscriptions;
}

const subscriptionsMax = 10_000;

const find = targetsOf("configuration", (app, target): ConfigurationTarget => {
  const subscriptions = createSubscriptions();
  const stop = app.components.onChange(({ kind, name }) => {
    if (kind !== "configuration" || name !== target.name) return;
    stop();
    subscriptions.endAll();
  });
  return { ...target, subscriptions };
});

/** The store of that name; throws the faults of a missing one. */
export function configurationTarget(app: AppScope, name: string): ConfigurationTarget {
  const target = find(app, name);
  if (target !== undefined) return target;
  if (app.components.list("configuration").length === 0) throw errors.CONFIGURATION_NOT_CONFIGURED();
  throw errors.CONFIGURATION_NOT_FOUND(name);
}

function createSubscriptions(): Subscriptions {
  const open = new Map<string, { close: Close; ended: () => void }>();
  return {
    async open(start, ended) {
      if (open.size >= subscriptionsMax)
        throw new Error(`more than ${subscriptionsMax} subscriptions are open`);
      const id = randomUUID();
      open.set(id, { close: await start(id), ended });
      return id;
    },
    async close(id) {
      const subscription = open.get(id);
      if (subscription === undefined) return false;
      open.delete(id);
      subscription.ended();
      await subscription.close();
      return true;
    },
    endAll() {
      for (const { ended } of open.values()) ended();
      open.clear();
    },
  };
}

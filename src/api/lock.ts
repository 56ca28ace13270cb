import type { UnlockStatus } from "../component/lock-store.ts";
import { errors, Fault } from "../errors.ts";
import { after } from "../kit/after.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { AppScope } from "./call.ts";
import { failures, text } from "./docs.ts";
import { operation } from "./operation.ts";
import { jsonTextReply } from "./reply.ts";
import { members, parseBody, textOf } from "./state-json.ts";
import { type Target, targetsOf } from "./target.ts";

const separator = "||";

interface LockTarget extends Target<"lock"> {
  /** Throws a plain error for an id that could reach into another prefix. */
  key(resourceId: string): string;
}

const find = targetsOf("lock", (app, target): LockTarget => {
  const prefix = prefixOf(app, target);
  return {
    ...target,
    key(resourceId) {
      if (!resourceId.includes(separator)) return prefix + resourceId;
      throw new Error(`input key/keyPrefix '${resourceId}' can't contain '||'`);
    },
  };
});

/** Whoever a lock protects can refuse what comes with an older token. Dapr's reply has no member for it. */
const tokenHeader = "metadata.fencingToken";

const lockFailures = {
  400: "ERR_LOCK_STORE_NOT_FOUND, ERR_MALFORMED_REQUEST",
  500: "ERR_LOCK_STORE_NOT_CONFIGURED, ERR_TRY_LOCK, ERR_UNLOCK",
};

export const tryLock = operation(Dapr.method.tryLockAlpha1, {
  name: "TryLock",
  group: { name: "lock", version: "v1.0-alpha1" },
  http: {
    verbs: ["POST"],
    path: "/v1.0-alpha1/lock/{storeName}",
    request: (http) =>
      after(http.jsonText(), (body) => {
        const fields = readFields(body);
        const { expiryInSeconds = fields.expiry_in_seconds ?? 0 } = fields;
        if (!Number.isInteger(Number(expiryInSeconds))) {
          throw errors.MALFORMED_REQUEST('"expiryInSeconds" has to be a whole number');
        }
        return {
          storeName: http.param("storeName"),
          ...idsOf(fields),
          expiryInSeconds: Number(expiryInSeconds),
        };
      }),
    reply: ({ success = false }) => jsonTextReply(JSON.stringify({ success })),
    docs: {
      summary: "Take a lock if it is free",
      body: {
        "application/json": {
          type: "object",
          required: ["resourceId", "lockOwner", "expiryInSeconds"],
          properties: { resourceId: text, lockOwner: text, expiryInSeconds: { type: "integer", minimum: 1 } },
        },
      },
      replies: {
        200: {
          description: `Whether it was taken; then the header ${tokenHeader} has a number that grows with each taking`,
          contentType: "application/json",
          schema: { type: "object", properties: { success: { type: "boolean" } } },
        },
        ...failures(lockFailures),
      },
    },
  },
  async handle({ storeName, resourceId, lockOwner, expiryInSeconds }, call) {
    const { app } = call;
    requireStores(app);
    // In Dapr's order: the expiry before the ids, the ids before the store.
    if (expiryInSeconds <= 0) throw errors.LOCK_EXPIRY(storeName);
    const target = lockTarget(app, storeName, resourceId, lockOwner);
    try {
      const key = target.key(resourceId);
      const lock = () => target.component.tryLock(key, lockOwner, expiryInSeconds);
      const token = await target.run("try_lock", lock, call, { names: [resourceId] });
      if (token !== undefined && !app.settings.isStrict) call.setReplyHeader(tokenHeader, String(token));
      return { success: token !== undefined };
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw errors.TRY_LOCK((error as Error).message, { cause: error });
    }
  },
});

/** UnlockResponse.Status by what the store says. */
const statuses: Record<UnlockStatus, 0 | 1 | 2> = { success: 0, absent: 1, others: 2 };

export const unlock = operation(Dapr.method.unlockAlpha1, {
  name: "Unlock",
  group: { name: "unlock", version: "v1.0-alpha1" },
  http: {
    verbs: ["POST"],
    path: "/v1.0-alpha1/unlock/{storeName}",
    request: (http) =>
      after(http.jsonText(), (body) => ({ storeName: http.param("storeName"), ...idsOf(readFields(body)) })),
    reply: ({ status = 0 }) => jsonTextReply(JSON.stringify({ status })),
    docs: {
      summary: "Give a lock back",
      body: {
        "application/json": {
          type: "object",
          required: ["resourceId", "lockOwner"],
          properties: { resourceId: text, lockOwner: text },
        },
      },
      replies: {
        200: {
          description: "0 released, 1 there was no such lock, 2 it belongs to others, 3 internal error",
          contentType: "application/json",
          schema: { type: "object", properties: { status: { enum: [0, 1, 2, 3] } } },
        },
        ...failures(lockFailures),
      },
    },
  },
  async handle({ storeName, resourceId, lockOwner }, call) {
    const { app } = call;
    requireStores(app);
    const target = lockTarget(app, storeName, resourceId, lockOwner);
    try {
      const key = target.key(resourceId);
      const give = () => target.component.unlock(key, lockOwner);
      const status = await target.run("unlock", give, call, { names: [resourceId] });
      return { status: statuses[status] };
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw errors.UNLOCK((error as Error).message, { cause: error });
    }
  },
});

/** Proto JSON takes both spellings of a field. An empty body is an empty message. */
function readFields(body: string): Record<string, unknown> {
  return body.trim() === "" ? {} : members(parseBody(body), "the body");
}

function idsOf(fields: Record<string, unknown>): { resourceId: string; lockOwner: string } {
  return {
    resourceId: textOf(fields.resourceId ?? fields.resource_id ?? "", "resourceId"),
    lockOwner: textOf(fields.lockOwner ?? fields.lock_owner ?? "", "lockOwner"),
  };
}

function requireStores(app: AppScope): void {
  if (app.components.list("lock").length === 0) throw errors.LOCK_NOT_CONFIGURED();
}

function lockTarget(app: AppScope, name: string, resourceId: string, owner: string): LockTarget {
  if (resourceId === "") throw errors.LOCK_RESOURCE_EMPTY(name);
  if (owner === "") throw errors.LOCK_OWNER_EMPTY(name);
  const target = find(app, name);
  if (target === undefined) throw errors.LOCK_NOT_FOUND(name);
  return target;
}

/** `lock||<prefix>||` (dapr-api.md §11.3). */
function prefixOf(app: AppScope, { loaded }: Target<"lock">): string {
  const strategy = loaded.properties.get("keyprefix")?.toLowerCase() ?? "appid";
  if (strategy.includes(separator)) throw errors.STATE_ILLEGAL_KEY(strategy);
  if (strategy === "none") return `lock${separator}`;
  const prefix = strategy === "name" ? loaded.name : strategy === "appid" ? app.principal.appId : strategy;
  return `lock${separator}${prefix}${separator}`;
}

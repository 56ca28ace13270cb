/** What a `lock.*` component offers. */
export interface LockStore {
  /**
   * The fencing token when the lock was taken, `undefined` when somebody has it. Of one resource each token is greater than
   * all before it, also after the lock was given back or has expired.
   */
  tryLock(resourceId: string, owner: string, expirySeconds: number): Promise<number | undefined>;
  unlock(resourceId: string, owner: string): Promise<UnlockStatus>;
  close(): Promise<void>;
}

export type UnlockStatus = "success" | "absent" | "others";

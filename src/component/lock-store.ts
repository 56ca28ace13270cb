/** What a `lock.*` component offers. */
export interface LockStore {
  tryLock(resourceId: string, owner: string, expirySeconds: number): Promise<boolean>;
  unlock(resourceId: string, owner: string): Promise<UnlockStatus>;
  close(): Promise<void>;
}

export type UnlockStatus = "success" | "absent" | "others";

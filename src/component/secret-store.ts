/** What a `secretstores.*` component offers. */
export interface SecretStore {
  readonly features: ReadonlySet<"MULTIPLE_KEY_VALUES_PER_SECRET">;
  /** Rejects when the secret is absent. */
  get(key: string, metadata: Record<string, string>): Promise<Record<string, string>>;
  bulkGet(metadata: Record<string, string>): Promise<Record<string, Record<string, string>>>;
  /** Asks the server, where `open` has not yet; rejects with why it can not be used. */
  ping?(): Promise<void>;
  close(): Promise<void>;
}

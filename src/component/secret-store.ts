/** What a `secretstores.*` component offers. */
export interface SecretStore {
  readonly features: ReadonlySet<"MULTIPLE_KEY_VALUES_PER_SECRET">;
  /** Rejects when the secret is absent. */
  get(key: string, metadata: Record<string, string>): Promise<Record<string, string>>;
  bulkGet(metadata: Record<string, string>): Promise<Record<string, Record<string, string>>>;
  close(): Promise<void>;
}

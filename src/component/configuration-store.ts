/** What a `configuration.*` component offers. */
export interface ConfigurationStore {
  /** No keys: all items. */
  get(keys: readonly string[], metadata: Record<string, string>): Promise<Record<string, ConfigurationItem>>;
  /** Calls `listener` with the changed items. No keys: all. Deleted items come with an empty value. */
  subscribe(
    keys: readonly string[],
    metadata: Record<string, string>,
    listener: (items: Record<string, ConfigurationItem>) => void,
  ): Promise<() => Promise<void>>;
  /** Only stores that mecha itself may write (its own): used by `mecha` commands and tests. */
  set?(items: Record<string, ConfigurationItem>): Promise<void>;
  /** As `set`. */
  delete?(keys: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export interface ConfigurationItem {
  value: string;
  version: string;
  metadata: Record<string, string>;
}

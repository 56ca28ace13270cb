/** Where an authority is kept: a folder of one machine, or the store that several share. */
export interface Vault {
  /** For people: where it is. */
  readonly place: string;
  read(): Promise<Kept | undefined>;
  /** Replaces what was read, or creates when nothing was. `false`: somebody was faster. */
  write(text: string, before: Kept | undefined): Promise<boolean>;
  /** Calls the listener when it may have changed. Answers how to stop. */
  watch(listener: () => void): () => void;
}

export interface Kept {
  text: string;
  /** Changes with each write. */
  version: string;
}

interface Stoppable {
  stop(): Promise<void>;
}

/** Runs `work` with a way to register what it starts; stops all of it, last first, however the work ends. */
export async function withStarted<T>(
  work: (keep: <S extends Stoppable>(starting: Promise<S>) => Promise<S>) => Promise<T>,
): Promise<T> {
  const started: Stoppable[] = [];
  try {
    return await work(async (starting) => {
      const one = await starting;
      started.push(one);
      return one;
    });
  } finally {
    for (const one of started.reverse()) await one.stop();
  }
}

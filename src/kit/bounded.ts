/** Maps with at most `concurrencyMax` calls in flight; results keep the order. The first failure rejects. */
export async function mapBounded<T, U>(
  items: readonly T[],
  concurrencyMax: number,
  work: (item: T, index: number) => Promise<U>,
): Promise<U[]> {
  const results = new Array<U>(items.length);
  let next = 0;
  let hasFailed = false;
  async function worker(): Promise<void> {
    while (next < items.length && !hasFailed) {
      const index = next++;
      results[index] = await work(items[index] as T, index);
    }
  }
  const workers = Array.from({ length: Math.max(1, Math.min(concurrencyMax, items.length)) }, () =>
    worker().catch((error) => {
      hasFailed = true;
      throw error;
    }),
  );
  await Promise.all(workers);
  return results;
}

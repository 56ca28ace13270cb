import type { Shape, Use, UseLayer, Work } from "./layer.ts";

/** One layer round another. */
export function within(outer: UseLayer, inner: UseLayer): UseLayer {
  return {
    repeats: (outer.repeats ?? false) || (inner.repeats ?? false),
    run: <T>(use: Use, work: Work<T>, shape: Shape<T>) =>
      outer.run<T>(
        use,
        (signal) => inner.run<T>(use, work, signal === undefined ? shape : { ...shape, signal }),
        shape,
      ),
  };
}

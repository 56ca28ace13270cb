import { signalOf } from "../../kit/cancellation.ts";
import type { Shape, Use, UseLayer, Work } from "./layer.ts";

/** One layer round another. */
export function within(outer: UseLayer, inner: UseLayer): UseLayer {
  return {
    repeats: (outer.repeats ?? false) || (inner.repeats ?? false),
    run: <T>(use: Use, work: Work<T>, shape: Shape<T>) =>
      outer.run<T>(use, (ended) => inner.run<T>(use, work, endingWith(shape, ended)), shape),
  };
}

/** The shape of one attempt that ends otherwise than by the caller. */
export function endingWith<T>(shape: Shape<T>, ended: Parameters<Work<T>>[0]): Shape<T> {
  return ended === undefined ? shape : { ...shape, signal: signalOf(ended), cancellation: undefined };
}

/** Goes on with a value at once when it is there, else when it arrives: a hot path need not wait a tick for nothing. */
export function after<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

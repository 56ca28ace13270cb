/** A text that is no quantity. */
export class QuantityError extends Error {
  constructor(text: string) {
    super(`invalid quantity ${JSON.stringify(text)}: expected one like 4Mi, 10M, 512Ki or 1.5G`);
    this.name = "QuantityError";
  }
}

const factors: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A Kubernetes quantity as a plain number: `4Mi` is 4194304, `10M` is 10000000, `1e3` is 1000. */
export function parseQuantity(text: string): number {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)?)$/.exec(
    text,
  );
  if (!match) throw new QuantityError(text);
  const [, amount = "", exponent = "", suffix = ""] = match;
  const value = Number(amount + exponent) * (factors[suffix] ?? 1);
  if (!Number.isFinite(value)) throw new QuantityError(text);
  return value;
}

/** A size in whole bytes; fractions are rounded up, as Kubernetes does. */
export function parseByteSize(text: string): number {
  const bytes = Math.ceil(parseQuantity(text));
  if (bytes < 0 || !Number.isSafeInteger(bytes)) throw new QuantityError(text);
  return bytes;
}

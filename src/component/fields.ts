/** The metadata field DSL. A placeholder of types until the component helper writes it. */
export type Fields = Record<string, Field<unknown>>;
export interface Field<T> {
  readonly type: string;
  readonly parse: (text: string) => T;
}
export type Options<F extends Fields> = { [N in keyof F]: F[N] extends Field<infer T> ? T : never };

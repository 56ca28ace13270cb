import type { OperationSubject } from "../../resource/authorization.ts";

/** Whether a match would let the request in, or keep it out. */
export type Purpose = "grant" | "block";

/** What rules ask of a request. */
export interface AuthorizationRequest {
  subject: Exclude<OperationSubject, "component">;
  /** The request uses a component that a policy may target. */
  isOfComponent: boolean;
  /**
   * What the request has of an attribute: none when it is known to have none. `undefined` when nobody can say, like the
   * keys of a query: then nothing is granted by it and everything blocked.
   */
  values(field: string, purpose: Purpose): readonly string[] | undefined;
}

/** Field names of `when` that are no field of a source or an operation. */
export const headerField = (lowerName: string): string => `header:${lowerName}`;
export const claimField = (path: readonly string[]): string => `claim:${JSON.stringify(path)}`;

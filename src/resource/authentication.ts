import type { Resource } from "./resource.ts";

/** Whose tokens are believed, and where they stand. */
export interface JwtRule {
  issuer: string;
  /** Empty: any. */
  audiences: string[];
  /** Neither this nor `jwks`: the issuer's OpenID configuration names it. */
  jwksUri: string;
  /** A JSON Web Key Set as text. */
  jwks: string;
  fromHeaders: { name: string; prefix: string }[];
  fromParams: string[];
  fromCookies: string[];
  /** Empty: none. */
  outputPayloadToHeader: string;
  outputClaimToHeaders: { header: string; claim: string }[];
  forwardOriginalToken: boolean;
  /** Of asking for the keys. */
  timeoutMs: number;
}

export interface RequestAuthenticationSpec {
  /** Empty: the app of each runtime that sees it. */
  targets: { kind: "App"; name: string }[];
  jwtRules: JwtRule[];
}

export type RequestAuthenticationResource = Resource<"RequestAuthentication", RequestAuthenticationSpec>;

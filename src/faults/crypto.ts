import { Code, fault } from "./fault.ts";

const { InvalidArgument, Internal, Unimplemented } = Code;

/** Rows of the catalogue for cryptography. */
export const cryptoErrors = {
  CRYPTO_NOT_CONFIGURED: fault(
    "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED",
    500,
    Internal,
    () => "crypto providers not configured",
  ),
  CRYPTO_NOT_FOUND: fault(
    "ERR_CRYPTO_PROVIDER_NOT_FOUND",
    400,
    InvalidArgument,
    (name: string) => `crypto provider ${name} not found`,
  ),
  CRYPTO_KEY: fault(
    "ERR_CRYPTO_KEY",
    500,
    Internal,
    (key: string, why: string) => `failed to retrieve key ${key}: ${why}`,
  ),
  CRYPTO: fault("ERR_CRYPTO", 500, Internal, (why: string) => `failed to perform operation: ${why}`),
  BAD_REQUEST: fault("ERR_BAD_REQUEST", 400, InvalidArgument, (why: string) => `invalid request: ${why}`),
  API_UNIMPLEMENTED: fault(
    "ERR_API_UNIMPLEMENTED",
    501,
    Unimplemented,
    () => "this API is currently not implemented",
  ),
} as const;

import { Code, fault } from "./fault.ts";

const { InvalidArgument, Internal } = Code;

/** Rows of the catalogue for conversations. */
export const conversationErrors = {
  CONVERSATION_NOT_FOUND: fault(
    "ERR_CONVERSATION_NOT_FOUND",
    400,
    InvalidArgument,
    (name: string) => `failed finding conversation component ${name}`,
  ),
  CONVERSATION_MISSING_INPUTS: fault(
    "ERR_CONVERSATION_MISSING_INPUTS",
    400,
    InvalidArgument,
    (name: string) => `failed conversing with component ${name}: missing inputs in request`,
  ),
  CONVERSATION_INVALID: fault(
    "ERR_CONVERSATION_INVALID_PARMS",
    400,
    InvalidArgument,
    (name: string, why: string) => `failed conversing with component ${name}: invalid params: ${why}`,
  ),
  CONVERSATION_INVOKE: fault(
    "ERR_CONVERSATION_INVOKE",
    500,
    Internal,
    (name: string, why: string) => `failed conversing with component ${name}: ${why}`,
  ),
} as const;

import { refsNotPermitted } from "../../resource/reference-grant.ts";
import { type Rule, warning } from "./rule.ts";

/** A route or Gateway that refers to another namespace has a ReferenceGrant there. */
export const grantedReferences: Rule = ({ set, namespace }) =>
  refsNotPermitted(set.others, namespace).map(({ resource, path, message }) =>
    warning(resource, [...path, "namespace"], message),
  );

import { errors } from "../../errors.ts";
import type { Resource } from "../../resource/resource.ts";
import type {
  OpenedLayers,
  Place,
  Shape,
  Use,
  UseContext,
  UseLayer,
  UseLayerKind,
  Work,
} from "../use/layer.ts";
import type { Judge } from "./judge.ts";
import { DecisionNotes } from "./notes.ts";
import { judgeOf } from "./policies.ts";
import { subjectOfBlock, type UseOfPlace, useRequest } from "./use-request.ts";

/** What an app may do through its own mecha. Calls of other apps are judged where they arrive. */
export const authorizationPolicies: UseLayerKind = {
  name: "AuthorizationPolicy",
  kinds: ["AuthorizationPolicy"],
  open(resources: readonly Resource[], context: UseContext): OpenedLayers {
    return { at: (place) => layerAt(resources, place, context) };
  },
};

function layerAt(
  resources: readonly Resource[],
  { block, target }: Place,
  { principal, telemetry, trustDomain }: UseContext,
): UseLayer | undefined {
  const subject = subjectOfBlock[block];
  if (subject === undefined) return undefined;
  const { appId, namespace } = principal;
  const place = { subject, appId, name: target, isOfComponent: subject !== "actors" };
  const judge = judgeOf(resources, place);
  if (judge === undefined) return undefined;
  const notes = new DecisionNotes(telemetry, subject);
  const self = (): string => principalText({ trustDomain: trustDomain?.() ?? "public", namespace, appId });
  return {
    async run<T>(use: Use, work: Work<T>, shape: Shape<T>): Promise<T> {
      const asked = { subject, target, use, principal: self(), namespace };
      if (use.isRuntimes || isAllowed(judge, notes, asked)) return work(undefined);
      return shape.answer({ fault: errors.ACCESS_DENIED() });
    },
  };
}

/** As in a SPIFFE id, without its scheme. */
export function principalText(app: { trustDomain: string; namespace: string; appId: string }): string {
  return `${app.trustDomain}/ns/${app.namespace}/${app.appId}`;
}

/** Every key of a bulk has to be allowed. */
function isAllowed(judge: Judge, notes: DecisionNotes, asked: Omit<UseOfPlace, "name">): boolean {
  const { target, use, principal } = asked;
  // What was allowed to begin may end.
  if (use.operation === "unsubscribe" || use.operation === "unlock") return true;
  const names = use.names.length === 0 ? [undefined] : use.names;
  return names.every((name) => {
    const verdict = judge.judge(useRequest({ ...asked, name }));
    const { operation } = use;
    notes.take(verdict, () => ({ principal, target, operation, ...(name !== undefined && { name }) }));
    return verdict.isAllowed;
  });
}

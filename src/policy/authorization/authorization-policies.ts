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
import { ofNoComponent, subjectOfBlock, type UseOfPlace, useRequest } from "./use-request.ts";

/** What an app may do through its own mecha. Calls of other apps are judged where they arrive. */
export const authorizationPolicies: UseLayerKind = {
  name: "AuthorizationPolicy",
  kinds: ["AuthorizationPolicy"],
  open(resources: readonly Resource[], context: UseContext): OpenedLayers {
    return { at: (place) => layerAt(resources, place, context) };
  },
};

function layerAt(resources: readonly Resource[], place: Place, context: UseContext): UseLayer | undefined {
  const guard = guardOf(resources, place, context);
  return (
    guard && {
      async run<T>(use: Use, work: Work<T>, shape: Shape<T>): Promise<T> {
        if (use.isRuntimes || guard(use, context.principal)) return work(undefined);
        return shape.answer({ fault: errors.ACCESS_DENIED() });
      },
    }
  );
}

/** Whether an app may do something at a place. */
export type UseGuard = (use: Use, by: Guest) => boolean;

/** Without a trust domain it is the own one. */
interface Guest {
  appId: string;
  namespace: string;
  trustDomain?: string | undefined;
}

/** `undefined`: no policy is for the place. */
export function guardOf(
  resources: readonly Resource[],
  { block, target }: Place,
  { principal: { appId }, telemetry, trustDomain = () => "public" }: UseContext,
): UseGuard | undefined {
  const subject = subjectOfBlock[block];
  if (subject === undefined) return undefined;
  const place = { subject, appId, name: target, isOfComponent: !ofNoComponent.has(subject) };
  const judge = judgeOf(resources, place);
  if (judge === undefined) return undefined;
  const notes = new DecisionNotes(telemetry, subject);
  return (use, by) => {
    const { namespace, trustDomain: theirs = trustDomain() } = by;
    const principal = principalText({ trustDomain: theirs, namespace, appId: by.appId });
    return isAllowed(judge, notes, { subject, target, use, principal, namespace });
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

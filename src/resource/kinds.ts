import { readAuthorizationPolicy } from "./authorization-policy-kind.ts";
import { readComponent } from "./component-kind.ts";
import { readConfigurationKind } from "./configuration-kind.ts";
import type { FieldReader } from "./field-reader.ts";
import { readGateway } from "./gateway-kind.ts";
import { readHttpEndpoint } from "./http-endpoint-kind.ts";
import { readIdempotency } from "./idempotency-kind.ts";
import { readRateLimit } from "./rate-limit-kind.ts";
import { readReferenceGrant } from "./reference-grant-kind.ts";
import { readRequestAuthentication } from "./request-authentication-kind.ts";
import { readResiliency } from "./resiliency-kind.ts";
import { readGrpcRoute, readHttpRoute } from "./route-kinds.ts";
import { readSchedule } from "./schedule-kind.ts";
import { readSingleton } from "./singleton-kind.ts";
import { readSubscription } from "./subscription-kind.ts";
import { readTrafficPolicy } from "./traffic-policy-kind.ts";
import { readWorkflowAccessPolicy } from "./workflow-access-policy-kind.ts";

export interface KindReader {
  versions: readonly string[];
  /** Reports what is wrong to the reader; what it returns counts only when nothing was. */
  read(spec: FieldReader, apiVersion: string, annotations: Readonly<Record<string, string>>): unknown;
}

/** Dapr's kinds that mecha takes. */
export const kinds: Readonly<Record<string, KindReader>> = {
  Component: { versions: ["v1alpha1"], read: readComponent },
  Configuration: { versions: ["v1alpha1"], read: readConfigurationKind },
  Subscription: { versions: ["v1alpha1", "v2alpha1"], read: readSubscription },
  Resiliency: { versions: ["v1alpha1"], read: readResiliency },
  HTTPEndpoint: { versions: ["v1alpha1"], read: readHttpEndpoint },
  MCPServer: { versions: ["v1alpha1"], read: withoutEffect("MCPServer") },
  WorkflowAccessPolicy: { versions: ["v1alpha1"], read: readWorkflowAccessPolicy },
};

/** mecha's own kinds, of the group `mecha.run`. */
export const ownKinds: Readonly<Record<string, KindReader>> = {
  AuthorizationPolicy: { versions: ["v1alpha1"], read: readAuthorizationPolicy },
  Idempotency: { versions: ["v1alpha1"], read: readIdempotency },
  RequestAuthentication: { versions: ["v1alpha1"], read: readRequestAuthentication },
  RateLimit: { versions: ["v1alpha1"], read: readRateLimit },
  Schedule: { versions: ["v1alpha1"], read: readSchedule },
  TrafficPolicy: { versions: ["v1alpha1"], read: readTrafficPolicy },
  Singleton: { versions: ["v1alpha1"], read: readSingleton },
};

/** Of Gateway API (group `gateway.networking.k8s.io`), with its schema. */
export const gatewayKinds: Readonly<Record<string, KindReader>> = {
  HTTPRoute: { versions: ["v1", "v1beta1"], read: readHttpRoute },
  GRPCRoute: { versions: ["v1"], read: readGrpcRoute },
  Gateway: { versions: ["v1", "v1beta1"], read: readGateway },
  ReferenceGrant: { versions: ["v1", "v1beta1"], read: readReferenceGrant },
  // mecha is the one class there is: nothing is looked up in it.
  GatewayClass: { versions: ["v1", "v1beta1"], read: (spec) => spec.takeAll() },
};

/** Of Istio (group `security.istio.io`), with its schema. */
export const istioKinds: Readonly<Record<string, KindReader>> = {
  AuthorizationPolicy: { versions: ["v1", "v1beta1"], read: readAuthorizationPolicy },
  RequestAuthentication: { versions: ["v1", "v1beta1"], read: readRequestAuthentication },
};

/** Accepted so that existing folders load, and said aloud. */
function withoutEffect(kind: string): KindReader["read"] {
  return (spec) => {
    spec.takeAll();
    spec.warn(`${kind} is not implemented yet and has no effect`);
    return {};
  };
}

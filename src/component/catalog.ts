// Written by `bun run catalog` from the files of src/components. Do not edit.
import type { ComponentDefinition } from "./component.ts";

/** Loads the file of a component; nothing of it is read before a resource names it. */
export type ComponentLoader = () => Promise<{ default: ComponentDefinition }>;

/** Every built-in component by type and version. */
export const catalog: Readonly<Record<string, ComponentLoader>> = {
  "bindings.graphql/v1": () => import("../components/bindings/graphql.ts"),
  "bindings.http/v1": () => import("../components/bindings/http.ts"),
  "bindings.kafka/v1": () => import("../components/bindings/kafka.ts"),
  "bindings.localstorage/v1": () => import("../components/bindings/localstorage.ts"),
  "bindings.mysql/v1": () => import("../components/bindings/mysql.ts"),
  "bindings.nats/v1": () => import("../components/bindings/nats.ts"),
  "bindings.postgresql/v1": () => import("../components/bindings/postgresql.ts"),
  "bindings.rabbitmq/v1": () => import("../components/bindings/rabbitmq.ts"),
  "bindings.redis/v1": () => import("../components/bindings/redis.ts"),
  "bindings.sftp/v1": () => import("../components/bindings/sftp.ts"),
  "bindings.smtp/v1": () => import("../components/bindings/smtp.ts"),
  "bindings.webhook/v1": () => import("../components/bindings/webhook.ts"),
  "configuration.postgresql/v1": () => import("../components/configuration/postgresql.ts"),
  "configuration.redis/v1": () => import("../components/configuration/redis.ts"),
  "conversation.anthropic/v1": () => import("../components/conversation/anthropic.ts"),
  "conversation.echo/v1": () => import("../components/conversation/echo.ts"),
  "conversation.openai/v1": () => import("../components/conversation/openai.ts"),
  "crypto.dapr.jwks/v1": () => import("../components/crypto/dapr.jwks.ts"),
  "crypto.dapr.localstorage/v1": () => import("../components/crypto/dapr.localstorage.ts"),
  "lock.redis/v1": () => import("../components/lock/redis.ts"),
  "middleware.http.bearer/v1": () => import("../components/middleware/http.bearer.ts"),
  "middleware.http.oauth2/v1": () => import("../components/middleware/http.oauth2.ts"),
  "middleware.http.oauth2clientcredentials/v1": () =>
    import("../components/middleware/http.oauth2clientcredentials.ts"),
  "middleware.http.ratelimit/v1": () => import("../components/middleware/http.ratelimit.ts"),
  "middleware.http.routeralias/v1": () => import("../components/middleware/http.routeralias.ts"),
  "middleware.http.routerchecker/v1": () => import("../components/middleware/http.routerchecker.ts"),
  "middleware.http.uppercase/v1": () => import("../components/middleware/http.uppercase.ts"),
  "middleware.http.wasm/v1": () => import("../components/middleware/http.wasm.ts"),
  "pubsub.in-memory/v1": () => import("../components/pubsub/in-memory.ts"),
  "pubsub.jetstream/v1": () => import("../components/pubsub/jetstream.ts"),
  "pubsub.kafka/v1": () => import("../components/pubsub/kafka.ts"),
  "pubsub.pulsar/v1": () => import("../components/pubsub/pulsar.ts"),
  "pubsub.rabbitmq/v1": () => import("../components/pubsub/rabbitmq.ts"),
  "pubsub.redis/v1": () => import("../components/pubsub/redis.ts"),
  "secretstores.hashicorp.vault/v1": () => import("../components/secretstores/hashicorp.vault.ts"),
  "secretstores.local.env/v1": () => import("../components/secretstores/local.env.ts"),
  "secretstores.local.file/v1": () => import("../components/secretstores/local.file.ts"),
  "state.in-memory/v1": () => import("../components/state/in-memory.ts"),
  "state.jetstream/v1": () => import("../components/state/jetstream.ts"),
  "state.mysql/v1": () => import("../components/state/mysql.ts"),
  "state.postgresql/v1": () => import("../components/state/postgresql.ts"),
  "state.postgresql/v2": () => import("../components/state/postgresql.v2.ts"),
  "state.redis/v1": () => import("../components/state/redis.ts"),
  "state.sqlite/v1": () => import("../components/state/sqlite.ts"),
};

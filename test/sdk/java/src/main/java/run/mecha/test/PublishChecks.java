package run.mecha.test;

import static run.mecha.test.Checks.arrived;
import static run.mecha.test.Checks.check;
import static run.mecha.test.Checks.same;
import static run.mecha.test.Checks.skip;
import static run.mecha.test.Checks.until;

import io.dapr.client.DaprClient;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.Subscription;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.CloudEvent;
import io.dapr.utils.TypeRef;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;

final class PublishChecks {
  private static final List<String> APPS = List.of("http-app", "grpc-app");

  private PublishChecks() {}

  static void run(DaprClient client, DaprPreviewClient preview) {
    skip("publish-http", "the SDK publishes over gRPC only");
    check("publish-grpc", () -> publish(client));
    check("publish-routing", () -> publishRouting(client));
    check("publish-bulk", () -> publishBulk(client, preview));
    check("subscribe-stream", () -> subscribeListener(client, preview));
    check("subscribe-stream-flux", () -> subscribeFlux(client, preview));
  }

  private static void publish(DaprClient client) throws Exception {
    client.publishEvent("pubsub", "plain", Map.of("id", "java-plain")).block();
    for (String app : APPS) arrived(client, app, "plain", data -> "java-plain".equals(data.get("id")));
  }

  private static void publishRouting(DaprClient client) throws Exception {
    client
        .publishEvent("pubsub", "routed", Map.of("id", "java-special"), Map.of("cloudevent.type", "special"))
        .block();
    client.publishEvent("pubsub", "routed", Map.of("id", "java-other")).block();
    for (String app : APPS) {
      arrived(client, app, "special", data -> "java-special".equals(data.get("id")));
      arrived(client, app, "default", data -> "java-other".equals(data.get("id")));
    }
  }

  private static void publishBulk(DaprClient client, DaprPreviewClient preview) throws Exception {
    List<Map<String, Object>> events =
        List.of(Map.of("id", "java-bulk", "n", 1), Map.of("id", "java-bulk", "n", 2));
    same(preview.publishEvents("pubsub", "bulk", "application/json", events).block().getFailedEntries(), List.of());
    for (String app : APPS) {
      for (Map<String, Object> event : events) arrived(client, app, "bulk", event::equals);
    }
  }

  private static void subscribeListener(DaprClient client, DaprPreviewClient preview) throws Exception {
    List<String> seen = new CopyOnWriteArrayList<>();
    SubscriptionListener<Map<String, Object>> listener =
        new SubscriptionListener<>() {
          @Override
          public Mono<Status> onEvent(CloudEvent<Map<String, Object>> event) {
            seen.add(event.getTopic() + " " + event.getData().get("id"));
            // The first delivery is sent back, so that there is a second one.
            return Mono.just(seen.size() == 1 ? Status.RETRY : Status.SUCCESS);
          }

          @Override
          public void onError(RuntimeException error) {
            seen.add(String.valueOf(error));
          }
        };
    try (Subscription<?> subscription =
        preview.subscribeToEvents("pubsub", "java-stream", listener, new TypeRef<Map<String, Object>>() {})) {
      subscribed(client, "java-stream");
      client.publishEvent("pubsub", "java-stream", Map.of("id", "one")).block();
      until("the redelivered event", () -> seen.size() >= 2);
      client.publishEvent("pubsub", "java-stream", Map.of("id", "two")).block();
      until("the second event", () -> seen.size() >= 3);
      same(seen, List.of("java-stream one", "java-stream one", "java-stream two"));
    }
  }

  private static void subscribeFlux(DaprClient client, DaprPreviewClient preview) throws Exception {
    List<String> seen = new CopyOnWriteArrayList<>();
    Disposable subscription =
        preview
            .subscribeToTopic("pubsub", "java-flux", new TypeRef<Map<String, Object>>() {})
            .subscribe(data -> seen.add(String.valueOf(data.get("id"))), error -> seen.add(String.valueOf(error)));
    try {
      subscribed(client, "java-flux");
      for (int n = 1; n <= 3; n++) client.publishEvent("pubsub", "java-flux", Map.of("id", n)).block();
      until("the events of the stream", () -> seen.size() >= 3);
      same(seen.stream().sorted().toList(), List.of("1", "2", "3"));
    } finally {
      subscription.dispose();
    }
    until("the end of the subscription", () -> !isSubscribed(client, "java-flux"));
  }

  private static void subscribed(DaprClient client, String topic) throws Exception {
    until("the subscription to " + topic, () -> isSubscribed(client, topic));
  }

  private static boolean isSubscribed(DaprClient client, String topic) {
    return client.getMetadata().block().getSubscriptions().stream()
        .anyMatch(each -> each.getTopic().equals(topic));
  }
}

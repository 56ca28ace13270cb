package run.mecha.test;

import static run.mecha.test.Checks.check;
import static run.mecha.test.Checks.same;
import static run.mecha.test.Checks.skip;
import static run.mecha.test.Checks.until;

import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.domain.DaprMetadata;
import io.dapr.client.domain.UnlockResponseStatus;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import reactor.core.Disposable;

/** The role `client`: all checks, one after the other. */
final class Client {
  private Client() {}

  static void runChecks() throws Exception {
    DaprClientBuilder builder = new DaprClientBuilder();
    try (DaprClient client = builder.build();
        DaprPreviewClient preview = builder.buildPreviewClient()) {
      check("wait-for-sidecar", () -> client.waitForSidecar(10_000).block());
      StateChecks.run(client, preview);
      PublishChecks.run(client, preview);
      InvokeChecks.run(client);
      check("secrets", () -> same(client.getSecret("filesecrets", "sdk-secret").block(), Map.of("sdk-secret", "hush")));
      check(
          "secrets-bulk",
          () -> {
            Map<String, Map<String, String>> all = client.getBulkSecret("filesecrets").block();
            same(all.get("nested:inner"), Map.of("nested:inner", "deep"));
          });
      check("configuration", () -> same(client.getConfiguration("configstore", "sdk-item").block().getValue(), "one"));
      check("configuration-subscribe", () -> configurationSubscribe(client));
      check("lock", () -> lock(preview));
      check("metadata", () -> metadata(client));
      skip("metadata-set", "the SDK only reads metadata");
    }
    JobChecks.run();
    System.exit(0);
  }

  private static void configurationSubscribe(DaprClient client) throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    AtomicReference<String> seen = new AtomicReference<>();
    Disposable subscription =
        client
            .subscribeConfiguration("configstore", "sdk-live")
            .subscribe(
                response -> {
                  id.set(response.getSubscriptionId());
                  response.getItems().forEach((key, item) -> seen.set(key + "=" + item.getValue()));
                });
    System.out.println("want sdk-live");
    until("the changed item", () -> "sdk-live=after".equals(seen.get()));
    same(client.unsubscribeConfiguration(id.get(), "configstore").block().getIsUnsubscribed(), true);
    subscription.dispose();
  }

  private static void lock(DaprPreviewClient client) {
    same(client.tryLock("lockstore", "java-lock", "a", 60).block(), true);
    same(client.tryLock("lockstore", "java-lock", "b", 60).block(), false);
    same(client.unlock("lockstore", "java-lock", "b").block(), UnlockResponseStatus.LOCK_BELONG_TO_OTHERS);
    same(client.unlock("lockstore", "java-lock", "a").block(), UnlockResponseStatus.SUCCESS);
    same(client.unlock("lockstore", "java-lock", "a").block(), UnlockResponseStatus.LOCK_UNEXIST);
  }

  private static void metadata(DaprClient client) {
    DaprMetadata metadata = client.getMetadata().block();
    same(metadata.getId(), "client");
    same(metadata.getComponents().stream().anyMatch(each -> each.getName().equals("statestore")), true);
    same(metadata.getRuntimeVersion().isEmpty(), false);
  }
}

package run.mecha.test;

import static run.mecha.test.Checks.check;
import static run.mecha.test.Checks.same;

import io.dapr.client.DaprClient;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.domain.QueryStateItem;
import io.dapr.client.domain.State;
import io.dapr.client.domain.StateOptions;
import io.dapr.client.domain.StateOptions.Concurrency;
import io.dapr.client.domain.StateOptions.Consistency;
import io.dapr.client.domain.TransactionalStateOperation;
import io.dapr.client.domain.TransactionalStateOperation.OperationType;
import io.dapr.client.domain.query.Pagination;
import io.dapr.client.domain.query.Query;
import io.dapr.client.domain.query.Sorting;
import io.dapr.client.domain.query.filters.EqFilter;
import io.dapr.exceptions.DaprErrorDetails;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;

final class StateChecks {
  record Item(String text, int n) {}

  private static final String STORE = "statestore";
  private static final TypeRef<Map<String, Object>> JSON_MAP = new TypeRef<>() {};
  private static final StateOptions FIRST_WRITE = new StateOptions(Consistency.STRONG, Concurrency.FIRST_WRITE);

  private StateChecks() {}

  static void run(DaprClient client, DaprPreviewClient preview) {
    check("state", () -> state(client));
    check("state-etag", () -> stateEtag(client));
    check("state-transaction", () -> stateTransaction(client));
    check("state-query", () -> stateQuery(client, preview));
    check("error-details", () -> errorDetails(client));
  }

  private static void state(DaprClient client) {
    client.saveState(STORE, "java", new Item("käse", 1)).block();
    client.saveBulkState(STORE, List.of(item("java-2", "two"), item("java-3", 3))).block();
    same(client.getState(STORE, "java", Item.class).block().getValue(), new Item("käse", 1));
    same(client.getState(STORE, "java-3", Integer.class).block().getValue(), 3);
    List<State<String>> bulk =
        client.getBulkState(STORE, List.of("java-2", "java-none"), String.class).block();
    same(bulk.stream().filter(each -> each.getKey().equals("java-2")).findFirst().get().getValue(), "two");
    same(bulk.stream().filter(each -> each.getKey().equals("java-none")).findFirst().get().getValue(), null);
    client.deleteState(STORE, "java").block();
    same(client.getState(STORE, "java", Item.class).block().getValue(), null);
    bytes(client);
    expiry(client);
  }

  private static State<?> item(String key, Object value) {
    return new State<>(key, value, (String) null);
  }

  /** A byte array goes to the store as it is, whatever the bytes are. */
  private static void bytes(DaprClient client) {
    byte[] raw = {0, -1, 127, -128, 10};
    client.saveState(STORE, "java-bytes", raw).block();
    same(List.of(boxed(client.getState(STORE, "java-bytes", byte[].class).block().getValue())), List.of(boxed(raw)));
  }

  private static void expiry(DaprClient client) {
    client.saveState(STORE, "java-ttl", null, "short", Map.of("ttlInSeconds", "60"), null).block();
    String expires = client.getState(STORE, "java-ttl", String.class).block().getMetadata().get("ttlExpireTime");
    Duration left = Duration.between(Instant.now(), Instant.parse(expires));
    same(left.compareTo(Duration.ZERO) > 0 && left.compareTo(Duration.ofSeconds(61)) < 0, true);
  }

  private static Byte[] boxed(byte[] bytes) {
    Byte[] boxes = new Byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) boxes[i] = bytes[i];
    return boxes;
  }

  private static void stateEtag(DaprClient client) {
    client.saveState(STORE, "java-etag", 1).block();
    String etag = client.getState(STORE, "java-etag", Integer.class).block().getEtag();
    client.saveState(STORE, "java-etag", etag, 2, FIRST_WRITE).block();
    same(refused(() -> client.saveState(STORE, "java-etag", etag, 3, FIRST_WRITE).block()), "ABORTED");
    same(refused(() -> client.deleteState(STORE, "java-etag", etag, FIRST_WRITE).block()), "ABORTED");
    same(client.getState(STORE, "java-etag", Integer.class).block().getValue(), 2);
  }

  private static String refused(Runnable call) {
    try {
      call.run();
    } catch (DaprException error) {
      return error.getErrorCode();
    }
    throw new AssertionError("a stale etag was taken");
  }

  private static void stateTransaction(DaprClient client) {
    client.saveState(STORE, "java-tx-old", 1).block();
    client
        .executeStateTransaction(
            STORE,
            List.of(
                new TransactionalStateOperation<>(OperationType.UPSERT, item("java-tx-new", "new")),
                new TransactionalStateOperation<>(OperationType.DELETE, new State<>("java-tx-old"))))
        .block();
    same(client.getState(STORE, "java-tx-new", String.class).block().getValue(), "new");
    same(client.getState(STORE, "java-tx-old", String.class).block().getValue(), null);
    allOrNothing(client);
  }

  private static void allOrNothing(DaprClient client) {
    State<?> stale = new State<>("java-tx-new", "newer", "no-such-etag", FIRST_WRITE);
    List<TransactionalStateOperation<?>> operations =
        List.of(
            new TransactionalStateOperation<>(OperationType.UPSERT, item("java-tx-other", 1)),
            new TransactionalStateOperation<>(OperationType.UPSERT, stale));
    refused(() -> client.executeStateTransaction(STORE, operations).block());
    same(client.getState(STORE, "java-tx-other", Integer.class).block().getValue(), null);
    same(client.getState(STORE, "java-tx-new", String.class).block().getValue(), "new");
  }

  private static void stateQuery(DaprClient client, DaprPreviewClient preview) {
    for (int n = 1; n <= 3; n++) {
      State<Object> state = new State<>(
          "java-query-" + n,
          Map.of("group", "java-query", "n", n),
          null,
          Map.of("contentType", "application/json"),
          null);
      client.saveBulkState(STORE, List.of(state)).block();
    }
    Query query =
        new Query()
            .setFilter(new EqFilter<>("group", "java-query"))
            .setSort(List.of(new Sorting("n", Sorting.Order.DESC)))
            .setPagination(new Pagination(2, null));
    List<QueryStateItem<Map<String, Object>>> items =
        preview.queryState(STORE, query, JSON_MAP).block().getResults();
    same(items.stream().map(item -> item.getValue().get("n")).toList(), List.of(3, 2));
  }

  /** The SDK reads the rich error out of the trailers. */
  private static void errorDetails(DaprClient client) {
    try {
      client.getState("no-such-store", "key", String.class).block();
    } catch (DaprException error) {
      same(error.getErrorCode(), "INVALID_ARGUMENT");
      String reason =
          error.getErrorDetails().get(DaprErrorDetails.ErrorDetailType.ERROR_INFO, "reason", TypeRef.STRING);
      same(reason, "DAPR_STATE_NOT_FOUND");
      return;
    }
    throw new AssertionError("an unknown store was answered");
  }
}

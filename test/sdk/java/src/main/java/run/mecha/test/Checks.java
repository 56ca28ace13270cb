package run.mecha.test;

import io.dapr.client.DaprClient;
import io.dapr.client.domain.HttpExtension;
import io.dapr.utils.TypeRef;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.Predicate;

/** How a check is run, printed, and waits for what it expects. */
final class Checks {
  interface Work {
    void run() throws Exception;
  }

  private static final long DEADLINE_MS = 15_000;

  private Checks() {}

  static void check(String name, Work work) {
    try {
      work.run();
      System.out.println("ok " + name);
    } catch (Throwable error) {
      String text = String.valueOf(error).replace('\n', ' ');
      System.out.println("not ok " + name + ": " + text.substring(0, Math.min(500, text.length())));
    }
  }

  static void skip(String name, String reason) {
    System.out.println("skip " + name + ": " + reason);
  }

  static void same(Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) {
      throw new AssertionError("got " + found + ", wanted " + wanted);
    }
  }

  static void until(String what, Callable<Boolean> isSo) throws Exception {
    long deadline = System.nanoTime() + DEADLINE_MS * 1_000_000;
    while (!isSo.call()) {
      if (System.nanoTime() > deadline) throw new AssertionError("waited 15 s for " + what);
      Thread.sleep(50);
    }
  }

  /** Waits until an app got an event exactly once. */
  static void arrived(DaprClient client, String app, String route, Predicate<Map<String, Object>> isIt)
      throws Exception {
    until(
        "the event at " + app,
        () -> {
          long count =
              receivedBy(client, app).stream()
                  .filter(event -> route.equals(event.get("route")) && isIt.test(dataOf(event)))
                  .count();
          if (count > 1) throw new AssertionError(app + " got the event " + count + " times");
          return count == 1;
        });
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> dataOf(Map<String, Object> event) {
    return (Map<String, Object>) event.get("data");
  }

  private static List<Map<String, Object>> receivedBy(DaprClient client, String app) {
    HttpExtension verb = app.equals("http-app") ? HttpExtension.GET : HttpExtension.POST;
    return client
        .invokeMethod(app, "received", null, verb, new TypeRef<List<Map<String, Object>>>() {})
        .block();
  }
}

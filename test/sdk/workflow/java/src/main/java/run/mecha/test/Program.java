package run.mecha.test;

import io.dapr.workflows.Workflow;
import io.dapr.workflows.client.DaprWorkflowClient;
import io.dapr.workflows.client.NewWorkflowOptions;
import io.dapr.workflows.client.WorkflowState;
import io.dapr.workflows.runtime.WorkflowRuntimeBuilder;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * The workflow scenarios in Java, on io.dapr:dapr-sdk-workflows. The SDK has one worker per process, which it does not
 * end: the client's process starts and kills those that have the workers.
 */
public final class Program {
  private static final Workflow one = () -> Workflows::evolvingOne;
  private static final Workflow two = () -> Workflows::evolvingTwo;

  private final DaprWorkflowClient client = new DaprWorkflowClient();
  private Process worker;

  public static void main(String[] args) throws Exception {
    Logger.getLogger("").setLevel(Level.WARNING);
    if (args.length == 2 && args[0].equals("worker")) {
      worker(List.of(args[1].split(",")));
      // Until the client is gone, whose pipe this is.
      System.in.read();
      System.exit(0);
    }
    Process other = spawn(System.getenv("OTHER_GRPC_PORT"), "one");
    Program program = new Program();
    program.connect("one");
    program.checkPatterns();
    program.checkVerbs();
    program.checkIds();
    program.checkWorkers();
    skip("terminate-recursive", "the client ends the instance alone");
    skip("purge-recursive", "the client purges the instance alone");
    skip("handed-history", "the context hands no history on");
    skip("list", "the client does not list");
    skip("history", "the client reads no histories");
    skip("history-deltas", "the worker keeps no histories");
    skip("rerun", "the client does not rerun");
    program.client.close();
    other.destroyForcibly();
    program.worker.destroyForcibly();
    System.exit(0);
  }

  /** Has everything, and of the workflow `evolving` these versions; the last is the latest. */
  private static void worker(List<String> versions) {
    WorkflowRuntimeBuilder builder = new WorkflowRuntimeBuilder();
    Workflows.all.forEach((name, workflow) -> builder.registerWorkflow(name, workflow, null, null));
    Workflows.activities.forEach(builder::registerActivity);
    for (String version : versions) {
      boolean isLatest = version.equals(versions.get(versions.size() - 1));
      builder.registerWorkflow("evolving", version.equals("one") ? one : two, version, isLatest);
    }
    builder.build().start(false);
  }

  private void connect(String versions) throws Exception {
    worker = spawn(System.getenv("DAPR_GRPC_PORT"), versions);
  }

  /** A worker in a process of its own. */
  private static Process spawn(String port, String versions) throws Exception {
    ProcessHandle.Info self = ProcessHandle.current().info();
    List<String> command = new ArrayList<>(List.of(self.command().orElseThrow()));
    command.addAll(List.of(self.arguments().orElseThrow()));
    command.addAll(List.of("worker", versions));
    ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().put("DAPR_GRPC_PORT", port);
    return builder.start();
  }

  private void checkPatterns() {
    check("chain", () -> same(run("chain", 1), "8"));
    check("fan-out", () -> same(run("fan", null), "870"));
    check("monitor", () -> same(run("monitor", 3), "\"healthy\""));
    check("continue-as-new", () -> same(run("spin", 50), "\"done\""));
    check("approval-timeout", () -> same(run("approval", 100), "\"timed out\""));
    check("child", () -> same(run("parent", null), "17"));
    check("retry", () -> same(run("retried", null), "3"));
    check("patch", () -> same(run("patched", null), "[true,true]"));
    check("multi-app-activity", () -> same(run("abroad", null), "10"));
    check("multi-app-child", () -> same(run("abroadChild", null), "8"));
    check("saga", () -> same(run("saga", null), "\"undone [hotel, flight]\""));
    check("failed", () -> {
      WorkflowState state = state(start("broken", null));
      same(state.getRuntimeStatus().name(), "FAILED");
      same(state.getFailureDetails().getErrorMessage().contains("broken by design"), true);
    });
    check("approval", () -> {
      String id = start("approval", 60_000);
      client.raiseEvent(id, "approved", "Ada");
      same(end(id), "\"approved by Ada\"");
    });
  }

  private void checkVerbs() {
    check("early-events", () -> {
      String id = start("numbers", null);
      raise(id, 1, 2);
      same(end(id), "3");
    });
    check("suspend", () -> {
      String id = start("numbers", null);
      client.suspendWorkflow(id, "lunch");
      same(status(id), "SUSPENDED");
      raise(id, 1, 2);
      Thread.sleep(100);
      same(status(id), "SUSPENDED");
      client.resumeWorkflow(id, "back");
      same(end(id), "3");
    });
    check("carry-over", () -> {
      String id = start("collect", new Workflows.Collection(3, 0));
      client.suspendWorkflow(id, "");
      raise(id, 1, 2, 4);
      client.resumeWorkflow(id, "");
      same(end(id), "7");
    });
    check("terminate", () -> {
      String id = start("numbers", null);
      client.terminateWorkflow(id, "enough");
      same(end(id), "\"enough\"");
      same(status(id), "TERMINATED");
    });
    check("purge", () -> {
      String id = start("chain", 1);
      end(id);
      same(client.purgeWorkflow(id), true);
      // What the SDK tells of an instance that is not there.
      same(client.getWorkflowState(id, false).getName(), "");
    });
  }

  private void checkIds() {
    check("delayed-start", () -> {
      Instant at = Instant.now().plusMillis(1500);
      NewWorkflowOptions options = new NewWorkflowOptions().setInput(1).setStartTime(at);
      String id = client.scheduleNewWorkflow("chain", options);
      same(status(id), "PENDING");
      same(end(id), "8");
      same(Instant.now().isBefore(at), false);
    });
    check("duplicate", () -> {
      String id = start("numbers", null);
      String refused = "accepted";
      try {
        client.scheduleNewWorkflow("numbers", null, id);
      } catch (RuntimeException error) {
        refused = String.valueOf(error);
      }
      same(refused.contains("already exists") ? "refused" : refused, "refused");
      client.terminateWorkflow(id, null);
    });
    check("reuse", () -> {
      String id = start("chain", 1);
      end(id);
      client.scheduleNewWorkflow("chain", 2, id);
      same(end(id), "16");
    });
  }

  private void checkWorkers() {
    check("reconnect", () -> {
      // What happens while no worker is there is done by the next one.
      String id = start("numbers", null);
      worker.destroyForcibly().waitFor();
      raise(id, 1, 2);
      connect("one");
      same(end(id), "3");
    });
    check("version", () -> {
      // An instance goes on with the version that it began with.
      String older = start("evolving", null);
      client.waitForWorkflowStart(older, Duration.ofSeconds(20), false);
      worker.destroyForcibly().waitFor();
      connect("one,two");
      String newer = start("evolving", null);
      for (String id : List.of(older, newer)) client.raiseEvent(id, "go", null);
      same(end(older) + end(newer), "\"one\"\"two\"");
    });
    check("stalled", () -> {
      // No worker has the version: the instance stands still, until one has it.
      worker.destroyForcibly().waitFor();
      connect("one");
      String id = start("evolving", null);
      client.waitForWorkflowStart(id, Duration.ofSeconds(20), false);
      worker.destroyForcibly().waitFor();
      connect("two");
      client.raiseEvent(id, "go", null);
      // The states of the SDK's client know none of that name: it is seen over HTTP.
      until(() -> read("/v1.0/workflows/dapr/" + id).contains("\"STALLED\""));
      worker.destroyForcibly().waitFor();
      connect("one,two");
      same(end(id), "\"one\"");
    });
  }

  private String start(String name, Object input) {
    return client.scheduleNewWorkflow(name, input);
  }

  private WorkflowState state(String id) throws Exception {
    return client.waitForWorkflowCompletion(id, Duration.ofSeconds(20), true);
  }

  private String end(String id) throws Exception {
    return state(id).getSerializedOutput();
  }

  private String run(String name, Object input) throws Exception {
    return end(start(name, input));
  }

  private String status(String id) {
    return client.getWorkflowState(id, false).getRuntimeStatus().name();
  }

  private void raise(String id, int... numbers) {
    for (int number : numbers) client.raiseEvent(id, "number", number);
  }

  private static String read(String path) {
    URI uri = URI.create("http://127.0.0.1:" + System.getenv("DAPR_HTTP_PORT") + path);
    try {
      HttpRequest request = HttpRequest.newBuilder(uri).build();
      return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
    } catch (IOException | InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }

  private static void until(BooleanSupplier reached) throws InterruptedException {
    for (int tries = 0; !reached.getAsBoolean(); tries++) {
      if (tries == 400) throw new AssertionError("waited in vain");
      Thread.sleep(50);
    }
  }

  private interface Work {
    void run() throws Exception;
  }

  private static void check(String name, Work work) {
    try {
      work.run();
      System.out.println("ok " + name);
    } catch (Throwable error) {
      String text = String.valueOf(error).replace('\n', ' ');
      System.out.println("not ok " + name + ": " + text.substring(0, Math.min(500, text.length())));
    }
  }

  private static void skip(String name, String reason) {
    System.out.println("skip " + name + ": " + reason);
  }

  private static void same(Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) throw new AssertionError("got " + found + ", wanted " + wanted);
  }
}

package run.mecha.test;

import io.dapr.durabletask.Task;
import io.dapr.durabletask.TaskCanceledException;
import io.dapr.durabletask.TaskFailedException;
import io.dapr.workflows.Workflow;
import io.dapr.workflows.WorkflowActivity;
import io.dapr.workflows.WorkflowContext;
import io.dapr.workflows.WorkflowTaskOptions;
import io.dapr.workflows.WorkflowTaskRetryPolicy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/** What the worker runs, by name. */
final class Workflows {
  record Collection(int left, int sum) {}

  private static final AtomicInteger tries = new AtomicInteger();

  static final Map<String, WorkflowActivity> activities =
      Map.of(
          "double", ctx -> ctx.getInput(Integer.class) * 2,
          "refuse", ctx -> {
            throw new IllegalStateException("no " + ctx.getInput(String.class));
          },
          "flaky", ctx -> {
            if (tries.incrementAndGet() < 3) throw new IllegalStateException("not yet");
            return tries.get();
          },
          "undo", ctx -> ctx.getInput(String.class));

  static final Map<String, Workflow> all =
      Map.ofEntries(
          Map.entry("chain", () -> Workflows::chain),
          Map.entry("fan", () -> Workflows::fan),
          Map.entry("monitor", () -> Workflows::monitor),
          Map.entry("spin", () -> Workflows::spin),
          Map.entry("approval", () -> Workflows::approval),
          Map.entry("saga", () -> Workflows::saga),
          Map.entry("retried", () -> Workflows::retried),
          Map.entry("parent", () -> Workflows::parent),
          Map.entry("holder", () -> Workflows::holder),
          Map.entry("numbers", () -> Workflows::numbers),
          Map.entry("collect", () -> Workflows::collect),
          Map.entry("broken", () -> Workflows::broken),
          Map.entry("patched", () -> Workflows::patched),
          Map.entry("abroad", () -> Workflows::abroad),
          Map.entry("abroadChild", () -> Workflows::abroadChild));

  private Workflows() {}

  static void evolvingOne(WorkflowContext ctx) {
    ctx.waitForExternalEvent("go").await();
    ctx.complete("one");
  }

  static void evolvingTwo(WorkflowContext ctx) {
    ctx.waitForExternalEvent("go").await();
    ctx.complete("two");
  }

  private static void chain(WorkflowContext ctx) {
    int number = ctx.getInput(Integer.class);
    for (int step = 0; step < 3; step++) number = twice(ctx, number).await();
    ctx.complete(number);
  }

  private static void fan(WorkflowContext ctx) {
    List<Task<Integer>> tasks = new ArrayList<>();
    for (int index = 0; index < 30; index++) tasks.add(twice(ctx, index));
    ctx.complete(ctx.allOf(tasks).await().stream().mapToInt(Integer::intValue).sum());
  }

  private static void monitor(WorkflowContext ctx) {
    int polls = ctx.getInput(Integer.class);
    if (polls == 0) {
      ctx.complete("healthy");
      return;
    }
    twice(ctx, polls).await();
    ctx.createTimer(Duration.ofMillis(50)).await();
    ctx.continueAsNew(polls - 1);
  }

  /** More executions than run in one turn. */
  private static void spin(WorkflowContext ctx) {
    int left = ctx.getInput(Integer.class);
    if (left == 0) ctx.complete("done");
    else ctx.continueAsNew(left - 1);
  }

  private static void approval(WorkflowContext ctx) {
    Duration patience = Duration.ofMillis(ctx.getInput(Integer.class));
    try {
      ctx.complete("approved by " + ctx.waitForExternalEvent("approved", patience, String.class).await());
    } catch (TaskCanceledException late) {
      ctx.complete("timed out");
    }
  }

  private static void saga(WorkflowContext ctx) {
    List<String> done = new ArrayList<>();
    try {
      for (String step : List.of("flight", "hotel")) {
        twice(ctx, 1).await();
        done.add(step);
      }
      ctx.callActivity("refuse", "car").await();
    } catch (TaskFailedException failure) {
      Collections.reverse(done);
      List<String> undone = new ArrayList<>();
      for (String step : done) undone.add(ctx.callActivity("undo", step, String.class).await());
      ctx.complete("undone " + undone);
    }
  }

  private static void retried(WorkflowContext ctx) {
    WorkflowTaskRetryPolicy policy =
        WorkflowTaskRetryPolicy.newBuilder()
            .setMaxNumberOfAttempts(5)
            .setFirstRetryInterval(Duration.ofMillis(20))
            .build();
    ctx.complete(ctx.callActivity("flaky", null, new WorkflowTaskOptions(policy), Integer.class).await());
  }

  private static void parent(WorkflowContext ctx) {
    String id = ctx.getInstanceId() + "-child";
    ctx.complete(ctx.callChildWorkflow("chain", 2, id, Integer.class).await() + 1);
  }

  private static void holder(WorkflowContext ctx) {
    ctx.callChildWorkflow("numbers", null, ctx.getInstanceId() + "-child", Integer.class).await();
  }

  private static void numbers(WorkflowContext ctx) {
    int first = ctx.waitForExternalEvent("number", Integer.class).await();
    ctx.complete(first + ctx.waitForExternalEvent("number", Integer.class).await());
  }

  /** Each execution takes one event; those that wait go along to the next. */
  private static void collect(WorkflowContext ctx) {
    Collection given = ctx.getInput(Collection.class);
    if (given.left() == 0) {
      ctx.complete(given.sum());
      return;
    }
    int number = ctx.waitForExternalEvent("number", Integer.class).await();
    ctx.continueAsNew(new Collection(given.left() - 1, given.sum() + number), true);
  }

  private static void broken(WorkflowContext ctx) {
    throw new IllegalStateException("broken by design");
  }

  private static void patched(WorkflowContext ctx) {
    boolean early = ctx.isPatched("early");
    twice(ctx, 1).await();
    ctx.complete(List.of(early, ctx.isPatched("better")));
  }

  private static void abroad(WorkflowContext ctx) {
    ctx.complete(ctx.callActivity("double", 5, new WorkflowTaskOptions("other"), Integer.class).await());
  }

  private static void abroadChild(WorkflowContext ctx) {
    WorkflowTaskOptions other = new WorkflowTaskOptions("other");
    ctx.complete(ctx.callChildWorkflow("chain", 1, null, other, Integer.class).await());
  }

  private static Task<Integer> twice(WorkflowContext ctx, int number) {
    return ctx.callActivity("double", number, Integer.class);
  }
}

package run.mecha.test;

import static run.mecha.test.Checks.check;
import static run.mecha.test.Checks.same;
import static run.mecha.test.Checks.skip;
import static run.mecha.test.Checks.until;

import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.domain.ConstantFailurePolicy;
import io.dapr.client.domain.DeleteJobRequest;
import io.dapr.client.domain.DropFailurePolicy;
import io.dapr.client.domain.GetJobRequest;
import io.dapr.client.domain.GetJobResponse;
import io.dapr.client.domain.HttpExtension;
import io.dapr.client.domain.JobSchedule;
import io.dapr.client.domain.ScheduleJobRequest;
import io.dapr.config.Properties;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A job calls the app that scheduled it: the client speaks to the runtime of the HTTP app. */
final class JobChecks {
  private final DaprClient app;

  private JobChecks(DaprClient app) {
    this.app = app;
  }

  static void run() throws Exception {
    DaprClientBuilder builder =
        new DaprClientBuilder().withPropertyOverride(Properties.GRPC_PORT, System.getenv("HTTP_APP_GRPC_PORT"));
    try (DaprClient app = builder.build()) {
      JobChecks checks = new JobChecks(app);
      Map<String, Checks.Work> works = new LinkedHashMap<>();
      works.put("job-once", checks::once);
      works.put("job-every", checks::every);
      works.put("job-cron", checks::cron);
      works.put("job-get", checks::get);
      works.put("job-overwrite", checks::overwrite);
      works.put("job-delete", checks::delete);
      works.put("job-retried", checks::retried);
      works.put("job-dropped", checks::dropped);
      // Side by side: most of them wait for the second hand.
      List<Thread> threads =
          works.entrySet().stream().map(each -> new Thread(() -> check(each.getKey(), each.getValue()))).toList();
      threads.forEach(Thread::start);
      for (Thread thread : threads) thread.join();
      skip("job-list", "the SDK has no such call");
      skip("job-delete-by-prefix", "the SDK has no such call");
    }
  }

  private void once() throws Exception {
    schedule(at("job-once", soon()));
    gone("job-once");
    same(fires("job-once"), List.of("a"));
  }

  private void every() throws Exception {
    schedule(new ScheduleJobRequest("job-every", JobSchedule.fromPeriod(Duration.ofSeconds(1))).setRepeat(2));
    gone("job-every");
    same(fires("job-every"), List.of("a", "a"));
  }

  private void cron() throws Exception {
    JobSchedule schedule = JobSchedule.fromString("TZ=Europe/Berlin * * * * * *");
    schedule(new ScheduleJobRequest("job-cron", schedule).setTtl(Instant.now().plusMillis(2500)));
    gone("job-cron");
    int count = fires("job-cron").size();
    same(count >= 1 && count <= 3, true);
  }

  private void get() {
    Instant due = Instant.now().truncatedTo(ChronoUnit.SECONDS).plus(Duration.ofHours(1));
    Instant end = due.plus(Duration.ofDays(3));
    ConstantFailurePolicy policy = new ConstantFailurePolicy(4).setDurationBetweenRetries(Duration.ofSeconds(5));
    schedule(
        new ScheduleJobRequest("job-get", JobSchedule.daily())
            .setDueTime(due)
            .setTtl(end)
            .setRepeat(7)
            .setFailurePolicy(policy));
    GetJobResponse job = app.getJob(new GetJobRequest("job-get")).block();
    same(
        List.of(job.getName(), job.getSchedule().getExpression(), job.getDueTime(), job.getTtl(), job.getRepeats()),
        List.of("job-get", JobSchedule.daily().getExpression(), due, end, 7));
    same(new String(job.getData(), StandardCharsets.UTF_8), "\"a\"");
    // Of the interval the SDK sends and reads the nanoseconds alone.
    same(((ConstantFailurePolicy) job.getFailurePolicy()).getMaxRetries(), 4);
  }

  private void overwrite() throws Exception {
    schedule(at("job-overwrite", Instant.now().plus(Duration.ofHours(1))), "old");
    try {
      schedule(at("job-overwrite", soon()), "new");
      throw new AssertionError("a second job of one name was not refused");
    } catch (DaprException error) {
      same(error.getErrorCode(), "ALREADY_EXISTS");
    }
    schedule(at("job-overwrite", soon()).setOverwrite(true), "new");
    gone("job-overwrite");
    same(fires("job-overwrite"), List.of("new"));
  }

  private void delete() throws Exception {
    schedule(at("job-delete", Instant.now().plus(Duration.ofHours(1))));
    app.deleteJob(new DeleteJobRequest("job-delete")).block();
    gone("job-delete");
    same(fires("job-delete"), List.of());
  }

  private void retried() throws Exception {
    ConstantFailurePolicy policy = new ConstantFailurePolicy(5).setDurationBetweenRetries(Duration.ofMillis(50));
    schedule(at("job-retried", soon()).setFailurePolicy(policy));
    gone("job-retried");
    same(fires("job-retried"), List.of("a", "a", "a"));
  }

  private void dropped() throws Exception {
    schedule(at("job-dropped", soon()).setFailurePolicy(new DropFailurePolicy()));
    gone("job-dropped");
    same(fires("job-dropped"), List.of("a"));
  }

  private static Instant soon() {
    return Instant.now().plusMillis(100);
  }

  private static ScheduleJobRequest at(String name, Instant due) {
    return new ScheduleJobRequest(name, due);
  }

  private void schedule(ScheduleJobRequest job) {
    schedule(job, "a");
  }

  private void schedule(ScheduleJobRequest job, String data) {
    app.scheduleJob(job.setData(('"' + data + '"').getBytes(StandardCharsets.UTF_8))).block();
  }

  /** Waits until the runtime has forgotten the job. */
  private void gone(String name) throws Exception {
    until(
        "the end of " + name,
        () -> {
          try {
            app.getJob(new GetJobRequest(name)).block();
          } catch (DaprException error) {
            return error.getMessage().contains("job not found");
          }
          return false;
        });
  }

  /** What the app got of a job. */
  private List<Object> fires(String name) throws Exception {
    try (DaprClient client = new DaprClientBuilder().build()) {
      TypeRef<List<Map<String, Object>>> type = new TypeRef<List<Map<String, Object>>>() {};
      return client.invokeMethod("http-app", "received", null, HttpExtension.GET, type).block().stream()
          .filter(event -> name.equals(event.get("route")))
          .map(event -> event.get("data"))
          .toList();
    }
  }
}

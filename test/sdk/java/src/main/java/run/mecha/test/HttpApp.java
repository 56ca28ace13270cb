package run.mecha.test;

import io.dapr.Rule;
import io.dapr.Topic;
import io.dapr.client.domain.BulkSubscribeAppResponse;
import io.dapr.client.domain.BulkSubscribeAppResponseEntry;
import io.dapr.client.domain.BulkSubscribeAppResponseStatus;
import io.dapr.client.domain.BulkSubscribeMessage;
import io.dapr.client.domain.CloudEvent;
import io.dapr.springboot.annotations.BulkSubscribe;
import jakarta.servlet.http.HttpServletRequest;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;
import reactor.core.publisher.Mono;

/** A Spring Boot app whose subscriptions are the annotations of dapr-sdk-springboot. */
@SpringBootApplication
@RestController
public class HttpApp {
  private final Received received = new Received();
  private final AtomicInteger tries = new AtomicInteger();

  static void serve(int port) {
    SpringApplication app = new SpringApplication(HttpApp.class);
    app.setDefaultProperties(
        Map.of("server.port", port, "server.address", "127.0.0.1", "spring.main.banner-mode", "off"));
    app.run();
  }

  @PostMapping(path = "/echo")
  public ResponseEntity<byte[]> echo(@RequestBody byte[] body) {
    return ResponseEntity.ok().contentType(MediaType.APPLICATION_JSON).body(body);
  }

  @PostMapping(path = "/fail")
  public ResponseEntity<String> fail() {
    return ResponseEntity.status(418).body("short and stout");
  }

  /** What came of a request whose every part matters. */
  @RequestMapping(path = "/seen/*")
  public Map<String, Object> seen(HttpServletRequest request) {
    return Map.of(
        "verb", request.getMethod(),
        "path", request.getRequestURI(),
        "q", request.getParameterValues("q"),
        "header", request.getHeader("x-sdk-test"));
  }

  @GetMapping(path = "/received", produces = MediaType.APPLICATION_JSON_VALUE)
  public String received() {
    return received.toJson();
  }

  /** `job-retried` succeeds the third time, `job-dropped` never. */
  @PostMapping(path = "/job/{name}")
  public ResponseEntity<String> job(@PathVariable("name") String name, @RequestBody String data) {
    received.keep(name, data.replace("\"", ""));
    boolean isFailure = name.equals("job-dropped") || (name.equals("job-retried") && tries.incrementAndGet() < 3);
    return ResponseEntity.status(isFailure ? 500 : 200).body("");
  }

  @Topic(pubsubName = "pubsub", name = "plain")
  @PostMapping(path = "/plain")
  public Mono<Void> plain(@RequestBody CloudEvent<Map<String, Object>> event) {
    return Mono.fromRunnable(() -> received.keep("plain", event.getData()));
  }

  @Topic(
      pubsubName = "pubsub",
      name = "routed",
      rule = @Rule(match = "event.type == \"special\"", priority = 1))
  @PostMapping(path = "/special")
  public void special(@RequestBody CloudEvent<Map<String, Object>> event) {
    received.keep("special", event.getData());
  }

  @Topic(pubsubName = "pubsub", name = "routed")
  @PostMapping(path = "/default")
  public void otherwise(@RequestBody CloudEvent<Map<String, Object>> event) {
    received.keep("default", event.getData());
  }

  @BulkSubscribe(maxMessagesCount = 10, maxAwaitDurationMs = 100)
  @Topic(pubsubName = "pubsub", name = "bulk")
  @PostMapping(path = "/bulk")
  public BulkSubscribeAppResponse bulk(
      @RequestBody BulkSubscribeMessage<CloudEvent<Map<String, Object>>> message) {
    List<BulkSubscribeAppResponseEntry> statuses =
        message.getEntries().stream()
            .peek(entry -> received.keep("bulk", entry.getEvent().getData()))
            .map(
                entry ->
                    new BulkSubscribeAppResponseEntry(
                        entry.getEntryId(), BulkSubscribeAppResponseStatus.SUCCESS))
            .toList();
    return new BulkSubscribeAppResponse(statuses);
  }
}

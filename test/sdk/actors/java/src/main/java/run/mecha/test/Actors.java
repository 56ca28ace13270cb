package run.mecha.test;

import static run.mecha.test.Checks.check;
import static run.mecha.test.Checks.same;
import static run.mecha.test.Checks.skip;
import static run.mecha.test.Checks.until;

import io.dapr.actors.ActorId;
import io.dapr.actors.client.ActorClient;
import io.dapr.actors.client.ActorProxyBuilder;
import io.dapr.actors.runtime.ActorRuntime;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.springframework.boot.SpringApplication;

/** The role `http`, an app that hosts actors, and `client`, which calls them. */
final class Actors {
  private static final Duration IDLE_TIMEOUT = Duration.ofMillis(500);

  private final ActorProxyBuilder<Hero> heroes;
  private final ActorProxyBuilder<Cat> cats;
  private final Hero robin;

  private Actors(ActorClient client) {
    heroes = new ActorProxyBuilder<>(Hero.class, client);
    cats = new ActorProxyBuilder<>(Cat.class, client);
    robin = hero("robin");
  }

  static void serve(int port) {
    ActorRuntime runtime = ActorRuntime.getInstance();
    // For all types: the SDK has no way to say it of one.
    runtime.getConfig().setActorIdleTimeout(IDLE_TIMEOUT);
    runtime.registerActor(HeroActor.class);
    runtime.registerActor(CatActor.class);
    SpringApplication app = new SpringApplication(Program.class);
    app.setDefaultProperties(
        Map.of("server.port", port, "server.address", "127.0.0.1", "spring.main.banner-mode", "off"));
    app.run();
  }

  static void runChecks() throws Exception {
    try (ActorClient client = new ActorClient()) {
      new Actors(client).run();
    }
    System.exit(0);
  }

  private void run() {
    check("actor-state", this::state);
    skip("actor-state-ttl", "the state manager sets no time to live");
    check("actor-turns", this::turns);
    check("actor-timer", this::timer);
    check("actor-reminder", this::reminder);
    check("actor-reminder-repeats", this::reminderRepeats);
    check("actor-calls", () -> same(robin.duel("sheriff"), 2));
    skip("actor-reentrancy", "the app passes no reentrancy id on");
    check("actor-deactivation", this::deactivation);
    check("actor-error", this::error);
  }

  private Hero hero(String id) {
    return heroes.build(new ActorId(id));
  }

  private void state() throws Exception {
    until("the host of the actors", () -> isHosted(robin));
    same(robin.hit(1), 2);
    same(robin.lives(), 2);
    same(hero("marian").lives(), 3);
  }

  private static boolean isHosted(Hero hero) {
    try {
      return hero.lives() == 3;
    } catch (RuntimeException error) {
      return false;
    }
  }

  private void turns() {
    List<Integer> counts =
        Collections.nCopies(20, robin).parallelStream().map(Hero::countSlowly).sorted().toList();
    same(counts, IntStream.rangeClosed(1, 20).boxed().toList());
  }

  private void timer() throws Exception {
    robin.startHealing();
    until("the timer", () -> robin.heals() >= 6);
    robin.stopHealing();
  }

  private void reminder() throws Exception {
    robin.sleepUntilCalled("good morning");
    until("the reminder", () -> robin.heard().equals("wake: good morning;"));
  }

  private void reminderRepeats() throws Exception {
    Hero drummer = hero("john");
    drummer.drum();
    until("three beats", () -> drummer.heard().startsWith("drum: boom;drum: boom;drum: boom;"));
    drummer.stopDrumming();
  }

  private void deactivation() throws Exception {
    Cat tom = cats.build(new ActorId("tom"));
    same(tom.feed(), 1);
    until("the cat's nap", () -> robin.naps("tom") == 1);
    same(tom.feed(), 2);
  }

  private void error() {
    try {
      robin.fail();
    } catch (RuntimeException error) {
      if (String.valueOf(error.getMessage()).contains("error invoke actor method")) return;
      throw error;
    }
    throw new AssertionError("did not fail");
  }
}

package run.mecha.test;

import io.dapr.actors.ActorId;
import io.dapr.actors.client.ActorClient;
import io.dapr.actors.client.ActorProxyBuilder;
import io.dapr.actors.runtime.AbstractActor;
import io.dapr.actors.runtime.ActorRuntimeContext;
import io.dapr.actors.runtime.Remindable;
import io.dapr.utils.TypeRef;
import java.time.Duration;
import reactor.core.publisher.Mono;

/** Keeps its state, and is called by a timer and by reminders. */
public class HeroActor extends AbstractActor implements Hero, Remindable<String> {
  private static final ActorProxyBuilder<Hero> OTHERS = new ActorProxyBuilder<>(Hero.class, new ActorClient());
  private static final Duration PAUSE = Duration.ofMillis(50);
  private static final Duration ONCE = Duration.ofMillis(-1);

  public HeroActor(ActorRuntimeContext<HeroActor> context, ActorId id) {
    super(context, id);
  }

  @Override
  public int hit(int by) {
    return add("lives", 3, -by);
  }

  @Override
  public int lives() {
    return number("lives", 3);
  }

  @Override
  public int countSlowly() {
    int before = number("count", 0);
    try {
      Thread.sleep(5);
    } catch (InterruptedException error) {
      throw new IllegalStateException(error);
    }
    getActorStateManager().set("count", before + 1).block();
    return before + 1;
  }

  @Override
  public void startHealing() {
    registerActorTimer("heal", "heal", 2, PAUSE, PAUSE).block();
  }

  @Override
  public void stopHealing() {
    unregisterTimer("heal").block();
  }

  @Override
  public void heal(int by) {
    add("heals", 0, by);
  }

  @Override
  public int heals() {
    return number("heals", 0);
  }

  @Override
  public void sleepUntilCalled(String message) {
    registerReminder("wake", message, Duration.ofMillis(300), ONCE).block();
  }

  @Override
  public void drum() {
    registerReminder("drum", "boom", Duration.ZERO, Duration.ofMillis(100)).block();
  }

  @Override
  public void stopDrumming() {
    unregisterReminder("drum").block();
  }

  @Override
  public TypeRef<String> getStateType() {
    return TypeRef.STRING;
  }

  @Override
  public Mono<Void> receiveReminder(String name, String state, Duration dueTime, Duration period) {
    return getActorStateManager().set("heard", heard() + name + ": " + state + ";");
  }

  @Override
  public String heard() {
    boolean isKnown = getActorStateManager().contains("heard").block();
    return isKnown ? getActorStateManager().get("heard", String.class).block() : "";
  }

  @Override
  public int duel(String other) {
    return OTHERS.build(new ActorId(other)).hit(1);
  }

  @Override
  public void fail() {
    throw new IllegalStateException("the hero stumbled");
  }

  @Override
  public int naps(String name) {
    return CatActor.NAPS.getOrDefault(name, 0);
  }

  private int add(String name, int otherwise, int by) {
    int sum = number(name, otherwise) + by;
    getActorStateManager().set(name, sum).block();
    return sum;
  }

  private int number(String name, int otherwise) {
    boolean isKnown = getActorStateManager().contains(name).block();
    return isKnown ? getActorStateManager().get(name, Integer.class).block() : otherwise;
  }
}

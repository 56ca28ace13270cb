package run.mecha.test;

import io.dapr.actors.ActorId;
import io.dapr.actors.runtime.AbstractActor;
import io.dapr.actors.runtime.ActorRuntimeContext;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import reactor.core.publisher.Mono;

/** Counts its meals, and its naps in this process. */
public class CatActor extends AbstractActor implements Cat {
  static final Map<String, Integer> NAPS = new ConcurrentHashMap<>();

  public CatActor(ActorRuntimeContext<CatActor> context, ActorId id) {
    super(context, id);
  }

  @Override
  public int feed() {
    boolean isKnown = getActorStateManager().contains("meals").block();
    int meals = (isKnown ? getActorStateManager().get("meals", Integer.class).block() : 0) + 1;
    getActorStateManager().set("meals", meals).block();
    return meals;
  }

  @Override
  protected Mono<Void> onDeactivate() {
    NAPS.merge(getId().toString(), 1, Integer::sum);
    return super.onDeactivate();
  }
}

package run.mecha.test;

import io.dapr.actors.ActorType;

@ActorType(name = "Cat")
public interface Cat {
  int feed();
}

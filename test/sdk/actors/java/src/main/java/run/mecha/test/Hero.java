package run.mecha.test;

import io.dapr.actors.ActorType;

@ActorType(name = "Hero")
public interface Hero {
  int hit(int by);

  int lives();

  int countSlowly();

  void startHealing();

  void stopHealing();

  /** The timer's: the SDK finds only methods of the interface. */
  void heal(int by);

  int heals();

  void sleepUntilCalled(String message);

  void drum();

  void stopDrumming();

  String heard();

  int duel(String other);

  void fail();

  /** How often a cat of this process fell asleep. */
  int naps(String name);
}

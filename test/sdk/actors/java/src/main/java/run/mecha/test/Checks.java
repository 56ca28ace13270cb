package run.mecha.test;

import java.util.Objects;
import java.util.concurrent.Callable;

/** How a check is run, printed, and waits for what it expects. */
final class Checks {
  interface Work {
    void run() throws Exception;
  }

  private static final long DEADLINE_MS = 30_000;

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
      if (System.nanoTime() > deadline) throw new AssertionError("waited in vain for " + what);
      Thread.sleep(20);
    }
  }
}

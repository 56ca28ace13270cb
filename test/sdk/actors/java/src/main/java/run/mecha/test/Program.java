package run.mecha.test;

import org.springframework.boot.autoconfigure.SpringBootApplication;

/** Actors of the Java SDK as Maven Central ships it, hosted by its Spring Boot controller. See ../../README.md. */
@SpringBootApplication
public class Program {
  public static void main(String[] words) throws Exception {
    switch (words.length == 0 ? "" : words[0]) {
      case "http" -> Actors.serve(Integer.parseInt(System.getenv("APP_PORT")));
      case "client" -> Actors.runChecks();
      default -> throw new IllegalArgumentException("the role is http or client");
    }
  }
}

package run.mecha.test;

/** The SDK program in Java, on io.dapr:dapr-sdk as Maven Central ships it. See ../README.md. */
public final class Program {
  private Program() {}

  public static void main(String[] words) throws Exception {
    String role = words.length == 0 ? "" : words[0];
    switch (role) {
      case "http" -> HttpApp.serve(appPort());
      case "grpc" -> GrpcApp.serve(appPort());
      case "client" -> Client.runChecks();
      default -> throw new IllegalArgumentException("the role is http, grpc or client, not \"" + role + "\"");
    }
  }

  private static int appPort() {
    return Integer.parseInt(System.getenv("APP_PORT"));
  }
}

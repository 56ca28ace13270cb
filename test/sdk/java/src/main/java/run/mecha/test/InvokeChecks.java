package run.mecha.test;

import static run.mecha.test.Checks.check;
import static run.mecha.test.Checks.same;
import static run.mecha.test.Checks.until;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.StringValue;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprHttp;
import io.dapr.client.domain.HttpExtension;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import io.dapr.v1.CommonProtos.HTTPExtension;
import io.dapr.v1.CommonProtos.InvokeRequest;
import io.dapr.v1.CommonProtos.InvokeResponse;
import io.dapr.v1.DaprGrpc;
import io.dapr.v1.DaprInvokeProtos.InvokeServiceRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;

final class InvokeChecks {
  private InvokeChecks() {}

  static void run(DaprClient client) {
    check("invoke-http", () -> invokeHttp(client, "http-app"));
    check("invoke-http-request", () -> invokeHttpRequest(client));
    check("invoke-http-of-grpc-app", () -> invokeHttp(client, "grpc-app"));
    check("invoke-error", () -> invokeError(client));
    check("invoke-grpc", () -> invokeGrpc(client));
    check("invoke-proxy", () -> invokeProxy(client));
  }

  private static void invokeHttp(DaprClient client, String app) {
    Map<String, Object> body = Map.of("text", "käse", "n", 1);
    same(
        client.invokeMethod(app, "echo", body, HttpExtension.POST, new TypeRef<Map<String, Object>>() {}).block(),
        body);
  }

  /** Verb, path, query and headers reach the app as the SDK sends them. */
  private static void invokeHttpRequest(DaprClient client) {
    HttpExtension extension =
        new HttpExtension(
            DaprHttp.HttpMethods.PUT, Map.of("q", List.of("a b", "ü&=")), Map.of("x-sdk-test", "yes"));
    Map<String, Object> seen =
        client.invokeMethod("http-app", "seen/one", null, extension, new TypeRef<Map<String, Object>>() {}).block();
    same(seen, Map.of("verb", "PUT", "path", "/seen/one", "q", List.of("a b", "ü&="), "header", "yes"));
  }

  private static void invokeError(DaprClient client) {
    try {
      client.invokeMethod("http-app", "fail", Map.of(), HttpExtension.POST).block();
    } catch (DaprException error) {
      same(error.getHttpStatusCode(), 418);
      same(new String(error.getPayload(), StandardCharsets.UTF_8), "short and stout");
      return;
    }
    throw new AssertionError("the failing method was answered");
  }

  private static void invokeGrpc(DaprClient client) {
    DaprGrpc.DaprBlockingStub stub = client.newGrpcStub("grpc-app", DaprGrpc::newBlockingStub);
    InvokeResponse reply = stub.invokeService(request("grpc-app", "echo"));
    same(reply.getData().getValue().toStringUtf8(), "\"hello\"");
    same(reply.getContentType(), "application/json");
    same(stub.invokeService(request("http-app", "echo")).getData().getValue().toStringUtf8(), "\"hello\"");
    try {
      stub.invokeService(request("grpc-app", "no-such-method"));
    } catch (StatusRuntimeException error) {
      same(error.getStatus().getCode(), Status.Code.UNIMPLEMENTED);
      return;
    }
    throw new AssertionError("an unknown method was answered");
  }

  private static InvokeServiceRequest request(String app, String method) {
    return InvokeServiceRequest.newBuilder()
        .setId(app)
        .setMessage(
            InvokeRequest.newBuilder()
                .setMethod(method)
                .setContentType("application/json")
                .setHttpExtension(HTTPExtension.newBuilder().setVerb(HTTPExtension.Verb.POST))
                .setData(Any.newBuilder().setValue(ByteString.copyFromUtf8("\"hello\""))))
        .build();
  }

  private static void invokeProxy(DaprClient client) throws Exception {
    Greeter.Stub greeter = client.newGrpcStub("grpc-app", Greeter.Stub::new);
    same(greeter.greet("Ada"), "hello Ada");
    List<String> many = new ArrayList<>();
    greeter.greetMany("Ada").forEachRemaining(reply -> many.add(reply.getValue()));
    same(many, List.of("hello Ada 1", "hello Ada 2", "hello Ada 3"));
    both(greeter);
  }

  /** Each name is sent after the greeting of the one before: neither direction waits for the end of the other. */
  private static void both(Greeter.Stub greeter) throws Exception {
    List<String> seen = new CopyOnWriteArrayList<>();
    StreamObserver<StringValue> names =
        greeter.greetAll(
            new StreamObserver<>() {
              @Override
              public void onNext(StringValue reply) {
                seen.add(reply.getValue());
              }

              @Override
              public void onError(Throwable error) {
                seen.add(String.valueOf(error));
              }

              @Override
              public void onCompleted() {
                seen.add("end");
              }
            });
    for (int n = 1; n <= 3; n++) {
      names.onNext(StringValue.of("number " + n));
      int wanted = n;
      until("greeting " + n, () -> seen.size() >= wanted);
    }
    names.onCompleted();
    until("the end of the stream", () -> seen.size() >= 4);
    same(seen, List.of("hello number 1", "hello number 2", "hello number 3", "end"));
  }
}

package run.mecha.test;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Empty;
import io.dapr.v1.AppCallbackGrpc;
import io.dapr.v1.AppCallbackHealthCheckGrpc;
import io.dapr.v1.CommonProtos.InvokeRequest;
import io.dapr.v1.CommonProtos.InvokeResponse;
import io.dapr.v1.DaprAppCallbackProtos.BulkSubscribeConfig;
import io.dapr.v1.DaprAppCallbackProtos.HealthCheckResponse;
import io.dapr.v1.DaprAppCallbackProtos.ListTopicSubscriptionsResponse;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventBulkRequest;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventBulkRequestEntry;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventBulkResponse;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventBulkResponseEntry;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventRequest;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventResponse;
import io.dapr.v1.DaprAppCallbackProtos.TopicEventResponse.TopicEventResponseStatus;
import io.dapr.v1.DaprAppCallbackProtos.TopicRoutes;
import io.dapr.v1.DaprAppCallbackProtos.TopicRule;
import io.dapr.v1.DaprAppCallbackProtos.TopicSubscription;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** A gRPC app: the AppCallback service of dapr-sdk-autogen, and the greeter for proxied calls. */
final class GrpcApp extends AppCallbackGrpc.AppCallbackImplBase {
  private final Received received = new Received();

  static void serve(int port) throws IOException, InterruptedException {
    NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
        .addService(new GrpcApp())
        .addService(Greeter.service())
        .addService(new Health())
        .build()
        .start()
        .awaitTermination();
  }

  /** What the app health check asks; the Spring Boot app has it from the SDK. */
  private static final class Health extends AppCallbackHealthCheckGrpc.AppCallbackHealthCheckImplBase {
    @Override
    public void healthCheck(Empty request, StreamObserver<HealthCheckResponse> reply) {
      reply.onNext(HealthCheckResponse.getDefaultInstance());
      reply.onCompleted();
    }
  }

  @Override
  public void onInvoke(InvokeRequest request, StreamObserver<InvokeResponse> reply) {
    switch (request.getMethod()) {
      case "echo" -> {
        reply.onNext(
            InvokeResponse.newBuilder()
                .setContentType(request.getContentType())
                .setData(request.getData())
                .build());
        reply.onCompleted();
      }
      case "received" -> {
        reply.onNext(
            InvokeResponse.newBuilder()
                .setContentType("application/json")
                .setData(Any.newBuilder().setValue(ByteString.copyFromUtf8(received.toJson())))
                .build());
        reply.onCompleted();
      }
      default ->
          reply.onError(
              Status.UNIMPLEMENTED.withDescription("no method " + request.getMethod()).asException());
    }
  }

  @Override
  public void listTopicSubscriptions(Empty request, StreamObserver<ListTopicSubscriptionsResponse> reply) {
    TopicRoutes routes =
        TopicRoutes.newBuilder()
            .addRules(TopicRule.newBuilder().setMatch("event.type == \"special\"").setPath("special"))
            .setDefault("default")
            .build();
    BulkSubscribeConfig bulk =
        BulkSubscribeConfig.newBuilder()
            .setEnabled(true)
            .setMaxMessagesCount(10)
            .setMaxAwaitDurationMs(100)
            .build();
    reply.onNext(
        ListTopicSubscriptionsResponse.newBuilder()
            .addSubscriptions(topic("plain"))
            .addSubscriptions(topic("routed").setRoutes(routes))
            .addSubscriptions(topic("bulk").setBulkSubscribe(bulk))
            .build());
    reply.onCompleted();
  }

  private static TopicSubscription.Builder topic(String name) {
    return TopicSubscription.newBuilder().setPubsubName("pubsub").setTopic(name);
  }

  @Override
  public void onTopicEvent(TopicEventRequest event, StreamObserver<TopicEventResponse> reply) {
    String route = event.getPath().isEmpty() ? event.getTopic() : event.getPath();
    received.keep(route, parsed(event.getData()));
    reply.onNext(TopicEventResponse.newBuilder().setStatus(TopicEventResponseStatus.SUCCESS).build());
    reply.onCompleted();
  }

  @Override
  public void onBulkTopicEvent(TopicEventBulkRequest request, StreamObserver<TopicEventBulkResponse> reply) {
    TopicEventBulkResponse.Builder statuses = TopicEventBulkResponse.newBuilder();
    for (TopicEventBulkRequestEntry entry : request.getEntriesList()) {
      received.keep("bulk", parsed(entry.getCloudEvent().getData()));
      statuses.addStatuses(
          TopicEventBulkResponseEntry.newBuilder()
              .setEntryId(entry.getEntryId())
              .setStatus(TopicEventResponseStatus.SUCCESS));
    }
    reply.onNext(statuses.build());
    reply.onCompleted();
  }

  private static Object parsed(ByteString data) {
    try {
      return Received.JSON.readValue(data.toString(StandardCharsets.UTF_8), Object.class);
    } catch (IOException error) {
      throw new IllegalArgumentException(error);
    }
  }
}

package run.mecha.test;

import com.google.protobuf.StringValue;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerServiceDefinition;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.util.Iterator;

/**
 * The service of greeter.proto without a protobuf compiler in the build: each of its messages is one string in field 1,
 * which on the wire is a StringValue.
 */
final class Greeter {
  private static final String SERVICE = "mecha.test.v1.Greeter";
  private static final MethodDescriptor<StringValue, StringValue> GREET = method("Greet", MethodType.UNARY);
  private static final MethodDescriptor<StringValue, StringValue> GREET_MANY =
      method("GreetMany", MethodType.SERVER_STREAMING);
  private static final MethodDescriptor<StringValue, StringValue> GREET_ALL =
      method("GreetAll", MethodType.BIDI_STREAMING);

  private Greeter() {}

  private static MethodDescriptor<StringValue, StringValue> method(String name, MethodType type) {
    return MethodDescriptor.<StringValue, StringValue>newBuilder()
        .setType(type)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
        .setRequestMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
        .setResponseMarshaller(ProtoUtils.marshaller(StringValue.getDefaultInstance()))
        .build();
  }

  /** What the gRPC app serves. */
  static ServerServiceDefinition service() {
    return ServerServiceDefinition.builder(SERVICE)
        .addMethod(GREET, ServerCalls.asyncUnaryCall(Greeter::greet))
        .addMethod(GREET_MANY, ServerCalls.asyncServerStreamingCall(Greeter::greetMany))
        .addMethod(GREET_ALL, ServerCalls.asyncBidiStreamingCall(Greeter::greetAll))
        .build();
  }

  private static void greet(StringValue request, StreamObserver<StringValue> reply) {
    reply.onNext(StringValue.of("hello " + request.getValue()));
    reply.onCompleted();
  }

  private static void greetMany(StringValue request, StreamObserver<StringValue> reply) {
    for (int n = 1; n <= 3; n++) reply.onNext(StringValue.of("hello " + request.getValue() + " " + n));
    reply.onCompleted();
  }

  private static StreamObserver<StringValue> greetAll(StreamObserver<StringValue> reply) {
    return new StreamObserver<>() {
      @Override
      public void onNext(StringValue request) {
        reply.onNext(StringValue.of("hello " + request.getValue()));
      }

      @Override
      public void onError(Throwable error) {
        // The caller is gone.
      }

      @Override
      public void onCompleted() {
        reply.onCompleted();
      }
    };
  }

  /** The kind of stub that DaprClient.newGrpcStub makes ready for proxying. */
  static final class Stub extends AbstractStub<Stub> {
    Stub(Channel channel) {
      this(channel, CallOptions.DEFAULT);
    }

    private Stub(Channel channel, CallOptions options) {
      super(channel, options);
    }

    @Override
    protected Stub build(Channel channel, CallOptions options) {
      return new Stub(channel, options);
    }

    String greet(String name) {
      return ClientCalls.blockingUnaryCall(getChannel(), GREET, getCallOptions(), StringValue.of(name)).getValue();
    }

    Iterator<StringValue> greetMany(String name) {
      return ClientCalls.blockingServerStreamingCall(
          getChannel(), GREET_MANY, getCallOptions(), StringValue.of(name));
    }

    StreamObserver<StringValue> greetAll(StreamObserver<StringValue> replies) {
      return ClientCalls.asyncBidiStreamingCall(getChannel().newCall(GREET_ALL, getCallOptions()), replies);
    }
  }
}

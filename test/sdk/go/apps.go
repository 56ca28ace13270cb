package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/dapr/go-sdk/service/common"
	daprgrpc "github.com/dapr/go-sdk/service/grpc"
	daprhttp "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mecha.test/sdk/go/greeterpb"
)

type event struct {
	Route string `json:"route"`
	Data  any    `json:"data"`
}

// inbox is what an app received. Handlers run at once.
type inbox struct {
	mutex  sync.Mutex
	events []event
}

func (box *inbox) keep(route string) common.TopicEventHandler {
	return func(_ context.Context, in *common.TopicEvent) (bool, error) {
		box.mutex.Lock()
		defer box.mutex.Unlock()
		box.events = append(box.events, event{route, in.Data})
		return false, nil
	}
}

func (box *inbox) list(context.Context, *common.InvocationEvent) (*common.Content, error) {
	box.mutex.Lock()
	defer box.mutex.Unlock()
	data, err := json.Marshal(append([]event{}, box.events...))
	return &common.Content{Data: data, ContentType: "application/json"}, err
}

func serveHTTP() error {
	mux := chi.NewRouter()
	// The SDK answers errors of invocation handlers with 500: a plain route gives a status of our own.
	mux.Post("/fail", func(reply http.ResponseWriter, _ *http.Request) {
		reply.WriteHeader(http.StatusTeapot)
		fmt.Fprint(reply, "short and stout")
	})
	service := daprhttp.NewServiceWithMux("127.0.0.1:"+os.Getenv("APP_PORT"), mux)
	if err := addHandlers(service, &inbox{}); err != nil {
		return err
	}
	stopOnSignal(service)
	if err := service.Start(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func serveGRPC() error {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("APP_PORT"))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	greeterpb.RegisterGreeterServer(server, greeter{})
	service := daprgrpc.NewServiceWithGrpcServer(listener, server)
	box := &inbox{}
	if err := addHandlers(service, box); err != nil {
		return err
	}
	if err := addJobHandlers(service, box); err != nil {
		return err
	}
	refuse := func(context.Context, *common.InvocationEvent) (*common.Content, error) {
		return nil, status.Error(codes.FailedPrecondition, "short and stout")
	}
	if err := service.AddServiceInvocationHandler("refuse", refuse); err != nil {
		return err
	}
	stopOnSignal(service)
	return service.Start()
}

// addHandlers adds what the HTTP and the gRPC app share. The SDK has no bulk subscription.
func addHandlers(service common.Service, box *inbox) error {
	special := `event.type == "special"`
	healthy := func(context.Context) error { return nil }
	return errors.Join(
		service.AddHealthCheckHandler("healthz", healthy),
		service.AddServiceInvocationHandler("echo", echo),
		service.AddServiceInvocationHandler("received", box.list),
		service.AddTopicEventHandler(subscription("plain", "/plain", ""), box.keep("plain")),
		service.AddTopicEventHandler(subscription("routed", "/special", special), box.keep("special")),
		service.AddTopicEventHandler(subscription("routed", "/default", ""), box.keep("default")),
		service.AddTopicEventSubscriber(subscription("bulk", "/bulk", ""), box.keep("bulk")),
	)
}

func subscription(topic, route, match string) *common.Subscription {
	return &common.Subscription{PubsubName: "pubsub", Topic: topic, Route: route, Match: match, Priority: 1}
}

func echo(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
	return &common.Content{Data: in.Data, ContentType: in.ContentType, DataTypeURL: in.DataTypeURL}, nil
}

func stopOnSignal(service common.Service) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		_ = service.Stop()
	}()
}

type greeter struct {
	greeterpb.UnimplementedGreeterServer
}

func (greeter) Greet(_ context.Context, in *greeterpb.GreetRequest) (*greeterpb.GreetResponse, error) {
	return greeting(in.GetName()), nil
}

func (greeter) GreetMany(in *greeterpb.GreetRequest, out grpc.ServerStreamingServer[greeterpb.GreetResponse]) error {
	for n := range 3 {
		if err := out.Send(greeting(fmt.Sprintf("%s %d", in.GetName(), n))); err != nil {
			return err
		}
	}
	return nil
}

func (greeter) GreetAll(both grpc.BidiStreamingServer[greeterpb.GreetRequest, greeterpb.GreetResponse]) error {
	for {
		in, err := both.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := both.Send(greeting(in.GetName())); err != nil {
			return err
		}
	}
}

func greeting(name string) *greeterpb.GreetResponse {
	return &greeterpb.GreetResponse{Text: "hello " + name}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mecha.test/sdk/go/greeterpb"
)

var bothApps = []string{"http-app", "grpc-app"}

type message struct {
	ID   string `json:"id"`
	Kind string `json:"kind,omitempty"`
	N    int    `json:"n,omitempty"`
}

func (run checks) publish(ctx context.Context) error {
	wanted := message{ID: unique("plain")}
	if err := run.client.PublishEvent(ctx, "pubsub", "plain", wanted); err != nil {
		return err
	}
	return run.arrived(ctx, bothApps, "plain", wanted)
}

func (run checks) publishRouting(ctx context.Context) error {
	id := unique("routing")
	special := dapr.PublishEventWithMetadata(map[string]string{"cloudevent.type": "special"})
	first, second := message{ID: id, Kind: "special"}, message{ID: id, Kind: "default"}
	if err := run.client.PublishEvent(ctx, "pubsub", "routed", first, special); err != nil {
		return err
	}
	if err := run.client.PublishEvent(ctx, "pubsub", "routed", second); err != nil {
		return err
	}
	return firstError(
		run.arrived(ctx, bothApps, "special", first),
		run.arrived(ctx, bothApps, "default", second),
	)
}

func (run checks) publishBulk(ctx context.Context) error {
	id := unique("bulk")
	events := []any{message{ID: id, N: 1}, message{ID: id, N: 2}}
	last, err := json.Marshal(message{ID: id, N: 3})
	if err != nil {
		return err
	}
	events = append(events, dapr.PublishEventsEvent{EntryID: "last", Data: last, ContentType: jsonContent})
	if sent := run.client.PublishEvents(ctx, "pubsub", "bulk", events); sent.Error != nil {
		return sent.Error
	}
	for n := range 3 {
		if err := run.arrived(ctx, bothApps, "bulk", message{ID: id, N: n + 1}); err != nil {
			return err
		}
	}
	return nil
}

func (run checks) subscribeStream(ctx context.Context) error {
	topic := unique("stream")
	subscription, err := run.client.Subscribe(ctx, dapr.SubscriptionOptions{PubsubName: "pubsub", Topic: topic})
	if err != nil {
		return err
	}
	if err := run.client.PublishEvent(ctx, "pubsub", topic, message{ID: "one"}); err != nil {
		return err
	}
	first, err := subscription.Receive()
	if err != nil {
		return err
	}
	// What is not finished comes again.
	if err := first.Retry(); err != nil {
		return err
	}
	again, err := subscription.Receive()
	if err != nil {
		return err
	}
	if err := firstError(
		same(first.Data, map[string]any{"id": "one"}),
		same([]string{again.ID, again.Topic, again.PubsubName}, []string{first.ID, topic, "pubsub"}),
		again.Success(),
	); err != nil {
		return err
	}
	plain := dapr.PublishEventWithContentType("text/plain")
	if err := run.client.PublishEvent(ctx, "pubsub", topic, "two", plain); err != nil {
		return err
	}
	last, err := subscription.Receive()
	if err != nil {
		return err
	}
	return firstError(same(last.Data, "two"), last.Drop(), subscription.Close())
}

func (run checks) subscribeHandler(ctx context.Context) error {
	topic, seen := unique("handler"), make(chan string, 10)
	handle := func(in *common.TopicEvent) common.SubscriptionResponseStatus {
		seen <- string(in.RawData)
		return common.SubscriptionResponseStatusSuccess
	}
	options := dapr.SubscriptionOptions{PubsubName: "pubsub", Topic: topic}
	stop, err := run.client.SubscribeWithHandler(ctx, options, handle)
	if err != nil {
		return err
	}
	for n := range 3 {
		if err := run.client.PublishEvent(ctx, "pubsub", topic, n); err != nil {
			return err
		}
	}
	got := []string{}
	for len(got) < 3 {
		select {
		case data := <-seen:
			got = append(got, data)
		case <-ctx.Done():
			return fmt.Errorf("only %v came", got)
		}
	}
	sort.Strings(got)
	return firstError(same(got, []string{"0", "1", "2"}), stop())
}

func (run checks) invokeHTTP(ctx context.Context) error {
	content := &dapr.DataContent{Data: []byte(`{"n":1}`), ContentType: jsonContent}
	reply, err := run.client.InvokeMethodWithContent(ctx, "http-app", "echo", "post", content)
	return firstError(err, same(string(reply), `{"n":1}`))
}

func (run checks) invokeError(ctx context.Context) error {
	_, err := run.client.InvokeMethod(ctx, "http-app", "fail", "post")
	failure := status.Convert(err)
	if err := same([]string{failure.Code().String(), failure.Message()}, []string{"Unknown", "I'm a teapot"}); err != nil {
		return err
	}
	for _, detail := range failure.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			wanted := map[string]string{"http.code": "418", "http.error_message": "short and stout"}
			return same(info.GetMetadata(), wanted)
		}
	}
	return fmt.Errorf("no ErrorInfo among the details of %w", err)
}

func (run checks) invokeGRPC(ctx context.Context) error {
	content := &dapr.DataContent{Data: []byte("hello"), ContentType: "text/plain"}
	reply, err := run.client.InvokeMethodWithContent(ctx, "grpc-app", "echo", "post", content)
	if err := firstError(err, same(string(reply), "hello")); err != nil {
		return err
	}
	custom, err := run.client.InvokeMethodWithCustomContent(ctx, "grpc-app", "echo", "post", jsonContent, message{ID: "x"})
	if err := firstError(err, same(string(custom), `{"id":"x"}`)); err != nil {
		return err
	}
	_, err = run.client.InvokeMethod(ctx, "grpc-app", "refuse", "post")
	return same(
		[]string{status.Code(err).String(), status.Convert(err).Message()},
		[]string{codes.FailedPrecondition.String(), "short and stout"},
	)
}

func (run checks) invokeProxy(ctx context.Context) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "dapr-app-id", "grpc-app")
	greeter := greeterpb.NewGreeterClient(run.client.GrpcClientConn())
	reply, err := greeter.Greet(ctx, &greeterpb.GreetRequest{Name: "ann"})
	if err := firstError(err, same(reply.GetText(), "hello ann")); err != nil {
		return err
	}
	many, err := greeter.GreetMany(ctx, &greeterpb.GreetRequest{Name: "ann"})
	if err != nil {
		return err
	}
	texts := []string{}
	for {
		reply, err := many.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		texts = append(texts, reply.GetText())
	}
	if err := same(texts, []string{"hello ann 0", "hello ann 1", "hello ann 2"}); err != nil {
		return err
	}
	return greetAll(ctx, greeter)
}

// greetAll sends each name after the answer to the one before: the call really runs in both directions.
func greetAll(ctx context.Context, greeter greeterpb.GreeterClient) error {
	both, err := greeter.GreetAll(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"ann", "bob", "eve"} {
		if err := both.Send(&greeterpb.GreetRequest{Name: name}); err != nil {
			return err
		}
		reply, err := both.Recv()
		if err := firstError(err, same(reply.GetText(), "hello "+name)); err != nil {
			return err
		}
	}
	if err := both.CloseSend(); err != nil {
		return err
	}
	if _, err := both.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the call ended with %w", err)
	}
	return nil
}

// arrived waits until each app has the message once, on that route.
func (run checks) arrived(ctx context.Context, apps []string, route string, wanted message) error {
	for _, app := range apps {
		for {
			count, err := run.count(ctx, app, route, wanted)
			if err != nil {
				return err
			}
			if count == 1 {
				break
			}
			if count > 1 {
				return fmt.Errorf("%s got the event %d times", app, count)
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("the event did not reach %s on %s", app, route)
			}
		}
	}
	return nil
}

// count is how often the app got the message, on any route; a wrong route is an error.
func (run checks) count(ctx context.Context, app, route string, wanted message) (int, error) {
	reply, err := run.client.InvokeMethod(ctx, app, "received", "get")
	if err != nil {
		return 0, err
	}
	var events []struct {
		Route string          `json:"route"`
		Data  json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(reply, &events); err != nil {
		return 0, fmt.Errorf("%s answered %s: %w", app, reply, err)
	}
	count := 0
	for _, each := range events {
		var found message
		if json.Unmarshal(each.Data, &found) != nil || found != wanted {
			continue
		}
		if each.Route != route {
			return 0, fmt.Errorf("%s got the event on %s", app, each.Route)
		}
		count++
	}
	return count, nil
}

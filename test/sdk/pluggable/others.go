package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/dapr/components-contrib/bindings"
	proto "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What the output binding was given comes in by the input binding, until somebody has handled it.
var events = make(chan event, 1000)
var answers = sync.Map{}

type event struct{ text string }

type ticker struct{}

func (t *ticker) Init(context.Context, bindings.Metadata) error { return nil }

func (t *ticker) Read(ctx context.Context, handler bindings.Handler) error {
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case one := <-events:
				go func() {
					contentType := "text/plain"
					answer, err := handler(ctx, &bindings.ReadResponse{
						Data: []byte(one.text), Metadata: map[string]string{"from": "echo"}, ContentType: &contentType,
					})
					if err != nil {
						answers.Store("error", err.Error())
						events <- one
						return
					}
					answers.Store(one.text, string(answer))
				}()
			}
		}
	}()
	return nil
}

type echo struct{ greeting string }

func (e *echo) Init(_ context.Context, metadata bindings.Metadata) error {
	e.greeting = metadata.Properties["greeting"]
	return nil
}

func (e *echo) Operations() []bindings.OperationKind {
	return []bindings.OperationKind{"create", "get", "emit", "answer"}
}

func (e *echo) Invoke(_ context.Context, request *bindings.InvokeRequest) (*bindings.InvokeResponse, error) {
	switch request.Operation {
	case "create":
		contentType := "application/x"
		return &bindings.InvokeResponse{
			Data: append([]byte(e.greeting), request.Data...), Metadata: request.Metadata, ContentType: &contentType,
		}, nil
	case "emit":
		events <- event{text: string(request.Data)}
		return nil, nil
	case "answer":
		answer, _ := answers.Load(string(request.Data))
		text, _ := answer.(string)
		return &bindings.InvokeResponse{Data: []byte(text)}, nil
	}
	return nil, fmt.Errorf("no operation %s", request.Operation)
}

type secrets struct {
	proto.UnimplementedSecretStoreServer
}

var known = map[string]string{"conftestsecret": "abcd", "secondsecret": "efgh"}

func (s *secrets) Init(context.Context, *proto.SecretStoreInitRequest) (*proto.SecretStoreInitResponse, error) {
	return &proto.SecretStoreInitResponse{}, nil
}

func (s *secrets) Features(context.Context, *proto.FeaturesRequest) (*proto.FeaturesResponse, error) {
	return &proto.FeaturesResponse{Features: []string{"MULTIPLE_KEY_VALUES_PER_SECRET"}}, nil
}

func (s *secrets) Get(_ context.Context, request *proto.GetSecretRequest) (*proto.GetSecretResponse, error) {
	value, ok := known[request.GetKey()]
	if !ok {
		return nil, status.Error(codes.NotFound, errors.New("there is no secret "+request.GetKey()).Error())
	}
	return &proto.GetSecretResponse{Data: map[string]string{request.GetKey(): value}}, nil
}

func (s *secrets) BulkGet(context.Context, *proto.BulkGetSecretRequest) (*proto.BulkGetSecretResponse, error) {
	data := map[string]*proto.SecretResponse{}
	for key, value := range known {
		data[key] = &proto.SecretResponse{Secrets: map[string]string{key: value}}
	}
	return &proto.BulkGetSecretResponse{Data: data}, nil
}

func (t *ticker) Close() error { return nil }

func (e *echo) Close() error { return nil }

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typ "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
)

type server struct {
	auth.UnimplementedAuthorizationServer
}

func option(key, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: key, Value: value}}
}

func (server) Check(_ context.Context, r *auth.CheckRequest) (*auth.CheckResponse, error) {
	h := r.Attributes.Request.Http
	seen, _ := json.Marshal(map[string]any{
		"method": h.Method, "path": h.Path, "host": h.Host, "scheme": h.Scheme, "protocol": h.Protocol,
		"headers": h.Headers, "principal": r.Attributes.Source.Principal,
		"address": r.Attributes.Source.Address.GetSocketAddress().GetAddress(),
		"callee":  r.Attributes.Destination.Principal, "size": h.Size, "body": h.Body, "raw": h.RawBody,
	})
	if h.Headers["x-user"] == "ann" {
		ok := &auth.OkHttpResponse{
			Headers:         []*core.HeaderValueOption{option("x-seen", string(seen)), option("x-user", "checked")},
			HeadersToRemove: []string{"x-drop"},
		}
		return &auth.CheckResponse{Status: &status.Status{}, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: ok}}, nil
	}
	denied := &auth.DeniedHttpResponse{
		Status:  &typ.HttpStatus{Code: typ.StatusCode_PaymentRequired},
		Headers: []*core.HeaderValueOption{option("x-why", "poor")},
		Body:    "pay first",
	}
	return &auth.CheckResponse{Status: &status.Status{Code: 7}, HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied}}, nil
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	s := grpc.NewServer()
	auth.RegisterAuthorizationServer(s, server{})
	panic(s.Serve(l))
}

package main

import (
	"context"
	"encoding/json"
	"os"

	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// runRouted calls the app "orders", which is a name of routes alone, and prints what came of each call.
func runRouted() error {
	client, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	said := map[string]string{}
	call := func(name, method string, fields ...string) {
		ctx := metadata.AppendToOutgoingContext(context.Background(), fields...)
		content := &dapr.DataContent{Data: []byte("hello"), ContentType: "text/plain"}
		reply, err := client.InvokeMethodWithContent(ctx, "orders", method, "post", content)
		said[name] = string(reply)
		if err != nil {
			said[name] = status.Code(err).String()
		}
	}
	call("plain", "echo")
	call("canary", "echo", "x-canary", "1")
	call("flaky", "flaky")
	call("limited", "limited")
	call("limited again", "limited")
	call("nowhere", "nowhere")
	return json.NewEncoder(os.Stdout).Encode(said)
}

// Components made with Dapr's SDK for pluggable components. What they acknowledge is in a file first, so that kill -9
// loses none of it. The SDK has no secret store: that one is a gRPC server of Dapr's own generated code.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	dapr "github.com/dapr-sandbox/components-go-sdk"
	"github.com/dapr-sandbox/components-go-sdk/bindings/v1"
	"github.com/dapr-sandbox/components-go-sdk/pubsub/v1"
	"github.com/dapr-sandbox/components-go-sdk/state/v1"
	proto "github.com/dapr/dapr/pkg/proto/components/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
)

func main() {
	folder := os.Args[1]
	sockets := os.Getenv("DAPR_COMPONENT_SOCKETS_FOLDER")
	dapr.Register("kept", dapr.WithStateStore(func() state.Store { return newStore(folder) }))
	dapr.Register("kept", dapr.WithPubSub(func() pubsub.PubSub { return newBroker(folder) }))
	dapr.Register("kept", dapr.WithInputBinding(func() bindings.InputBinding { return &ticker{} }))
	dapr.Register("kept", dapr.WithOutputBinding(func() bindings.OutputBinding { return &echo{} }))
	go serveSecrets(filepath.Join(sockets, "safe.sock"))
	dapr.MustRun()
}

func serveSecrets(socket string) {
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	proto.RegisterSecretStoreServer(server, &secrets{})
	reflection.Register(server)
	fmt.Println("listening")
	server.Serve(listener)
}

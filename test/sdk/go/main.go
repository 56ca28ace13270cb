// The SDK program in Go, on github.com/dapr/go-sdk as the module proxy serves it. See ../README.md.
//
// greeterpb is generated from ../greeter.proto with buf, protoc-gen-go v1.36.11 and protoc-gen-go-grpc v1.6.2
// (`paths=source_relative`).
package main

import (
	"log"
	"os"
)

func main() {
	log.SetOutput(os.Stderr)
	if len(os.Args) != 2 {
		log.Fatal("usage: go http|grpc|client|actors-http|actors-stream|actors-client|actors-client-http|routed")
	}
	var err error
	switch os.Args[1] {
	case "http":
		err = serveHTTP()
	case "grpc":
		err = serveGRPC()
	case "actors-http":
		err = serveActorsOverHTTP()
	case "actors-stream":
		err = serveActorsOverStream()
	case "actors-client", "actors-client-http":
		err = runActorChecks(os.Args[1] == "actors-client-http")
	case "routed":
		err = runRouted()
	default:
		err = runChecks()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// Reads the rows of workflows with Dapr's own types, as daprd and its tools do: JSON in, JSON out, bytes in base64.
package main

import (
	"encoding/json"
	"os"

	"github.com/dapr/durabletask-go/api/protos"
	"github.com/dapr/durabletask-go/backend/runtimestate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type rows struct {
	Metadata     []byte   `json:"metadata"`
	CustomStatus []byte   `json:"customStatus"`
	History      [][]byte `json:"history"`
}

type instance struct {
	Inbox      uint64 `json:"inbox"`
	History    uint64 `json:"history"`
	Generation uint64 `json:"generation"`
	Name       string `json:"name"`
	Status     int32  `json:"status"`
	Output     string `json:"output"`
	// Metadata as Dapr writes it.
	Metadata []byte `json:"metadata"`
}

func main() {
	given := map[string]rows{}
	check(json.NewDecoder(os.Stdin).Decode(&given))
	found := map[string]instance{}
	for id, one := range given {
		found[id] = read(id, one)
	}
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func read(id string, given rows) instance {
	var metadata protos.BackendWorkflowStateMetadata
	check(proto.Unmarshal(given.Metadata, &metadata))
	var status wrapperspb.StringValue
	check(proto.Unmarshal(given.CustomStatus, &status))
	events := make([]*protos.HistoryEvent, len(given.History))
	for index, bytes := range given.History {
		events[index] = &protos.HistoryEvent{}
		check(proto.Unmarshal(bytes, events[index]))
	}
	state := runtimestate.NewWorkflowRuntimeState(id, &status, events)
	name, err := runtimestate.Name(state)
	check(err)
	output := ""
	if runtimestate.IsCompleted(state) {
		value, err := runtimestate.Output(state)
		check(err)
		output = value.GetValue()
	}
	own, err := proto.Marshal(&protos.BackendWorkflowStateMetadata{
		InboxLength:   metadata.GetInboxLength(),
		HistoryLength: metadata.GetHistoryLength(),
		Generation:    metadata.GetGeneration(),
	})
	check(err)
	return instance{
		Inbox:      metadata.GetInboxLength(),
		History:    metadata.GetHistoryLength(),
		Generation: metadata.GetGeneration(),
		Name:       name,
		Status:     int32(runtimestate.RuntimeStatus(state)),
		Output:     output,
		Metadata:   own,
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

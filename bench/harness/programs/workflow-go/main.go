// Worker and client of the Go SDK. Each line of stdin, `COUNT PARALLEL`, runs so many chains of three activities, so
// many at once, and answers with a line: the milliseconds each took, as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/workflow"
	"github.com/dapr/go-sdk/client"
)

func add(ctx workflow.ActivityContext) (any, error) {
	var value int
	if err := ctx.GetInput(&value); err != nil {
		return nil, err
	}
	return value + 1, nil
}

func chain(ctx *workflow.WorkflowContext) (any, error) {
	var value int
	if err := ctx.GetInput(&value); err != nil {
		return nil, err
	}
	for range 3 {
		if err := ctx.CallActivity(add, workflow.WithActivityInput(value)).Await(&value); err != nil {
			return nil, err
		}
	}
	return value, nil
}

func main() {
	ctx := context.Background()
	registry := workflow.NewRegistry()
	must(registry.AddWorkflow(chain))
	must(registry.AddActivity(add))
	dapr, err := client.NewClientWithPort(os.Args[1])
	must(err)
	workflows := workflow.NewClient(dapr.GrpcClientConn())
	must(workflows.StartWorker(ctx, registry))
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var count, parallel int
		_, err := fmt.Sscan(lines.Text(), &count, &parallel)
		must(err)
		answer, err := json.Marshal(run(ctx, workflows, count, parallel))
		must(err)
		fmt.Println(string(answer))
	}
}

func run(ctx context.Context, workflows *workflow.Client, count, parallel int) []float64 {
	turns := make(chan struct{}, count)
	for range count {
		turns <- struct{}{}
	}
	close(turns)
	var lock sync.Mutex
	var lanes sync.WaitGroup
	took := make([]float64, 0, count)
	for range parallel {
		lanes.Go(func() {
			for range turns {
				ms := one(ctx, workflows)
				lock.Lock()
				took = append(took, ms)
				lock.Unlock()
			}
		})
	}
	lanes.Wait()
	return took
}

func one(ctx context.Context, workflows *workflow.Client) float64 {
	started := time.Now()
	id, err := workflows.ScheduleWorkflow(ctx, "chain", workflow.WithInput(1))
	must(err)
	end, err := workflows.WaitForWorkflowCompletion(ctx, id, workflow.WithFetchPayloads(true))
	must(err)
	if output := end.Output.GetValue(); output != "4" {
		must(fmt.Errorf("a chain ended with %q", output))
	}
	return float64(time.Since(started).Microseconds()) / 1000
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

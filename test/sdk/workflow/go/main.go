// The workflow scenarios in Go, on github.com/dapr/go-sdk: worker of two apps and client in one process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dapr/durabletask-go/workflow"
	"github.com/dapr/go-sdk/client"
)

func double(ctx workflow.ActivityContext) (any, error) {
	var number int
	if err := ctx.GetInput(&number); err != nil {
		return nil, err
	}
	return number * 2, nil
}

func refuse(ctx workflow.ActivityContext) (any, error) {
	var what string
	if err := ctx.GetInput(&what); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("no %s", what)
}

var (
	lock   sync.Mutex
	tries  int
	undone []string
)

func flaky(workflow.ActivityContext) (any, error) {
	lock.Lock()
	defer lock.Unlock()
	if tries++; tries < 3 {
		return nil, errors.New("not yet")
	}
	return tries, nil
}

func undo(ctx workflow.ActivityContext) (any, error) {
	var step string
	if err := ctx.GetInput(&step); err != nil {
		return nil, err
	}
	lock.Lock()
	defer lock.Unlock()
	undone = append(undone, step)
	return nil, nil
}

func chain(ctx *workflow.WorkflowContext) (any, error) {
	var number int
	if err := ctx.GetInput(&number); err != nil {
		return nil, err
	}
	for range 3 {
		if err := ctx.CallActivity(double, workflow.WithActivityInput(number)).Await(&number); err != nil {
			return nil, err
		}
	}
	return number, nil
}

func fan(ctx *workflow.WorkflowContext) (any, error) {
	tasks := make([]workflow.Task, 30)
	for index := range tasks {
		tasks[index] = ctx.CallActivity(double, workflow.WithActivityInput(index))
	}
	sum := 0
	for _, task := range tasks {
		var each int
		if err := task.Await(&each); err != nil {
			return nil, err
		}
		sum += each
	}
	return sum, nil
}

func monitor(ctx *workflow.WorkflowContext) (any, error) {
	var polls int
	if err := ctx.GetInput(&polls); err != nil {
		return nil, err
	}
	if polls == 0 {
		return "healthy", nil
	}
	if err := ctx.CreateTimer(50 * time.Millisecond).Await(nil); err != nil {
		return nil, err
	}
	ctx.ContinueAsNew(polls - 1)
	return nil, nil
}

func approval(ctx *workflow.WorkflowContext) (any, error) {
	var timeoutMs int
	if err := ctx.GetInput(&timeoutMs); err != nil {
		return nil, err
	}
	var who string
	err := ctx.WaitForExternalEvent("approved", time.Duration(timeoutMs)*time.Millisecond).Await(&who)
	if err != nil {
		return "timed out", nil
	}
	return "approved by " + who, nil
}

func parent(ctx *workflow.WorkflowContext) (any, error) {
	var number int
	if err := ctx.CallChildWorkflow(chain, workflow.WithChildWorkflowInput(2)).Await(&number); err != nil {
		return nil, err
	}
	return number + 1, nil
}

func broken(*workflow.WorkflowContext) (any, error) {
	return nil, errors.New("broken by design")
}

// More executions than run in one turn.
func spin(ctx *workflow.WorkflowContext) (any, error) {
	var left int
	if err := ctx.GetInput(&left); err != nil {
		return nil, err
	}
	if left == 0 {
		return "done", nil
	}
	ctx.ContinueAsNew(left - 1)
	return nil, nil
}

func saga(ctx *workflow.WorkflowContext) (any, error) {
	var done []string
	for _, step := range []string{"flight", "hotel"} {
		if err := ctx.CallActivity(double, workflow.WithActivityInput(1)).Await(nil); err != nil {
			return nil, err
		}
		done = append(done, step)
	}
	if err := ctx.CallActivity(refuse, workflow.WithActivityInput("car")).Await(nil); err == nil {
		return "booked", nil
	}
	slices.Reverse(done)
	for _, step := range done {
		if err := ctx.CallActivity(undo, workflow.WithActivityInput(step)).Await(nil); err != nil {
			return nil, err
		}
	}
	return "undone", nil
}

func retried(ctx *workflow.WorkflowContext) (any, error) {
	policy := &workflow.RetryPolicy{MaxAttempts: 5, InitialRetryInterval: 20 * time.Millisecond}
	var result int
	err := ctx.CallActivity(flaky, workflow.WithActivityRetryPolicy(policy)).Await(&result)
	return result, err
}

func ancestors(ctx workflow.ActivityContext) (any, error) {
	var names []string
	for _, each := range ctx.GetPropagatedHistory().GetWorkflows() {
		names = append(names, each.Name)
	}
	return names, nil
}

func grandparent(ctx *workflow.WorkflowContext) (any, error) {
	var names [][]string
	if err := ctx.CallActivity(double, workflow.WithActivityInput(21)).Await(nil); err != nil {
		return nil, err
	}
	err := ctx.CallChildWorkflow(heir, workflow.WithHistoryPropagation(workflow.PropagateLineage())).Await(&names)
	return names, err
}

func heir(ctx *workflow.WorkflowContext) (any, error) {
	names := make([][]string, 2)
	lineage := workflow.WithHistoryPropagation(workflow.PropagateLineage())
	if err := ctx.CallActivity(ancestors, lineage).Await(&names[0]); err != nil {
		return nil, err
	}
	own := workflow.WithHistoryPropagation(workflow.PropagateOwnHistory())
	err := ctx.CallActivity(ancestors, own).Await(&names[1])
	return names, err
}

const patience = time.Hour

func numbers(ctx *workflow.WorkflowContext) (any, error) {
	sum := 0
	for range 2 {
		var number int
		if err := ctx.WaitForExternalEvent("number", patience).Await(&number); err != nil {
			return nil, err
		}
		sum += number
	}
	return sum, nil
}

type collection struct{ Left, Sum int }

// Each execution takes one event; those that wait go along to the next.
func collect(ctx *workflow.WorkflowContext) (any, error) {
	var given collection
	if err := ctx.GetInput(&given); err != nil {
		return nil, err
	}
	if given.Left == 0 {
		return given.Sum, nil
	}
	var number int
	if err := ctx.WaitForExternalEvent("number", patience).Await(&number); err != nil {
		return nil, err
	}
	next := collection{Left: given.Left - 1, Sum: given.Sum + number}
	ctx.ContinueAsNew(next, workflow.WithKeepUnprocessedEvents())
	return nil, nil
}

func holder(ctx *workflow.WorkflowContext) (any, error) {
	id := workflow.WithChildWorkflowInstanceID(ctx.ID() + "-child")
	return nil, ctx.CallChildWorkflow(numbers, id).Await(nil)
}

func patched(ctx *workflow.WorkflowContext) (any, error) {
	early := ctx.IsPatched("early")
	if err := ctx.CallActivity(double, workflow.WithActivityInput(1)).Await(nil); err != nil {
		return nil, err
	}
	return []bool{early, ctx.IsPatched("better")}, nil
}

func abroad(ctx *workflow.WorkflowContext) (any, error) {
	var number int
	err := ctx.CallActivity("double", workflow.WithActivityInput(5), workflow.WithActivityAppID("other")).Await(&number)
	return number, err
}

func abroadChild(ctx *workflow.WorkflowContext) (any, error) {
	var number int
	err := ctx.CallChildWorkflow("chain", workflow.WithChildWorkflowInput(1), workflow.WithChildWorkflowAppID("other")).Await(&number)
	return number, err
}

func evolvingOne(ctx *workflow.WorkflowContext) (any, error) {
	return "one", ctx.WaitForExternalEvent("go", patience).Await(nil)
}

func evolvingTwo(ctx *workflow.WorkflowContext) (any, error) {
	return "two", ctx.WaitForExternalEvent("go", patience).Await(nil)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	other, err := client.NewClientWithPort(os.Getenv("OTHER_GRPC_PORT"))
	must(err)
	must(workflow.NewClient(other.GrpcClientConn()).StartWorker(ctx, registry("one")))
	wf, err := client.NewWorkflowClient()
	must(err)
	program := &program{ctx: ctx, wf: wf}
	program.work(registry("one"))
	program.checkPatterns()
	program.checkVerbs()
	program.checkIds()
	program.checkReading()
	program.checkWorkers()
	return 0
}

// Everything, and of the workflow `evolving` these versions; the last is the latest.
func registry(versions ...string) *workflow.Registry {
	registry := workflow.NewRegistry()
	for _, each := range []workflow.Workflow{
		chain, fan, monitor, approval, parent, broken, spin, saga, retried, numbers, collect, holder, patched,
		abroad, abroadChild, grandparent, heir,
	} {
		must(registry.AddWorkflow(each))
	}
	for _, each := range []workflow.Activity{double, refuse, flaky, undo, ancestors} {
		must(registry.AddActivity(each))
	}
	for index, version := range versions {
		evolving := map[string]workflow.Workflow{"one": evolvingOne, "two": evolvingTwo}[version]
		must(registry.AddVersionedWorkflowN("evolving", version, index == len(versions)-1, evolving))
	}
	return registry
}

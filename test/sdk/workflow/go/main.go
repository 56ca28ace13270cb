// The workflow scenarios in Go, on github.com/dapr/go-sdk: worker and client in one process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	registry := workflow.NewRegistry()
	for _, each := range []workflow.Workflow{chain, fan, monitor, approval, parent, broken} {
		must(registry.AddWorkflow(each))
	}
	must(registry.AddActivity(double))
	wf, err := client.NewWorkflowClient()
	must(err)
	must(wf.StartWorker(ctx, registry))

	end := func(id string) (string, error) {
		state, err := wf.WaitForWorkflowCompletion(ctx, id, workflow.WithFetchPayloads(true))
		if err != nil {
			return "", err
		}
		if state.FailureDetails != nil {
			return "", errors.New(state.FailureDetails.GetErrorMessage())
		}
		return state.Output.GetValue(), nil
	}
	run := func(name string, input any) (string, error) {
		id, err := wf.ScheduleWorkflow(ctx, name, workflow.WithInput(input))
		if err != nil {
			return "", err
		}
		return end(id)
	}
	check("chain", `8`)(run("chain", 1))
	check("fan-out", `870`)(run("fan", nil))
	check("monitor", `"healthy"`)(run("monitor", 3))
	check("approval-timeout", `"timed out"`)(run("approval", 100))
	check("child", `17`)(run("parent", nil))

	_, err = run("broken", nil)
	if err == nil || !strings.Contains(err.Error(), "broken by design") {
		fmt.Printf("not ok failed: %v\n", err)
	} else {
		fmt.Println("ok failed")
	}

	id, err := wf.ScheduleWorkflow(ctx, "approval", workflow.WithInput(60000))
	must(err)
	must(wf.SuspendWorkflow(ctx, id, "lunch"))
	must(wf.RaiseEvent(ctx, id, "approved", workflow.WithEventPayload("Ada")))
	must(wf.ResumeWorkflow(ctx, id, "back"))
	check("approval", `"approved by Ada"`)(end(id))
	must(wf.PurgeWorkflowState(ctx, id))

	id, err = wf.ScheduleWorkflow(ctx, "approval", workflow.WithInput(60000))
	must(err)
	must(wf.TerminateWorkflow(ctx, id, workflow.WithOutput("enough")))
	check("terminate", `"enough"`)(end(id))
}

func check(name, expected string) func(string, error) {
	return func(output string, err error) {
		switch {
		case err != nil:
			fmt.Printf("not ok %s: %v\n", name, err)
		case output != expected:
			fmt.Printf("not ok %s: expected %s, got %s\n", name, expected, output)
		default:
			fmt.Printf("ok %s\n", name)
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

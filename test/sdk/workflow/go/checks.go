package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/workflow"
)

// The client's side: starts workflows, and says of each check whether it came out as it should.
type program struct {
	ctx  context.Context
	wf   *workflow.Client
	stop context.CancelFunc
}

// Connects a worker, in place of the one before.
func (p *program) work(registry *workflow.Registry) {
	if p.stop != nil {
		p.stop()
	}
	ctx, stop := context.WithCancel(p.ctx)
	p.stop = stop
	must(p.wf.StartWorker(ctx, registry))
}

func (p *program) start(name string, input any, options ...workflow.NewWorkflowOptions) string {
	id, err := p.wf.ScheduleWorkflow(p.ctx, name, append(options, workflow.WithInput(input))...)
	must(err)
	return id
}

func (p *program) end(id string) (string, error) {
	state, err := p.wf.WaitForWorkflowCompletion(p.ctx, id, workflow.WithFetchPayloads(true))
	if err != nil {
		return "", err
	}
	if state.FailureDetails != nil {
		return "", errors.New(state.FailureDetails.GetErrorMessage())
	}
	return state.Output.GetValue(), nil
}

func (p *program) run(name string, input any) (string, error) {
	return p.end(p.start(name, input))
}

func (p *program) status(id string) string {
	state, err := p.wf.FetchWorkflowMetadata(p.ctx, id)
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(state.RuntimeStatus.String(), "ORCHESTRATION_STATUS_")
}

func (p *program) raise(id string, numbers ...int) {
	for _, number := range numbers {
		must(p.wf.RaiseEvent(p.ctx, id, "number", workflow.WithEventPayload(number)))
	}
}

func (p *program) isGone(id string) bool {
	_, err := p.wf.FetchWorkflowMetadata(p.ctx, id)
	return err != nil
}

func (p *program) checkPatterns() {
	check("chain", `8`)(p.run("chain", 1))
	check("fan-out", `870`)(p.run("fan", nil))
	check("monitor", `"healthy"`)(p.run("monitor", 3))
	check("continue-as-new", `"done"`)(p.run("spin", 50))
	check("approval-timeout", `"timed out"`)(p.run("approval", 100))
	check("child", `17`)(p.run("parent", nil))
	check("retry", `3`)(p.run("retried", nil))
	check("patch", `[true,true]`)(p.run("patched", nil))
	check("multi-app-activity", `10`)(p.run("abroad", nil))
	check("multi-app-child", `8`)(p.run("abroadChild", nil))

	fmt.Println("skip history-deltas: the worker keeps no histories")
	check("handed-history", `[["grandparent","heir"],["heir"]]`)(p.run("grandparent", nil))

	output, err := p.run("saga", nil)
	check("saga", `"undone" [hotel flight]`)(fmt.Sprint(output, " ", undone), err)

	_, err = p.run("broken", nil)
	if err == nil || !strings.Contains(err.Error(), "broken by design") {
		err = fmt.Errorf("it ended with %v", err)
	} else {
		err = nil
	}
	check("failed", ``)("", err)

	id := p.start("approval", 60000)
	must(p.wf.RaiseEvent(p.ctx, id, "approved", workflow.WithEventPayload("Ada")))
	check("approval", `"approved by Ada"`)(p.end(id))
}

func (p *program) checkVerbs() {
	id := p.start("numbers", nil)
	p.raise(id, 1, 2)
	check("early-events", `3`)(p.end(id))

	id = p.start("numbers", nil)
	must(p.wf.SuspendWorkflow(p.ctx, id, "lunch"))
	before := p.status(id)
	p.raise(id, 1, 2)
	time.Sleep(100 * time.Millisecond)
	before += " " + p.status(id)
	must(p.wf.ResumeWorkflow(p.ctx, id, "back"))
	output, err := p.end(id)
	check("suspend", `SUSPENDED SUSPENDED 3`)(before+" "+output, err)

	id = p.start("collect", collection{Left: 3})
	must(p.wf.SuspendWorkflow(p.ctx, id, ""))
	p.raise(id, 1, 2, 4)
	must(p.wf.ResumeWorkflow(p.ctx, id, ""))
	check("carry-over", `7`)(p.end(id))

	id = p.start("numbers", nil)
	must(p.wf.TerminateWorkflow(p.ctx, id, workflow.WithOutput("enough")))
	output, err = p.end(id)
	check("terminate", `TERMINATED "enough"`)(p.status(id)+" "+output, err)

	id = p.start("holder", nil)
	child := id + "-child"
	until(func() bool { return !p.isGone(child) })
	must(p.wf.TerminateWorkflow(p.ctx, id, workflow.WithRecursiveTerminate(true)))
	_, err = p.end(child)
	check("terminate-recursive", `TERMINATED TERMINATED`)(p.status(id)+" "+p.status(child), err)

	id = p.start("chain", 1)
	_, err = p.end(id)
	must(p.wf.PurgeWorkflowState(p.ctx, id))
	check("purge", `true`)(fmt.Sprint(p.isGone(id)), err)

	id = p.start("parent", nil)
	_, err = p.end(id)
	child = id + ":0000"
	before = fmt.Sprint(p.isGone(child))
	must(p.wf.PurgeWorkflowState(p.ctx, id, workflow.WithRecursivePurge(true)))
	check("purge-recursive", `false true true`)(fmt.Sprint(before, " ", p.isGone(id), " ", p.isGone(child)), err)
}

func (p *program) checkIds() {
	at := time.Now().Add(1500 * time.Millisecond)
	id := p.start("chain", 1, workflow.WithStartTime(at))
	before := p.status(id)
	output, err := p.end(id)
	check("delayed-start", `PENDING 8 false`)(fmt.Sprint(before, " ", output, " ", time.Now().Before(at)), err)

	id = p.start("numbers", nil)
	_, err = p.wf.ScheduleWorkflow(p.ctx, "numbers", workflow.WithInstanceID(id))
	check("duplicate", `true`)(fmt.Sprint(err != nil && strings.Contains(err.Error(), "already exists")), nil)
	must(p.wf.TerminateWorkflow(p.ctx, id))

	id = p.start("chain", 1)
	_, err = p.end(id)
	must(err)
	p.start("chain", 2, workflow.WithInstanceID(id))
	check("reuse", `16`)(p.end(id))
}

func (p *program) checkReading() {
	started := make([]string, 5)
	for index := range started {
		started[index] = p.start("chain", 1)
	}
	ids := p.list()
	missing := slices.ContainsFunc(started, func(id string) bool { return !slices.Contains(ids, id) })
	check("list", `false`)(fmt.Sprint(missing), nil)

	id := p.start("chain", 1)
	_, err := p.end(id)
	must(err)
	history, err := p.wf.GetInstanceHistory(p.ctx, id)
	check("history", `12`)(fmt.Sprint(len(history.Events)), err)

	again, err := p.wf.RerunWorkflowFromEvent(p.ctx, id, 2, workflow.WithRerunInput(10))
	must(err)
	check("rerun", `20`)(p.end(again))
}

func (p *program) list() []string {
	var ids []string
	options := []workflow.ListInstanceIDsOptions{workflow.WithListInstanceIDsPageSize(2)}
	for {
		page, err := p.wf.ListInstanceIDs(p.ctx, options...)
		must(err)
		ids = append(ids, page.InstanceIds...)
		if page.ContinuationToken == nil {
			return ids
		}
		options = append(options[:1], workflow.WithListInstanceIDsContinuationToken(*page.ContinuationToken))
	}
}

func (p *program) checkWorkers() {
	// What happens while no worker is there is done by the next one.
	id := p.start("numbers", nil)
	p.stop()
	p.raise(id, 1, 2)
	p.work(registry("one"))
	check("reconnect", `3`)(p.end(id))

	// An instance goes on with the version that it began with.
	older := p.start("evolving", nil)
	_, err := p.wf.WaitForWorkflowStart(p.ctx, older)
	must(err)
	p.work(registry("one", "two"))
	newer := p.start("evolving", nil)
	must(p.wf.RaiseEvent(p.ctx, older, "go"))
	must(p.wf.RaiseEvent(p.ctx, newer, "go"))
	one, err := p.end(older)
	must(err)
	two, err := p.end(newer)
	check("version", `"one" "two"`)(one+" "+two, err)

	// No worker has the version: the instance stands still, until one has it.
	p.work(registry("one"))
	id = p.start("evolving", nil)
	_, err = p.wf.WaitForWorkflowStart(p.ctx, id)
	must(err)
	p.work(registry("two"))
	must(p.wf.RaiseEvent(p.ctx, id, "go"))
	until(func() bool { return p.status(id) == "STALLED" })
	before := p.status(id)
	p.work(registry("one", "two"))
	output, err := p.end(id)
	check("stalled", `STALLED "one"`)(before+" "+output, err)
}

func until(reached func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !reached() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
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

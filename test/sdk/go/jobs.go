package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// addJobHandlers keeps what jobs bring. `job-retried` succeeds the third time, `job-dropped` never.
func addJobHandlers(service common.Service, box *inbox) error {
	tries := 0
	var failures []error
	for _, name := range []string{"job-once", "job-every", "job-cron", "job-overwrite", "job-delete", "job-retried", "job-dropped"} {
		failures = append(failures, service.AddJobEventHandler(name, func(_ context.Context, job *common.JobEvent) error {
			var data any
			if err := json.Unmarshal(job.Data, &data); err != nil {
				return err
			}
			box.mutex.Lock()
			defer box.mutex.Unlock()
			box.events = append(box.events, event{job.JobType, data})
			if job.JobType == "job-retried" {
				tries++
			}
			if job.JobType == "job-dropped" || (job.JobType == "job-retried" && tries < 3) {
				return errors.New("not now")
			}
			return nil
		}))
	}
	return errors.Join(failures...)
}

// jobChecks are those of an app for itself: a job calls the app that scheduled it.
type jobChecks struct {
	app dapr.Client
}

func runJobChecks() error {
	app, err := dapr.NewClientWithPort(os.Getenv("GRPC_APP_GRPC_PORT"))
	if err != nil {
		return err
	}
	defer app.Close()
	run := jobChecks{app}
	// Side by side: most of them wait for the second hand.
	var all sync.WaitGroup
	for name, work := range map[string]func(context.Context) error{
		"job-once":             run.once,
		"job-every":            run.every,
		"job-cron":             run.cron,
		"job-get":              run.get,
		"job-overwrite":        run.overwrite,
		"job-delete":           run.delete,
		"job-retried":          run.retried,
		"job-dropped":          run.dropped,
		"job-list":             run.list,
		"job-delete-by-prefix": run.deleteByPrefix,
	} {
		all.Go(func() { check(name, work) })
	}
	all.Wait()
	return nil
}

func (run jobChecks) once(ctx context.Context) error {
	return firstError(
		run.schedule(ctx, "job-once", "a", dapr.WithJobDueTime("100ms")),
		run.gone(ctx, "job-once"),
		run.brought(ctx, "job-once", "a"),
	)
}

func (run jobChecks) every(ctx context.Context) error {
	return firstError(
		run.schedule(ctx, "job-every", "a", dapr.WithJobSchedule("@every 1s"), dapr.WithJobRepeats(2)),
		run.gone(ctx, "job-every"),
		run.brought(ctx, "job-every", "a", "a"),
	)
}

func (run jobChecks) cron(ctx context.Context) error {
	schedule := dapr.WithJobSchedule("TZ=Europe/Berlin * * * * * *")
	if err := run.schedule(ctx, "job-cron", "a", schedule, dapr.WithJobTTL("2500ms")); err != nil {
		return err
	}
	if err := run.gone(ctx, "job-cron"); err != nil {
		return err
	}
	fires, err := run.fires(ctx, "job-cron")
	if len(fires) < 1 || len(fires) > 3 {
		return firstError(err, same(fires, []string{"a", "a"}))
	}
	return err
}

func (run jobChecks) get(ctx context.Context) error {
	retries, interval := uint32(4), 5*time.Second
	err := run.schedule(ctx, "job-get", "a", dapr.WithJobSchedule("@daily"), dapr.WithJobDueTime("1h"), dapr.WithJobTTL("72h"),
		dapr.WithJobRepeats(7), dapr.WithJobConstantFailurePolicyMaxRetries(retries), dapr.WithJobConstantFailurePolicyInterval(interval))
	if err != nil {
		return err
	}
	job, err := run.app.GetJob(ctx, "job-get")
	if err != nil {
		return err
	}
	return firstError(
		same([]any{job.Name, *job.Schedule, *job.DueTime, *job.TTL, *job.Repeats}, []any{"job-get", "@daily", "1h", "72h", uint32(7)}),
		same(string(job.Data.GetValue()), `"a"`),
		same(job.FailurePolicy, &dapr.JobFailurePolicyConstant{MaxRetries: &retries, Interval: &interval}),
	)
}

func (run jobChecks) overwrite(ctx context.Context) error {
	if err := run.schedule(ctx, "job-overwrite", "old", dapr.WithJobDueTime("1h")); err != nil {
		return err
	}
	refused := run.schedule(ctx, "job-overwrite", "new", dapr.WithJobDueTime("100ms"))
	again := dapr.NewJob("job-overwrite", dapr.WithJobDueTime("100ms"), dapr.WithJobData(&anypb.Any{Value: []byte(`"new"`)}))
	again.Overwrite = true
	return firstError(
		same(status.Code(refused), codes.AlreadyExists),
		run.app.ScheduleJob(ctx, again),
		run.gone(ctx, "job-overwrite"),
		run.brought(ctx, "job-overwrite", "new"),
	)
}

func (run jobChecks) delete(ctx context.Context) error {
	return firstError(
		run.schedule(ctx, "job-delete", "a", dapr.WithJobDueTime("1h")),
		run.app.DeleteJob(ctx, "job-delete"),
		run.gone(ctx, "job-delete"),
		run.brought(ctx, "job-delete"),
	)
}

func (run jobChecks) retried(ctx context.Context) error {
	policy := dapr.WithJobConstantFailurePolicyInterval(50 * time.Millisecond)
	return firstError(
		run.schedule(ctx, "job-retried", "a", dapr.WithJobDueTime("1ms"), policy, dapr.WithJobConstantFailurePolicyMaxRetries(5)),
		run.gone(ctx, "job-retried"),
		run.brought(ctx, "job-retried", "a", "a", "a"),
	)
}

func (run jobChecks) dropped(ctx context.Context) error {
	return firstError(
		run.schedule(ctx, "job-dropped", "a", dapr.WithJobDueTime("1ms"), dapr.WithJobDropFailurePolicy()),
		run.gone(ctx, "job-dropped"),
		run.brought(ctx, "job-dropped", "a"),
	)
}

// The SDK has no call for it: the client that it is made of has.
func (run jobChecks) list(ctx context.Context) error {
	for _, name := range []string{"list-1", "list-2"} {
		if err := run.schedule(ctx, name, "a", dapr.WithJobSchedule("@yearly")); err != nil {
			return err
		}
	}
	names, err := run.names(ctx, "list-")
	return firstError(err, same(names, []string{"list-1", "list-2"}))
}

func (run jobChecks) deleteByPrefix(ctx context.Context) error {
	for _, name := range []string{"prefix-1", "prefix-2", "other-prefix-3"} {
		if err := run.schedule(ctx, name, "a", dapr.WithJobSchedule("@yearly")); err != nil {
			return err
		}
	}
	prefix := "prefix-"
	_, err := run.app.GrpcClient().DeleteJobsByPrefixAlpha1(ctx, &runtimepb.DeleteJobsByPrefixRequestAlpha1{NamePrefix: &prefix})
	left, leftErr := run.names(ctx, "prefix-")
	others, othersErr := run.names(ctx, "other-prefix-")
	return firstError(err, leftErr, othersErr, same([]int{len(left), len(others)}, []int{0, 1}))
}

func (run jobChecks) names(ctx context.Context, prefix string) ([]string, error) {
	list, err := run.app.GrpcClient().ListJobsAlpha1(ctx, &runtimepb.ListJobsRequestAlpha1{})
	names := []string{}
	for _, job := range list.GetJobs() {
		if strings.HasPrefix(job.GetName(), prefix) {
			names = append(names, job.GetName())
		}
	}
	slices.Sort(names)
	return names, err
}

func (run jobChecks) schedule(ctx context.Context, name, data string, options ...dapr.JobOption) error {
	value, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return run.app.ScheduleJob(ctx, dapr.NewJob(name, append(options, dapr.WithJobData(&anypb.Any{Value: value}))...))
}

// gone waits until the runtime has forgotten the job.
func (run jobChecks) gone(ctx context.Context, name string) error {
	return until(ctx, func() (bool, error) {
		_, err := run.app.GetJob(ctx, name)
		return err != nil && strings.Contains(err.Error(), "job not found"), nil
	})
}

func (run jobChecks) brought(ctx context.Context, name string, wanted ...string) error {
	fires, err := run.fires(ctx, name)
	return firstError(err, same(fires, append([]string{}, wanted...)))
}

// fires are what the app got of a job.
func (run jobChecks) fires(ctx context.Context, name string) ([]string, error) {
	reply, err := run.app.InvokeMethod(ctx, "grpc-app", "received", "get")
	if err != nil {
		return nil, err
	}
	var events []event
	if err := json.Unmarshal(reply, &events); err != nil {
		return nil, err
	}
	got := []string{}
	for _, event := range events {
		if event.Route == name {
			got = append(got, text(event.Data))
		}
	}
	for index, each := range got {
		got[index] = strings.Trim(each, `"`)
	}
	return got, nil
}

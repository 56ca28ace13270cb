package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	dapr "github.com/dapr/go-sdk/client"
)

type heroClient struct {
	id               string
	Hit              func(context.Context, *Blow) (int, error)
	Lives            func(context.Context) (int, error)
	CountSlowly      func(context.Context) (int, error)
	Remember         func(context.Context, int) (bool, error)
	Remembers        func(context.Context) (bool, error)
	StartHealing     func(context.Context) (bool, error)
	StopHealing      func(context.Context) (bool, error)
	Heals            func(context.Context) (int, error)
	SleepUntilCalled func(context.Context, string) (bool, error)
	Drum             func(context.Context) (bool, error)
	StopDrumming     func(context.Context) (bool, error)
	Heard            func(context.Context) ([]string, error)
	Duel             func(context.Context, string) (int, error)
	Fail             func(context.Context) (int, error)
	Born             func(context.Context, string) (int, error)
}

func (hero *heroClient) Type() string { return "Hero" }
func (hero *heroClient) ID() string   { return hero.id }

type catClient struct {
	id   string
	Feed func(context.Context) (int, error)
}

func (cat *catClient) Type() string { return "Cat" }
func (cat *catClient) ID() string   { return cat.id }

type mirrorClient struct {
	id   string
	Look func(context.Context, int) (int, error)
}

func (mirror *mirrorClient) Type() string { return "Mirror" }
func (mirror *mirrorClient) ID() string   { return mirror.id }

func heroStub(client dapr.Client, id string) *heroClient {
	hero := &heroClient{id: id}
	client.ImplActorClientStub(hero)
	return hero
}

func mirrorStub(client dapr.Client, id string) *mirrorClient {
	mirror := &mirrorClient{id: id}
	client.ImplActorClientStub(mirror)
	return mirror
}

// actorChecks run against a host over HTTP or over the stream.
type actorChecks struct {
	client dapr.Client
	hero   *heroClient
}

func runActorChecks(isOverHTTP bool) error {
	client, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	run := actorChecks{client, heroStub(client, "robin")}
	check("actor-state", run.state)
	check("actor-state-ttl", run.stateTTL)
	check("actor-turns", run.turns)
	check("actor-timer", run.timer)
	check("actor-reminder", run.reminder)
	check("actor-reminder-repeats", run.reminderRepeats)
	check("actor-calls", run.calls)
	if isOverHTTP {
		say("skip actor-reentrancy: the HTTP service passes no reentrancy id on")
		say("skip actor-deactivation: the HTTP service sets no idle timeout")
	} else {
		check("actor-reentrancy", run.reentrancy)
		check("actor-deactivation", run.deactivation)
	}
	check("actor-error", run.failure)
	return nil
}

func (run actorChecks) state(ctx context.Context) error {
	hosted := func() (bool, error) {
		_, err := run.hero.Lives(ctx)
		return err == nil, nil
	}
	if err := until(ctx, hosted); err != nil {
		return err
	}
	left, err := run.hero.Hit(ctx, &Blow{By: 1})
	lives, livesErr := run.hero.Lives(ctx)
	others, othersErr := heroStub(run.client, "marian").Lives(ctx)
	return firstError(err, livesErr, othersErr, same([]int{left, lives, others}, []int{2, 2, 3}))
}

func (run actorChecks) stateTTL(ctx context.Context) error {
	_, err := run.hero.Remember(ctx, 1)
	knows, knowsErr := run.hero.Remembers(ctx)
	if err := firstError(err, knowsErr, same(knows, true)); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		knows, err := run.hero.Remembers(ctx)
		return !knows, err
	})
}

func (run actorChecks) turns(ctx context.Context) error {
	const calls = 20
	counts := make(chan int, calls)
	failures := make(chan error, calls)
	for range calls {
		go func() {
			count, err := run.hero.CountSlowly(ctx)
			counts <- count
			failures <- err
		}()
	}
	found, wanted := []int{}, []int{}
	for index := range calls {
		if err := <-failures; err != nil {
			return err
		}
		found, wanted = append(found, <-counts), append(wanted, index+1)
	}
	slices.Sort(found)
	return same(found, wanted)
}

func (run actorChecks) timer(ctx context.Context) error {
	if _, err := run.hero.StartHealing(ctx); err != nil {
		return err
	}
	healed := func() (bool, error) {
		heals, err := run.hero.Heals(ctx)
		return heals >= 6, err
	}
	if err := until(ctx, healed); err != nil {
		return err
	}
	_, err := run.hero.StopHealing(ctx)
	return err
}

func (run actorChecks) reminder(ctx context.Context) error {
	if _, err := run.hero.SleepUntilCalled(ctx, "good morning"); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		heard, err := run.hero.Heard(ctx)
		return slices.Contains(heard, "wake: good morning"), err
	})
}

func (run actorChecks) reminderRepeats(ctx context.Context) error {
	drummer := heroStub(run.client, "john")
	if _, err := drummer.Drum(ctx); err != nil {
		return err
	}
	drummed := func() (bool, error) {
		heard, err := drummer.Heard(ctx)
		return len(heard) >= 3 && heard[2] == "drum: boom", err
	}
	if err := until(ctx, drummed); err != nil {
		return err
	}
	_, err := drummer.StopDrumming(ctx)
	return err
}

func (run actorChecks) calls(ctx context.Context) error {
	left, err := run.hero.Duel(ctx, "sheriff")
	return firstError(err, same(left, 2))
}

func (run actorChecks) reentrancy(ctx context.Context) error {
	mirror := mirrorStub(run.client, "hall")
	seen, err := mirror.Look(ctx, 3)
	if err := firstError(err, same(seen, 4)); err != nil {
		return err
	}
	_, err = mirror.Look(ctx, 4)
	return wantError(err, "error invoke actor method")
}

func (run actorChecks) deactivation(ctx context.Context) error {
	cat := &catClient{id: "tom"}
	run.client.ImplActorClientStub(cat)
	meals := 0
	return until(ctx, func() (bool, error) {
		time.Sleep(400 * time.Millisecond)
		fed, err := cat.Feed(ctx)
		meals++
		born, bornErr := run.hero.Born(ctx, "tom")
		return born >= 2, firstError(err, bornErr, same(fed, meals))
	})
}

func (run actorChecks) failure(ctx context.Context) error {
	_, err := run.hero.Fail(ctx)
	return wantError(err, "error invoke actor method")
}

func wantError(err error, text string) error {
	if err == nil {
		return errors.New("did not fail")
	}
	if !strings.Contains(err.Error(), text) {
		return err
	}
	return nil
}

func until(ctx context.Context, isTrue func() (bool, error)) error {
	for {
		isReached, err := isTrue()
		if err != nil || isReached {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("it did not come to be")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

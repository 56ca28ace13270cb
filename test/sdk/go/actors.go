package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dapr/go-sdk/actor"
	"github.com/dapr/go-sdk/actor/runtime"
	dapr "github.com/dapr/go-sdk/client"
	daprgrpc "github.com/dapr/go-sdk/service/grpc"
	daprhttp "github.com/dapr/go-sdk/service/http"
)

const pause = "50ms"

// What the process knows of its actors, beside what they keep.
var (
	bornMutex sync.Mutex
	born      = map[string]int{}
	sidecar   dapr.Client
)

// Blow is exported: the SDK takes no other argument types.
type Blow struct {
	By int `json:"by"`
}

// Hero keeps its state, and is called by a timer and by reminders.
type Hero struct {
	actor.ServerImplBaseCtx
}

func (hero *Hero) Type() string { return "Hero" }

func (hero *Hero) Hit(ctx context.Context, given *Blow) (int, error) {
	return hero.add(ctx, "lives", 3, -given.By)
}

func (hero *Hero) Lives(ctx context.Context) (int, error) {
	return number(ctx, hero.GetStateManager(), "lives", 3)
}

func (hero *Hero) CountSlowly(ctx context.Context) (int, error) {
	before, err := number(ctx, hero.GetStateManager(), "count", 0)
	if err != nil {
		return 0, err
	}
	time.Sleep(5 * time.Millisecond)
	return before + 1, hero.GetStateManager().Set(ctx, "count", before+1)
}

func (hero *Hero) Remember(ctx context.Context, seconds int) (bool, error) {
	return true, hero.GetStateManager().SetWithTTL(ctx, "secret", "hush", time.Duration(seconds)*time.Second)
}

// Remembers asks the store: the SDK keeps what it has read or written.
func (hero *Hero) Remembers(ctx context.Context) (bool, error) {
	got, err := sidecar.GetActorState(ctx, &dapr.GetActorStateRequest{ActorType: "Hero", ActorID: hero.ID(), KeyName: "secret"})
	return err == nil && len(got.Data) > 0, err
}

func (hero *Hero) StartHealing(ctx context.Context) (bool, error) {
	return true, sidecar.RegisterActorTimer(ctx, &dapr.RegisterActorTimerRequest{
		ActorType: "Hero", ActorID: hero.ID(), Name: "heal", CallBack: "Heal", DueTime: pause, Period: pause, Data: []byte("2"),
	})
}

func (hero *Hero) StopHealing(ctx context.Context) (bool, error) {
	return true, sidecar.UnregisterActorTimer(ctx, &dapr.UnregisterActorTimerRequest{ActorType: "Hero", ActorID: hero.ID(), Name: "heal"})
}

// Heal saves by itself: after a timer's call the SDK does not.
func (hero *Hero) Heal(ctx context.Context, by int) (int, error) {
	heals, err := hero.add(ctx, "heals", 0, by)
	if err != nil {
		return 0, err
	}
	return heals, hero.SaveState(ctx)
}

func (hero *Hero) Heals(ctx context.Context) (int, error) {
	return number(ctx, hero.GetStateManager(), "heals", 0)
}

func (hero *Hero) SleepUntilCalled(ctx context.Context, message string) (bool, error) {
	return true, sidecar.RegisterActorReminder(ctx, &dapr.RegisterActorReminderRequest{
		ActorType: "Hero", ActorID: hero.ID(), Name: "wake", DueTime: "300ms", Data: []byte(message),
	})
}

func (hero *Hero) Drum(ctx context.Context) (bool, error) {
	return true, sidecar.RegisterActorReminder(ctx, &dapr.RegisterActorReminderRequest{
		ActorType: "Hero", ActorID: hero.ID(), Name: "drum", Period: "100ms", Data: []byte("boom"),
	})
}

func (hero *Hero) StopDrumming(ctx context.Context) (bool, error) {
	return true, sidecar.UnregisterActorReminder(ctx, &dapr.UnregisterActorReminderRequest{ActorType: "Hero", ActorID: hero.ID(), Name: "drum"})
}

func (hero *Hero) ReminderCall(name string, data []byte, _ string, _ string) {
	ctx := context.Background()
	if heard, err := hero.Heard(ctx); err == nil {
		_ = hero.GetStateManager().Set(ctx, "heard", append(heard, name+": "+string(data)))
		_ = hero.SaveState(ctx)
	}
}

func (hero *Hero) Heard(ctx context.Context) ([]string, error) {
	heard := []string{}
	known, err := hero.GetStateManager().Contains(ctx, "heard")
	if err == nil && known {
		err = hero.GetStateManager().Get(ctx, "heard", &heard)
	}
	return append([]string{}, heard...), err
}

func (hero *Hero) Duel(ctx context.Context, other string) (int, error) {
	return heroStub(sidecar, other).Hit(ctx, &Blow{By: 1})
}

func (hero *Hero) Fail(context.Context) (int, error) { return 0, fmt.Errorf("the hero stumbled") }

// Born tells how often a cat came to be in this process.
func (hero *Hero) Born(_ context.Context, name string) (int, error) {
	bornMutex.Lock()
	defer bornMutex.Unlock()
	return born[name], nil
}

func (hero *Hero) add(ctx context.Context, name string, otherwise, by int) (int, error) {
	before, err := number(ctx, hero.GetStateManager(), name, otherwise)
	if err != nil {
		return 0, err
	}
	return before + by, hero.GetStateManager().Set(ctx, name, before+by)
}

func number(ctx context.Context, state actor.StateManagerContext, name string, otherwise int) (int, error) {
	known, err := state.Contains(ctx, name)
	if err != nil || !known {
		return otherwise, err
	}
	value := 0
	err = state.Get(ctx, name, &value)
	return value, err
}

// Cat sleeps when nobody calls it for a moment. The SDK tells it nothing of that: it is another object afterwards.
type Cat struct {
	actor.ServerImplBaseCtx
	isKnown bool
}

func (cat *Cat) Type() string { return "Cat" }

func (cat *Cat) Feed(ctx context.Context) (int, error) {
	if !cat.isKnown {
		bornMutex.Lock()
		born[cat.ID()]++
		bornMutex.Unlock()
		cat.isKnown = true
	}
	meals, err := number(ctx, cat.GetStateManager(), "meals", 0)
	if err != nil {
		return 0, err
	}
	return meals + 1, cat.GetStateManager().Set(ctx, "meals", meals+1)
}

// Mirror calls itself within its own turn.
type Mirror struct {
	actor.ServerImplBaseCtx
}

func (mirror *Mirror) Type() string { return "Mirror" }

func (mirror *Mirror) Look(ctx context.Context, depth int) (int, error) {
	if depth == 0 {
		return 1, nil
	}
	seen, err := mirrorStub(sidecar, mirror.ID()).Look(ctx, depth-1)
	return seen + 1, err
}

var factories = []actor.FactoryContext{
	func() actor.ServerContext { return &Hero{} },
	func() actor.ServerContext { return &Cat{} },
	func() actor.ServerContext { return &Mirror{} },
}

func serveActorsOverHTTP() (err error) {
	if sidecar, err = dapr.NewClient(); err != nil {
		return err
	}
	service := daprhttp.NewService("127.0.0.1:" + os.Getenv("APP_PORT"))
	for _, factory := range factories {
		service.RegisterActorImplFactoryContext(factory)
	}
	stopOnSignal(service)
	return service.Start()
}

func serveActorsOverStream() (err error) {
	if sidecar, err = dapr.NewClient(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("APP_PORT"))
	if err != nil {
		return err
	}
	host := runtime.GetActorRuntimeInstanceContext()
	for _, factory := range factories {
		host.RegisterActorFactory(factory)
	}
	depth := int32(4)
	stop, err := sidecar.(*dapr.GRPCClient).SubscribeActorEvents(context.Background(), host, dapr.ActorEventSubscriptionOptions{
		EntitiesConfig: []dapr.ActorEntityConfig{
			{Entities: []string{"Cat"}, ActorIdleTimeout: 300 * time.Millisecond},
			{Entities: []string{"Mirror"}, Reentrancy: &dapr.ActorReentrancyConfig{Enabled: true, MaxStackDepth: &depth}},
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = stop() }()
	service := daprgrpc.NewServiceWithListener(listener)
	stopOnSignal(service)
	return service.Start()
}

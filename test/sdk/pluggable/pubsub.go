package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	contrib "github.com/dapr/components-contrib/pubsub"
)

// A line of the journal: a message, or that a group has handled one.
type entry struct {
	Topic    string
	Data     []byte
	Type     string
	Metadata map[string]string
	Group    string
	Done     string
}

type subscriber struct {
	topic, group string
	wake         chan struct{}
}

type broker struct {
	folder  string
	journal *journal
	lock    sync.Mutex
	topics  map[string][]*entry
	// By topic and group: what is done, and what somebody has.
	done, taken map[string]map[int]bool
	wakers      map[*subscriber]bool
}

func newBroker(folder string) *broker { return &broker{folder: folder} }

func (b *broker) Init(_ context.Context, metadata contrib.Metadata) error {
	b.lock.Lock()
	defer b.lock.Unlock()
	name := metadata.Properties["file"]
	if name == "" {
		name = "pubsub"
	}
	b.topics, b.wakers = map[string][]*entry{}, map[*subscriber]bool{}
	b.done, b.taken = map[string]map[int]bool{}, map[string]map[int]bool{}
	b.journal = openJournal(b.folder, name, func(one entry) { b.take(&one) })
	return nil
}

func (b *broker) take(one *entry) {
	if one.Done == "" {
		b.topics[one.Topic] = append(b.topics[one.Topic], one)
		return
	}
	index, _ := strconv.Atoi(one.Done)
	b.set(b.done, one.Topic+" "+one.Group)[index] = true
}

func (b *broker) set(sets map[string]map[int]bool, name string) map[int]bool {
	if sets[name] == nil {
		sets[name] = map[int]bool{}
	}
	return sets[name]
}

func (b *broker) Features() []contrib.Feature { return nil }

func (b *broker) Publish(_ context.Context, request *contrib.PublishRequest) error {
	one := &entry{Topic: request.Topic, Data: request.Data, Metadata: request.Metadata}
	if request.ContentType != nil {
		one.Type = *request.ContentType
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	if err := b.journal.write(one); err != nil {
		return err
	}
	b.take(one)
	for subscriber := range b.wakers {
		select {
		case subscriber.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func (b *broker) Subscribe(ctx context.Context, request contrib.SubscribeRequest, handler contrib.Handler) error {
	own := &subscriber{topic: request.Topic, group: request.Metadata["consumerID"], wake: make(chan struct{}, 1)}
	b.lock.Lock()
	b.wakers[own] = true
	b.lock.Unlock()
	go func() {
		defer func() {
			b.lock.Lock()
			delete(b.wakers, own)
			b.lock.Unlock()
		}()
		// No subscriber takes all that there is for its group.
		slots := make(chan struct{}, 16)
		for ctx.Err() == nil {
			slots <- struct{}{}
			if index, one := b.next(own); one != nil {
				go func() {
					b.deliver(ctx, own, handler, index, one)
					<-slots
				}()
				continue
			}
			<-slots
			select {
			case <-own.wake:
			case <-ctx.Done():
			}
		}
	}()
	return nil
}

func (b *broker) next(own *subscriber) (int, *entry) {
	b.lock.Lock()
	defer b.lock.Unlock()
	name := own.topic + " " + own.group
	done, taken := b.set(b.done, name), b.set(b.taken, name)
	for index, one := range b.topics[own.topic] {
		if !done[index] && !taken[index] {
			taken[index] = true
			return index, one
		}
	}
	return 0, nil
}

func (b *broker) deliver(ctx context.Context, own *subscriber, handler contrib.Handler, index int, one *entry) {
	contentType := one.Type
	err := handler(ctx, &contrib.NewMessage{
		Data: one.Data, Topic: one.Topic, Metadata: one.Metadata, ContentType: &contentType,
	})
	if err != nil && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	name := own.topic + " " + own.group
	delete(b.set(b.taken, name), index)
	if err == nil {
		done := entry{Topic: own.topic, Group: own.group, Done: strconv.Itoa(index)}
		if b.journal.write(done) == nil {
			b.take(&done)
		}
	}
	for other := range b.wakers {
		select {
		case other.wake <- struct{}{}:
		default:
		}
	}
}

func (b *broker) Close() error { return nil }

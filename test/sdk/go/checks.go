package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	store       = "statestore"
	patience    = 15 * time.Second
	jsonContent = "application/json"
)

// checks runs against one client. The SDK's client speaks gRPC only.
type checks struct {
	client dapr.Client
}

func runChecks() error {
	dapr.SetLogger(nil)
	client, err := dapr.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	run := checks{client}
	say("skip publish-http: the SDK's client speaks gRPC only")
	for _, each := range []struct {
		name string
		work func(context.Context) error
	}{
		{"state", run.state},
		{"state-etag", run.stateEtag},
		{"state-transaction", run.stateTransaction},
		{"state-query", run.stateQuery},
		{"publish-grpc", run.publish},
		{"publish-routing", run.publishRouting},
		{"publish-bulk", run.publishBulk},
		{"subscribe-stream", run.subscribeStream},
		{"subscribe-handler", run.subscribeHandler},
		{"invoke-http", run.invokeHTTP},
		{"invoke-error", run.invokeError},
		{"invoke-grpc", run.invokeGRPC},
		{"invoke-proxy", run.invokeProxy},
		{"secrets", run.secrets},
		{"secrets-bulk", run.secretsBulk},
		{"configuration", run.configuration},
		{"configuration-subscribe", run.configurationSubscribe},
		{"lock", run.lock},
		{"crypto", run.crypto},
		{"conversation", run.conversation},
		{"metadata", run.metadata},
	} {
		check(each.name, each.work)
	}
	return runJobChecks()
}

func (run checks) state(ctx context.Context) error {
	value := []byte(`{"text":"käse","n":1}`)
	if err := run.client.SaveState(ctx, store, "go", value, nil); err != nil {
		return err
	}
	items := []*dapr.SetStateItem{
		{Key: "go-2", Value: []byte(`"two"`)},
		{Key: "go-raw", Value: []byte("\x00\xff raw")},
	}
	if err := run.client.SaveBulkState(ctx, store, items...); err != nil {
		return err
	}
	for key, wanted := range map[string]string{"go": string(value), "go-raw": "\x00\xff raw"} {
		if err := run.stateIs(ctx, key, wanted); err != nil {
			return err
		}
	}
	bulk, err := run.client.GetBulkState(ctx, store, []string{"go", "go-2", "go-none"}, nil, 2)
	if err != nil {
		return err
	}
	found := map[string]string{}
	for _, item := range bulk {
		found[item.Key] = string(item.Value)
	}
	if err := same(found, map[string]string{"go": string(value), "go-2": `"two"`, "go-none": ""}); err != nil {
		return err
	}
	if err := run.client.DeleteBulkState(ctx, store, []string{"go", "go-2"}, nil); err != nil {
		return err
	}
	if err := run.client.DeleteState(ctx, store, "go-raw", nil); err != nil {
		return err
	}
	return firstError(
		run.stateIs(ctx, "go", ""),
		run.stateIs(ctx, "go-2", ""),
		run.stateIs(ctx, "go-raw", ""),
	)
}

func (run checks) stateEtag(ctx context.Context) error {
	key, firstWrite := "go-etag", dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite)
	if err := run.client.SaveState(ctx, store, key, []byte("1"), nil); err != nil {
		return err
	}
	item, err := run.client.GetState(ctx, store, key, nil)
	if err != nil {
		return err
	}
	save := func(value string) error {
		return run.client.SaveStateWithETag(ctx, store, key, []byte(value), item.Etag, nil, firstWrite)
	}
	if err := save("2"); err != nil {
		return err
	}
	options := &dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite}
	stale := run.client.DeleteStateWithETag(ctx, store, key, &dapr.ETag{Value: item.Etag}, nil, options)
	return firstError(
		same(status.Code(save("3")), codes.Aborted),
		same(status.Code(stale), codes.Aborted),
		run.stateIs(ctx, key, "2"),
	)
}

func (run checks) stateTransaction(ctx context.Context) error {
	if err := run.client.SaveState(ctx, store, "go-tx-old", []byte("1"), nil); err != nil {
		return err
	}
	upsert := func(key, value string, etag *dapr.ETag) *dapr.StateOperation {
		item := &dapr.SetStateItem{Key: key, Value: []byte(value), Etag: etag}
		return &dapr.StateOperation{Type: dapr.StateOperationTypeUpsert, Item: item}
	}
	remove := &dapr.StateOperation{
		Type: dapr.StateOperationTypeDelete,
		Item: &dapr.SetStateItem{Key: "go-tx-old"},
	}
	operations := []*dapr.StateOperation{upsert("go-tx-new", `"new"`, nil), remove}
	if err := run.client.ExecuteStateTransaction(ctx, store, nil, operations); err != nil {
		return err
	}
	// All or nothing: the stale etag keeps the other operation out, too.
	stale := upsert("go-tx-new", `"newer"`, &dapr.ETag{Value: "999999"})
	operations = []*dapr.StateOperation{upsert("go-tx-other", "1", nil), stale}
	if err := run.client.ExecuteStateTransaction(ctx, store, nil, operations); err == nil {
		return fmt.Errorf("a stale etag was taken")
	}
	return firstError(
		run.stateIs(ctx, "go-tx-new", `"new"`),
		run.stateIs(ctx, "go-tx-old", ""),
		run.stateIs(ctx, "go-tx-other", ""),
	)
}

func (run checks) stateIs(ctx context.Context, key, wanted string) error {
	item, err := run.client.GetState(ctx, store, key, nil)
	if err != nil {
		return err
	}
	return same(string(item.Value), wanted)
}

func (run checks) stateQuery(ctx context.Context) error {
	for n := range 3 {
		value := fmt.Appendf(nil, `{"group":"go-query","n":%d}`, n+1)
		meta := map[string]string{"contentType": jsonContent}
		if err := run.client.SaveState(ctx, store, fmt.Sprintf("go-query-%d", n+1), value, meta); err != nil {
			return err
		}
	}
	query := `{"filter":{"EQ":{"group":"go-query"}},"sort":[{"key":"n","order":"DESC"}],"page":{"limit":2}}`
	found, err := run.client.QueryStateAlpha1(ctx, store, query, nil)
	if err != nil {
		return err
	}
	keys := []string{}
	for _, item := range found.Results {
		keys = append(keys, item.Key[strings.LastIndex(item.Key, "|")+1:])
	}
	return same(keys, []string{"go-query-3", "go-query-2"})
}

func (run checks) secrets(ctx context.Context) error {
	found, err := run.client.GetSecret(ctx, "filesecrets", "sdk-secret", nil)
	return firstError(err, same(found, map[string]string{"sdk-secret": "hush"}))
}

func (run checks) secretsBulk(ctx context.Context) error {
	found, err := run.client.GetBulkSecret(ctx, "filesecrets", nil)
	return firstError(err, same(found["nested:inner"], map[string]string{"nested:inner": "deep"}))
}

func (run checks) configuration(ctx context.Context) error {
	item, err := run.client.GetConfigurationItem(ctx, "configstore", "sdk-item")
	if err != nil || item == nil {
		return fmt.Errorf("no item: %w", err)
	}
	return same(item.Value, "one")
}

func (run checks) configurationSubscribe(ctx context.Context) error {
	values := make(chan string, 10)
	keep := func(_ string, items map[string]*dapr.ConfigurationItem) {
		if item := items["sdk-live"]; item != nil {
			values <- item.Value
		}
	}
	id, err := run.client.SubscribeConfigurationItems(ctx, "configstore", []string{"sdk-live"}, keep)
	if err != nil {
		return err
	}
	say("want sdk-live")
	for value := ""; value != "after"; {
		select {
		case value = <-values:
		case <-ctx.Done():
			return fmt.Errorf("the changed item did not come")
		}
	}
	return run.client.UnsubscribeConfigurationItems(ctx, "configstore", id)
}

func (run checks) crypto(ctx context.Context) error {
	encryption := dapr.EncryptOptions{ComponentName: "vault", KeyName: "sdk-key", KeyWrapAlgorithm: "AES"}
	decryption := dapr.DecryptOptions{ComponentName: "vault", KeyName: "sdk-key"}
	decrypt := func(document []byte) ([]byte, error) {
		stream, err := run.client.Decrypt(ctx, bytes.NewReader(document), decryption)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(stream)
	}
	// The SDK sends nothing at all for nothing, so the smallest document has a byte.
	for _, size := range []int{1, 65_535, 65_536, 65_537, 10 << 20} {
		plaintext := make([]byte, size)
		rand.Read(plaintext)
		stream, err := run.client.Encrypt(ctx, bytes.NewReader(plaintext), encryption)
		if err != nil {
			return err
		}
		document, err := io.ReadAll(stream)
		if err != nil {
			return err
		}
		found, err := decrypt(document)
		if err != nil {
			return err
		}
		if !bytes.Equal(found, plaintext) {
			return fmt.Errorf("%d bytes came back as %d others", size, len(found))
		}
		document[len(document)-1] ^= 1
		if _, err := decrypt(document); err == nil {
			return fmt.Errorf("a changed document of %d bytes was taken", size)
		}
	}
	return nil
}

func (run checks) lock(ctx context.Context) error {
	try := func(owner string) (bool, error) {
		request := &dapr.LockRequest{ResourceID: "go-lock", LockOwner: owner, ExpiryInSeconds: 60}
		reply, err := run.client.TryLockAlpha1(ctx, "lockstore", request)
		return err == nil && reply.Success, err
	}
	first, err := try("a")
	second, err2 := try("b")
	if failure := firstError(err, err2, same([]bool{first, second}, []bool{true, false})); failure != nil {
		return failure
	}
	for _, step := range [][2]string{
		{"b", "LOCK_BELONGS_TO_OTHERS"},
		{"a", "SUCCESS"},
		{"a", "LOCK_DOES_NOT_EXIST"},
	} {
		request := &dapr.UnlockRequest{ResourceID: "go-lock", LockOwner: step[0]}
		reply, err := run.client.UnlockAlpha1(ctx, "lockstore", request)
		if err != nil {
			return err
		}
		if err := same(reply.Status, step[1]); err != nil {
			return err
		}
	}
	return nil
}

func (run checks) metadata(ctx context.Context) error {
	if err := run.client.SetMetadata(ctx, "go", "seen"); err != nil {
		return err
	}
	found, err := run.client.GetMetadata(ctx)
	if err != nil {
		return err
	}
	names := ""
	for _, component := range found.RegisteredComponents {
		names += component.Name + " "
	}
	if !strings.Contains(names, store+" ") {
		return fmt.Errorf("%s is not among %s", store, names)
	}
	return same([]string{found.ID, found.ExtendedMetadata["go"]}, []string{"client", "seen"})
}

func unique(name string) string {
	return "go-" + name + "-" + uuid.NewString()
}

func same(found, wanted any) error {
	if reflect.DeepEqual(found, wanted) {
		return nil
	}
	return fmt.Errorf("got %s, wanted %s", text(found), text(wanted))
}

func text(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

func firstError(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

func check(name string, work func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := work(ctx); err != nil {
		reason := strings.ReplaceAll(err.Error(), "\n", " ")
		say(fmt.Sprintf("not ok %s: %.500s", name, reason))
		return
	}
	say("ok " + name)
}

func say(line string) {
	fmt.Fprintln(os.Stdout, line)
}

package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	contrib "github.com/dapr/components-contrib/state"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type value struct {
	Data    []byte
	Etag    uint64
	Expires int64
	Type    string
}

// What one commit changes; nil is a deletion.
type change map[string]*value

type store struct {
	folder  string
	journal *journal
	lock    sync.Mutex
	values  map[string]*value
	etag    uint64
	// It says that it has them; it knows no filter.
	hasQueries bool
}

func newStore(folder string) *store { return &store{folder: folder} }

func (s *store) Init(_ context.Context, metadata contrib.Metadata) error {
	if metadata.Properties["refuse"] != "" {
		return errors.New("the metadata is refused: " + metadata.Properties["refuse"])
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	name := metadata.Properties["file"]
	if name == "" {
		name = "state"
	}
	s.hasQueries = metadata.Properties["queries"] != ""
	s.values = map[string]*value{}
	s.journal = openJournal(s.folder, name, s.take)
	return nil
}

func (s *store) take(changes change) {
	for key, changed := range changes {
		if changed == nil {
			delete(s.values, key)
			continue
		}
		s.values[key] = changed
		s.etag = max(s.etag, changed.Etag)
	}
}

func (s *store) Features() []contrib.Feature {
	features := []contrib.Feature{contrib.FeatureETag, contrib.FeatureTransactional, "TTL", "UNHEARD_OF"}
	if s.hasQueries {
		features = append(features, contrib.FeatureQueryAPI)
	}
	return features
}

func (s *store) at(key string) *value {
	found := s.values[key]
	if found != nil && found.Expires != 0 && found.Expires <= time.Now().UnixMilli() {
		return nil
	}
	return found
}

func (s *store) Get(_ context.Context, request *contrib.GetRequest) (*contrib.GetResponse, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.journal == nil {
		return nil, errors.New("there was no Init")
	}
	found := s.at(request.Key)
	if found == nil {
		return &contrib.GetResponse{}, nil
	}
	etag := strconv.FormatUint(found.Etag, 10)
	answer := &contrib.GetResponse{Data: found.Data, ETag: &etag}
	if found.Type != "" {
		answer.ContentType = &found.Type
	}
	if found.Expires != 0 {
		expires := time.UnixMilli(found.Expires).UTC().Format(time.RFC3339Nano)
		answer.Metadata = map[string]string{"ttlExpireTime": expires}
	}
	return answer, nil
}

func (s *store) Set(_ context.Context, request *contrib.SetRequest) error {
	return s.commit([]contrib.TransactionalStateOperation{*request})
}

func (s *store) Delete(_ context.Context, request *contrib.DeleteRequest) error {
	return s.commit([]contrib.TransactionalStateOperation{*request})
}

func (s *store) Multi(_ context.Context, request *contrib.TransactionalStateRequest) error {
	return s.commit(request.Operations)
}

func (s *store) commit(operations []contrib.TransactionalStateOperation) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.journal == nil {
		return errors.New("there was no Init")
	}
	changes := change{}
	etag := s.etag
	at := func(key string) *value {
		if changed, ok := changes[key]; ok {
			return changed
		}
		return s.at(key)
	}
	for _, operation := range operations {
		etag++
		switch request := operation.(type) {
		case contrib.SetRequest:
			found := at(request.Key)
			if err := check(found, request.ETag, request.Options.Concurrency); err != nil {
				return err
			}
			data, _ := request.Value.([]byte)
			set := &value{Data: data, Etag: etag}
			if request.ContentType != nil {
				set.Type = *request.ContentType
			}
			if seconds, err := strconv.Atoi(request.Metadata["ttlInSeconds"]); err == nil && seconds > 0 {
				set.Expires = time.Now().UnixMilli() + int64(seconds)*1000
			}
			changes[request.Key] = set
		case contrib.DeleteRequest:
			found := at(request.Key)
			if err := check(found, request.ETag, ""); err != nil {
				return err
			}
			changes[request.Key] = nil
		}
	}
	if err := s.journal.write(changes); err != nil {
		return err
	}
	s.etag = etag
	s.take(changes)
	return nil
}

func check(found *value, etag *string, concurrency string) error {
	if etag == nil || *etag == "" {
		if concurrency == "first-write" && found != nil {
			return etagError(codes.FailedPrecondition, "the key is there")
		}
		return nil
	}
	wanted, err := strconv.ParseUint(*etag, 10, 64)
	if err != nil {
		return etagError(codes.InvalidArgument, "an etag is a number")
	}
	if found == nil || found.Etag != wanted {
		return etagError(codes.FailedPrecondition, "the etag is another one")
	}
	return nil
}

// How a pluggable component tells of etags.
func etagError(code codes.Code, text string) error {
	told, _ := status.New(code, text).WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "etag", Description: text}},
	})
	return told.Err()
}

func (s *store) BulkGet(ctx context.Context, requests []contrib.GetRequest, _ contrib.BulkGetOpts) ([]contrib.BulkGetResponse, error) {
	found := []contrib.BulkGetResponse{}
	for _, request := range requests {
		one, err := s.Get(ctx, &request)
		if err != nil {
			return nil, err
		}
		found = append(found, contrib.BulkGetResponse{
			Key: request.Key, Data: one.Data, ETag: one.ETag, ContentType: one.ContentType, Metadata: one.Metadata,
		})
	}
	return found, nil
}

func (s *store) BulkSet(ctx context.Context, requests []contrib.SetRequest, _ contrib.BulkStoreOpts) error {
	for _, request := range requests {
		if err := s.Set(ctx, &request); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) BulkDelete(ctx context.Context, requests []contrib.DeleteRequest, _ contrib.BulkStoreOpts) error {
	for _, request := range requests {
		if err := s.Delete(ctx, &request); err != nil {
			return err
		}
	}
	return nil
}

// Finds all that begins with the token.
func (s *store) Query(_ context.Context, request *contrib.QueryRequest) (*contrib.QueryResponse, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	answer := &contrib.QueryResponse{Metadata: map[string]string{"filters": strconv.Itoa(len(request.Query.Filters))}}
	for key := range s.values {
		if found := s.at(key); found != nil && strings.HasPrefix(key, request.Query.Page.Token) {
			etag := strconv.FormatUint(found.Etag, 10)
			answer.Results = append(answer.Results, contrib.QueryItem{Key: key, Data: found.Data, ETag: &etag})
		}
	}
	return answer, nil
}

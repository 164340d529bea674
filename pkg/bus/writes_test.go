package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// TestReadyTellsWhatTakesNothing: JetStream answers, and what was written last was not taken: that service is not ready,
// tries again whenever it is asked, and is ready by itself when it succeeds. test/cluster has it with disks that are full.
func TestReadyTellsWhatTakesNothing(t *testing.T) {
	b := serve(t).connect(contract.AuthGateway)
	ctx := t.Context()
	for _, fault := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		&jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "no space left on device"}, jetstream.ErrJetStreamNotEnabled,
	} {
		tries, mended := 0, false
		again := func(context.Context) error {
			if tries++; mended {
				return nil
			}
			return fault
		}
		b.writes.note("A_STREAM", fmt.Errorf("publish: %w", fault), again)
		for n := range 2 {
			if err := b.Ready(ctx); !errors.Is(err, fault) || !strings.Contains(err.Error(), "A_STREAM has taken nothing for ") || tries != n+1 {
				t.Errorf("%v: %v after %d tries", fault, err, tries)
			}
		}
		mended = true
		for range 2 {
			if err := b.Ready(ctx); err != nil || tries != 3 {
				t.Errorf("%v is over: %v after %d tries", fault, err, tries)
			}
		}
		b.writes.note("A_STREAM", fault, again)
		b.writes.note("A_STREAM", nil, again)
		if err := b.Ready(ctx); err != nil || tries != 3 {
			t.Errorf("%v, and a write after it: %v after %d tries", fault, err, tries)
		}
	}
}

// TestProbesLeaveNothingBehind: what readiness writes again is stored once, and no watcher sees it.
func TestProbesLeaveNothingBehind(t *testing.T) {
	b := serve(t).connect(contract.AuthGateway)
	ctx := t.Context()
	kv := open(t, b)
	seen := make(chan string, 10)
	if err := kv.Watch(ctx, func(key string, _ *note, _ uint64) { seen <- key }); err != nil {
		t.Fatal(err)
	}
	l, err := NewLetter(ctx, contract.EnrolmentStarted, "a", contract.EnrolmentFact{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Send(ctx, l); err != nil {
		t.Fatal(err)
	}
	b.writes.note(string(contract.StreamFacts), nats.ErrTimeout, func(ctx context.Context) error { return b.send(ctx, l) })
	b.writes.note("test", nats.ErrTimeout, kv.probe)
	if err := b.Ready(ctx); err != nil {
		t.Error(err)
	}
	if _, err := kv.Create(ctx, "k", note{"x"}); err != nil {
		t.Fatal(err)
	}
	if key := <-seen; key != "k" {
		t.Errorf("the watcher was told of %q", key)
	}
	if got := messages(t, b, contract.StreamFacts); got != 1 {
		t.Errorf("%d letters, want 1", got)
	}
}

// TestAFullBucketEndsNobody: a stranger can fill a bucket up to its bound. That is refused, and nobody goes away for it.
func TestAFullBucketEndsNobody(t *testing.T) {
	b := serve(t).connect(contract.AuthGateway)
	kv := open(t, b)
	s, err := b.js.Stream(t.Context(), permit.BucketStream("test"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = 1
	if _, err := b.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "k", note{"x"}); contract.CodeOf(err) != contract.Unavailable {
		t.Errorf("a full bucket: %v", err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	// Nor where it did not answer before: that it is full now, it says itself.
	b.writes.note("test", context.DeadlineExceeded, kv.probe)
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAWriterAtFaultIsNoFaultOfTheStream: what a stream refuses for its own sake says nothing of the stream.
func TestAWriterAtFaultIsNoFaultOfTheStream(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.AuthGateway)
	ctx := t.Context()
	kv := open(t, b)
	if err := b.Send(ctx, Letter{ID: "large", Subject: contract.EnrolmentStarted.Subject, Data: make([]byte, 2*maxEvent)}); err == nil {
		t.Error("a letter that is too large was taken")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := kv.Create(gone, "b", note{}); err == nil {
		t.Error("a caller who went away was served")
	}
	if _, err := kv.Update(ctx, "none", note{}, 7); !errors.Is(err, ErrKeyChanged) {
		t.Error(err)
	}
	if err := b.Ready(ctx); err != nil || len(b.writes.failed) != 0 {
		t.Errorf("%v; remembered: %v", err, b.writes.failed)
	}
}

// TestOnlyTheLeaderOfABucketIsRead: a copy that has not heard of a write yet would say that there is no such key.
func TestOnlyTheLeaderOfABucketIsRead(t *testing.T) {
	b := serve(t).connect(contract.AuthGateway)
	ctx := t.Context()
	// As the library makes it, and versions before did.
	const name = "SALLYPORT_OLDER"
	if _, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Storage: jetstream.FileStorage, MaxBytes: 1 << 20, MaxValueSize: 32 << 10, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	kv, err := OpenKV[note](ctx, b, contract.Bucket{Name: name, MaxAge: time.Hour, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.js.Stream(ctx, permit.BucketStream(name))
	if err != nil || s.CachedInfo().Config.AllowDirect {
		t.Errorf("any copy answers: %v", err)
	}
	if _, err := kv.Create(ctx, "a", note{"x"}); err != nil {
		t.Error(err)
	}
	if v, _, err := kv.Get(ctx, "a"); err != nil || v.Text != "x" {
		t.Errorf("%v, %v", v, err)
	}
}

package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// room changes how much a stream may hold.
func room(tb testing.TB, b *Bus, stream string, bytes int64) {
	tb.Helper()
	s, err := b.js.Stream(tb.Context(), stream)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes, cfg.Discard = bytes, jetstream.DiscardNew
	if _, err := b.js.UpdateStream(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
}

// TestReadyTellsWhatTakesNothing: JetStream answers, and a stream or bucket is full: who has written to it is not ready,
// and is again by itself when there is room.
func TestReadyTellsWhatTakesNothing(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.AuthGateway)
	ctx := t.Context()
	kv := open(t, b)
	send := func(id string) error {
		return Publish(ctx, b, contract.EnrolmentStarted, id, contract.EnrolmentFact{})
	}
	for _, c := range []struct {
		name, stream string
		write        func(id string) error
	}{
		{string(contract.StreamFacts), string(contract.StreamFacts), send},
		{"test", permit.BucketStream("test"), func(id string) error { _, err := kv.Create(ctx, id, note{"x"}); return err }},
	} {
		if err := c.write("a"); err != nil {
			t.Fatal(err)
		}
		if err := b.Ready(ctx); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		room(t, b, c.stream, 1)
		if err := b.Ready(ctx); err != nil {
			t.Errorf("%s, before anything was written: %v", c.name, err)
		}
		if err := c.write("b"); contract.CodeOf(err) != contract.Unavailable {
			t.Errorf("%s took what it has no room for: %v", c.name, err)
		}
		for range 2 {
			if err := b.Ready(ctx); err == nil || !strings.Contains(err.Error(), c.name+" has taken nothing for ") {
				t.Errorf("%s is full: %v", c.name, err)
			}
		}
		room(t, b, c.stream, 1<<30)
		if err := b.Ready(ctx); err != nil {
			t.Errorf("%s has room again: %v", c.name, err)
		}
	}
	// Trying again has stored the letter that was not taken, once.
	if err := send("b"); err != nil {
		t.Error(err)
	}
	if got := messages(t, b, contract.StreamFacts); got != 2 {
		t.Errorf("%d letters, want 2", got)
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
	begun := time.Now()
	if err := b.Ready(ctx); err != nil || len(b.writes.failed) != 0 {
		t.Errorf("%v after %v", err, time.Since(begun))
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

// Package bustest answers: how does a test take something away from the bus that only an operator can?
package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/contract"
)

// DeleteStream deletes a stream with all that is in it and every consumer, as an operator's mistake would, and returns
// how many messages were lost with it.
func DeleteStream(tb testing.TB, url string, name contract.Stream) (lost uint64) {
	tb.Helper()
	nc, err := nats.Connect(url, nats.Timeout(5*time.Second))
	if err != nil {
		tb.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, string(name))
	if err != nil {
		tb.Fatalf("stream %s: %v", name, err)
	}
	if err := js.DeleteStream(ctx, string(name)); err != nil {
		tb.Fatalf("delete stream %s: %v", name, err)
	}
	return s.CachedInfo().State.Msgs
}

package embedded

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func startTestNATS(tb testing.TB, dir string) *NATS {
	tb.Helper()
	n, err := StartNATS(NATSOptions{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeNATS(tb, n) })
	return n
}

func closeNATS(tb testing.TB, n *NATS) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		tb.Error(err)
	}
}

func testJetStream(tb testing.TB, n *NATS) jetstream.JetStream {
	tb.Helper()
	nc, err := nats.Connect(n.URL())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

func TestNATSKeepsStreamsOverARestart(t *testing.T) {
	dir := t.TempDir()
	n := startTestNATS(t, dir)
	if c := n.srv.JetStreamConfig(); !c.SyncAlways {
		t.Error("acknowledged messages are not synced to disk")
	}
	js := testJetStream(t, n)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.a", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.a", make([]byte, 1<<20+1)); err == nil {
		t.Error("a message of more than 1 MiB was taken")
	}
	closeNATS(t, n)

	s, err := testJetStream(t, startTestNATS(t, dir)).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), "s.a")
	if err != nil || string(m.Data) != "kept" {
		t.Errorf("after a restart: got %v, %v", m, err)
	}
}

func TestNATSRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	n := startTestNATS(t, dir)
	addr := strings.TrimPrefix(n.URL(), "nats://")
	for name, tt := range map[string]struct {
		o    NATSOptions
		want string
	}{
		"address in use":   {NATSOptions{Dir: t.TempDir(), Addr: addr}, addr},
		"directory in use": {NATSOptions{Dir: dir, Addr: "127.0.0.1:0"}, dir},
		"not loopback":     {NATSOptions{Dir: t.TempDir(), Addr: "192.0.2.1:0"}, "loopback"},
		"no directory":     {NATSOptions{Addr: "127.0.0.1:0"}, "directory"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := StartNATS(tt.o)
			if err == nil {
				closeNATS(t, n)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that names %q", err, tt.want)
			}
		})
	}
}

// BenchmarkStart measures how long NATS and the document store together take until they serve, on empty directories.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		n, err := StartNATS(NATSOptions{Dir: b.TempDir(), Addr: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		s, err := StartStore(StoreOptions{Dir: b.TempDir(), Addr: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		closeNATS(b, n)
		closeStore(b, s)
		b.StartTimer()
	}
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
)

// A server that goes takes its copies with it: whoever uses them says which server it is, and when it is whole again.
func TestTheServerThatIsAwayIsNamed(t *testing.T) {
	t.Parallel()
	servers := make([]*natsd.Server, 3)
	options := make([]*natsd.Options, len(servers))
	var routes []*url.URL
	for i := range servers {
		port := freePort(t)
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		options[i] = &natsd.Options{
			ServerName: fmt.Sprintf("nats-%d", i+1), Host: "127.0.0.1", Port: natsd.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			Cluster: natsd.ClusterOpts{Name: "ring", Host: "127.0.0.1", Port: port},
		}
	}
	var urls []string
	for i, o := range options {
		o.Routes = routes
		servers[i] = startNATS(t, o)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a server does not start")
		}
		urls = append(urls, s.ClientURL())
	}
	r := prometheus.NewRegistry()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := Connect(ctx, Options{URL: strings.Join(urls, ","), Name: contract.Policy, Replicas: len(servers), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	go b.watchCopies(newCopies(r), 100*time.Millisecond) // more often than [copiesEvery]
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	// worst is how good the worst copy of each server is, as it is told.
	worst := func() map[string]float64 {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float64)
		for _, f := range families {
			if f.GetName() != "sallyport_bus_copy_current" {
				continue
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "server" {
						if was, known := out[l.GetValue()]; !known || m.GetGauge().GetValue() < was {
							out[l.GetValue()] = m.GetGauge().GetValue()
						}
					}
				}
			}
		}
		return out
	}
	await := func(what string, want map[string]float64) {
		t.Helper()
		late := time.After(time.Minute)
		for tick := time.NewTicker(100 * time.Millisecond); fmt.Sprint(worst()) != fmt.Sprint(want); {
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("%s: %v, want %v", what, worst(), want)
			}
		}
	}
	await("all are there", map[string]float64{"nats-1": 1, "nats-2": 1, "nats-3": 1})
	gone := 0 // one that we are not connected to
	for servers[gone].ID() == b.nc.ConnectedServerId() {
		gone++
	}
	servers[gone].Shutdown()
	want := map[string]float64{"nats-1": 1, "nats-2": 1, "nats-3": 1}
	want[options[gone].ServerName] = 0
	await("one is gone", want)
	servers[gone] = startNATS(t, options[gone])
	want[options[gone].ServerName] = 1
	await("it is back", want)
}

// startNATS runs a server until the test ends.
func startNATS(t *testing.T, o *natsd.Options) *natsd.Server {
	t.Helper()
	s, err := natsd.NewServer(o.Clone())
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it has served
	return l.Addr().(*net.TCPAddr).Port
}

// What was known of a stream for which nobody answers is of no use; who is not connected knows nothing.
func TestCopiesThatNobodyAnswersFor(t *testing.T) {
	r := prometheus.NewRegistry()
	c := newCopies(r)
	told := func() (out []float64) {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				out = append(out, m.GetGauge().GetValue())
			}
		}
		return out
	}
	both := func() map[string]bool { return map[string]bool{"nats-1": true, "nats-2": true} }
	for _, step := range []struct {
		what      string
		servers   map[string]bool
		err       error
		connected bool
		want      string
	}{
		{"found", both(), nil, true, "[1 1]"},
		{"nobody leads", nil, context.DeadlineExceeded, true, "[0 0]"},
		{"nobody leads still", nil, &jetstream.APIError{Code: 503}, true, "[0 0]"},
		{"not connected", nil, nats.ErrConnectionClosed, false, "[]"},
		{"found again", both(), nil, true, "[1 1]"},
		{"they elect", nil, errElecting, true, "[0 0]"},
		{"found once more", both(), nil, true, "[1 1]"},
		{"not allowed", nil, errors.New("no"), true, "[]"},
	} {
		c.found("SALLYPORT_DEAD", step.servers, step.err, step.connected)
		if got := fmt.Sprint(told()); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
}

// Package servicetest answers: on what real parts does a test run its services?
//
// Each test gets a NATS server and a document store of its own, in this process and on disk; with MONGODB_URI set, the
// store is that MongoDB, in databases named after the test.
package servicetest

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
	"sallyport/pkg/service"
	"sallyport/pkg/store"
)

// World is a set of real parts with a clock that the test moves.
type World struct {
	NATSURL  string
	StoreURI string
	Clock    *clock.Fixed
	// Logs collects what every service logged.
	Logs *Buffer
	// Cut is set by a test that cuts connections to NATS: an answer that is sent over the next one is none that the user
	// may give, because the question came over the one before.
	Cut bool

	tb   testing.TB
	id   string
	keys map[contract.Service]string
	// passwords are those of the users of NATS: each service is its own here, as everywhere.
	passwords permit.Passwords
}

// Services lists the four services.
func Services() []contract.Service {
	return []contract.Service{contract.AuthGateway, contract.TOTP, contract.SMSDispatcher, contract.Policy}
}

// New starts the parts; they end with the test. The clock stands at the current time, cut to seconds.
func New(tb testing.TB) *World {
	tb.Helper()
	dir := tb.TempDir()
	w := &World{tb: tb, id: strings.ToLower(bus.NewID()[:10]), Logs: &Buffer{}, Clock: clock.NewFixed(time.Now().Truncate(time.Second))}
	tb.Cleanup(func() { // after everybody has stopped
		if !w.Cut && strings.Contains(w.Logs.String(), "ermissions violation") {
			tb.Error("a service did on NATS what its user may not; the log says what")
		}
	})
	log := slog.New(slog.DiscardHandler)
	var err error
	if w.passwords, err = permit.Generate(dir + "/keys"); err != nil {
		tb.Fatal(err)
	}
	nats, err := embedded.StartNATS(embedded.NATSOptions{Dir: dir + "/nats", Addr: "127.0.0.1:0", Log: log, Users: w.passwords})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { stop(tb, nats.Close) })
	w.NATSURL = nats.URL()
	if err := bus.Prepare(tb.Context(), w.as(permit.Keeper, log)); err != nil {
		tb.Fatal(err)
	}
	if w.StoreURI = os.Getenv("MONGODB_URI"); w.StoreURI == "" {
		st, err := embedded.StartStore(embedded.StoreOptions{Dir: dir + "/store", Addr: "127.0.0.1:0", Log: log})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { stop(tb, st.Close) })
		w.StoreURI = st.URI()
	}
	if w.keys, err = seal.Generate(dir+"/keys", Services(), false); err != nil {
		tb.Fatal(err)
	}
	return w
}

func stop(tb testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		tb.Errorf("stop: %v", err)
	}
}

// Env returns what a service of this world is started with; extra variables are added to it.
func (w *World) Env(name contract.Service, extra map[string]string) service.Env {
	vars := map[string]string{
		"NATS_URL": w.NATSURL, "NATS_USER": string(name), "NATS_PASSWORD": w.passwords[permit.User(name)].Reveal(),
		"MONGODB_URI": w.StoreURI, "KEYSET_FILE": w.keys[name],
		"MONGODB_DATABASE": "t_" + w.id + "_" + strings.ReplaceAll(string(name), "-", "_"),
	}
	maps.Copy(vars, extra)
	return service.Env{Vars: vars, Clock: w.Clock, Log: service.NewLog(w.Logs, slog.LevelDebug), Metrics: prometheus.NewRegistry()}
}

// Start starts a service and stops it with the test.
func (w *World) Start(name contract.Service, start service.Start, extra map[string]string) *service.Service {
	w.tb.Helper()
	svc, err := start(w.tb.Context(), w.Env(name, extra))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { stop(w.tb, svc.Stop) })
	return svc
}

// Bus connects to the bus as a service, to call others or to see their events.
func (w *World) Bus(name contract.Service) *bus.Bus {
	w.tb.Helper()
	b, err := bus.Connect(w.tb.Context(), w.as(permit.User(name), service.NewLog(w.Logs, slog.LevelDebug)))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { stop(w.tb, b.Close) })
	return b
}

// Operator connects to the bus as an operator does, to see the dead letters.
func (w *World) Operator() *bus.Bus {
	w.tb.Helper()
	return w.Bus(contract.Service(permit.Operator))
}

// as is how a user connects.
func (w *World) as(u permit.User, log *slog.Logger) bus.Options {
	return bus.Options{URL: w.NATSURL, Name: contract.Service(u), User: string(u), Password: w.passwords[u], Log: log}
}

// DB connects to the database of a service, to look at what it keeps.
func (w *World) DB(name contract.Service) *store.DB {
	w.tb.Helper()
	env := w.Env(name, nil)
	db, err := store.Connect(w.tb.Context(), store.Options{URI: w.StoreURI, Database: env.Vars["MONGODB_DATABASE"], Name: "test", Log: env.Log})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { stop(w.tb, db.Close) })
	return db
}

// Keys returns the keys of a service.
func (w *World) Keys(name contract.Service) *seal.Keys {
	w.tb.Helper()
	k, err := seal.Load(w.keys[name], name)
	if err != nil {
		w.tb.Fatal(err)
	}
	return k
}

// Rotate rotates what a service keeps its secrets under, and what all services tell each other secrets under, as an
// operator does. It returns the key under which the service kept them before; services that run see it by themselves.
func (w *World) Rotate(name contract.Service) (was uint32) {
	w.tb.Helper()
	was = w.Keys(name).Store.PrimaryKeyID()
	files, err := seal.LockFiles(w.tb.Context(), filepath.Dir(w.keys[name]), w.keys)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer files.Close() //nolint:errcheck // a lock in a directory that goes with the test
	for _, keyset := range []seal.Keyset{seal.Store, seal.Bus} {
		if _, err := files.Add(w.tb.Context(), keyset, name); err != nil {
			w.tb.Fatal(err)
		}
		if _, err := files.Use(w.tb.Context(), keyset, name, w.Clock.Now()); err != nil {
			w.tb.Fatal(err)
		}
	}
	return was
}

// Resealed waits until nothing in any document of a service is sealed under a key, and until the service says so.
func (w *World) Resealed(name contract.Service, was uint32) {
	w.tb.Helper()
	db, primary := w.DB(name), w.Keys(name).Store.PrimaryKeyID()
	Eventually(w.tb, "every value is re-sealed", func() bool {
		p, err := store.ReadResealing(w.tb.Context(), db)
		if err != nil || !p.Done(primary) {
			return false
		}
		under, err := db.SealedUnder(w.tb.Context())
		return err == nil && under[was] == 0
	})
}

// Eventually polls until ok returns true, for at most ten seconds of real time.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok() {
			return
		}
		select {
		case <-deadline:
			tb.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// Buffer collects logs from several goroutines.
type Buffer struct {
	mu  sync.Mutex
	all []byte
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, p...)
	return len(p), nil
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.all)
}

package attack

import (
	"context"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/embedded"
	"sallyport/pkg/trace/tracetest"
	"sallyport/test/sut"
)

// run is a whole life of the product on parts of the test's own, with a tap on each wire.
type run struct {
	*sut.Product
	*witness
	t          *testing.T
	bus, store *tap
	parts      string // directory of what the parts keep
	traces     *tracetest.Collector
	env        map[string]string
	commands   int
	// controls are what is no secret, or may stand where it is found, and in which outputs it must be.
	controls map[string][]string
	// session and key are a Master Admin's.
	session, key string
}

// marker is the name of a person: no secret, and found wherever people are kept or told of.
const marker = "Marguerite Marker"

// TestI8NoSecretIsLeftBehind lives through every story with the most talkative log, and then looks for each secret that
// there was, in every spelling, in everything that came out: answers, pages, logs, metrics and readiness, all that went over
// the wires to bus and store, their files, what operators' commands print, leave behind and are called with, and traces.
func TestI8NoSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	r := openRun(t)
	r.authenticators()
	r.texts()
	r.links()
	r.provider()
	r.door()
	r.slips()
	r.movers()
	r.operators()
	r.rotation()
	r.outage()
	r.refusals()
	r.Restart()
	for _, to := range []string{"admin@demo.test", "clerk@acme.test"} {
		sut.Expect(t, r.Do("POST", "/v1/sign-ins", "", map[string]string{"email": to, "password": sut.DemoPassword + "-wrong"}), 401, "invalid_credentials")
	}
	r.collect()
	r.modes()

	for _, leak := range r.h.leaks() {
		t.Error(leak)
	}
	size := 0
	for _, p := range r.h.places {
		size += len(p.text)
	}
	t.Logf("%d secrets were looked for in %d outputs of %d MB", len(r.h.known), len(r.h.places), size>>20)
	if n := len(r.h.known); n < 400 {
		t.Errorf("the run had %d secrets: some of its stories did not happen", n)
	}
	// The announcement of the demo is the one place for its password.
	if starts, n := 2, strings.Count(r.Output(), sut.DemoPassword); n != starts {
		t.Errorf("the demo's password stands in the output %d times; each of %d starts announces it once", n, starts)
	}
	// That nothing is found means something only where what is there is found.
	maps.Copy(r.controls, map[string][]string{
		marker:                    {"wire of the store", "file of the store", "answer ", "page "},
		r.lastRequest():           {"log", "wire of the bus", "traces"},
		"/v1/sign-ins/:id/verify": {"traces"},
		"sallyport_":              {"metrics"},
		"SALLYPORT_SESSIONS":      {"wire of the bus", "file of the bus"},
		"password_link_made":      {"wire of the store", "file of the store", "command "},
	})
	for value, places := range r.controls {
		seen := r.h.seen(value)
		for _, place := range places {
			if !strings.Contains("\n"+strings.Join(seen, "\n"), "\n"+place) {
				t.Errorf("the hunter does not see %q in %s; it sees it in %q", value, place, seen)
			}
		}
	}
}

func openRun(t *testing.T) *run {
	t.Helper()
	r := &run{t: t, parts: t.TempDir(), traces: tracetest.New(t), controls: make(map[string][]string)}
	r.witness = &witness{tb: t, h: newHunter()}
	// Without users, so that what operators' commands need is the same; what each may do has tests of its own.
	nats, err := embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(r.parts, "bus"), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(r.parts, "store"), Addr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = nats.Close(ctx), docs.Close(ctx) // with the test
	})
	r.bus = listenIn(t, strings.TrimPrefix(nats.URL(), "nats://"))
	host, options, _ := strings.Cut(strings.TrimPrefix(docs.URI(), "mongodb://"), "/")
	r.store = listenIn(t, host)
	r.env = map[string]string{
		"NATS_URL": "nats://" + r.bus.addr(), "MONGODB_URI": "mongodb://" + r.store.addr() + "/" + options, "LOG_LEVEL": "DEBUG",
		"OTEL_EXPORTER_OTLP_ENDPOINT": r.traces.URL, // every request is traced
		"PASSWORD_LIMIT_ACCOUNT":      "off", "PASSWORD_LIMIT_NETWORK": "off",
	}
	for _, limit := range []string{"PERSON", "NUMBER", "PREFIX", "NETWORK", "COUNTRY", "PORTAL"} {
		r.env["SMS_LIMIT_"+limit] = "off"
	}
	r.env["SMS_CONVERSION_STOP"] = "off"
	r.Product = sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(r.env)})
	r.Client = r.Watched(r.sees)
	r.h.hides("the demo's password", sut.DemoPassword, standsIn("log")) // announced
	r.keys(2)
	return r
}

// collect puts before the hunter what is not there yet: logs, metrics, wires, files, and what the inbox knows.
func (r *run) collect() {
	r.t.Helper()
	for _, m := range r.Messages("") {
		r.h.hidesGuessable("a texted code", sut.CodeIn(r.t, m.Body))
		r.phone(m.To)
	}
	r.h.puts("metrics", true, r.Metrics())
	args := 0
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, path := range lines {
		if raw, err := os.ReadFile(path); err == nil && strings.Contains(string(raw), r.Data) { // others come and go
			r.h.puts("arguments of the product", false, string(raw))
			args++
		}
	}
	if args == 0 && len(lines) > 0 {
		r.t.Error("the arguments of the product are not seen")
	}
	r.Stop() // everything is on disk now
	r.h.puts("log", false, r.Output())
	r.h.puts("traces", true, string(r.traces.Raw()))
	r.h.puts("wire of the bus", true, r.bus.heard())
	r.h.puts("wire of the store", true, r.store.heard())
	var keys []string
	for _, name := range sut.Services {
		keys = append(keys, filepath.Join(r.Data, "keys", name+".json"))
	}
	files := r.h.putsFiles(r.t, filepath.Join(r.parts, "bus"), "file of the bus: ") +
		r.h.putsFiles(r.t, filepath.Join(r.parts, "store"), "file of the store: ") +
		r.h.putsFiles(r.t, r.Data, "file of the data directory: ", keys...)
	if files < 10 {
		r.t.Errorf("only %d files of data were found", files)
	}
}

// putsFiles notes each file of a directory, but for those that hold keys, and returns how many there are.
func (h *hunter) putsFiles(tb testing.TB, dir, name string, keys ...string) (files int) {
	tb.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.Contains(keys, path) {
			return err
		}
		raw, err := os.ReadFile(path)
		h.puts(name+strings.TrimPrefix(path, dir), true, string(raw))
		files++
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return files
}

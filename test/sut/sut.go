// Package sut answers: how does a test run the product and speak to it, as its users do?
//
// It builds the shipped commands and starts them as processes of their own, on free loopback ports and a data
// directory of the test. [Start] runs everything in one process (`sallyport up`), [StartSplit] the embedded parts and
// the four services apart. A [Product] is spoken to through [Client] and [Sandbox], which know the public HTTP
// interface only: nothing here imports a service.
package sut

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// readyWithin is how long a start may take on a busy machine.
	readyWithin = 90 * time.Second
	// stopWithin is what the product promises for SIGTERM.
	stopWithin = 10 * time.Second
)

// DemoPassword is the password of every account of the demo.
const DemoPassword = "open-sesame-demo"

// Options say how a product is started.
type Options struct {
	// Demo adds the demo portal and the clock that can be moved.
	Demo bool
	// Env is the whole environment but for PATH, HOME and TMPDIR.
	Env map[string]string
	// Data is the data directory; a new one if empty.
	Data string
	// Args are added to the command line.
	Args []string
}

// Product is `sallyport up` as a process. Its methods fail the test they belong to, and are not for other goroutines
// unless they say so.
type Product struct {
	*Client
	*Sandbox
	// Base is the URL of pages and JSON API, Ops that of readiness and metrics.
	Base, Ops string
	// SandboxURL is the URL of the embedded SNS endpoint with its inbox and clock.
	SandboxURL string
	// Data is the data directory.
	Data string

	tb      testing.TB
	options Options
	ports   ports
	*run
}

// run is what changes while a product is used; every view of it has the same one.
type run struct {
	mu      sync.Mutex
	process *Process
	past    string           // output of processes that ended
	spent   map[string]int64 // the last time step used, by key
}

// StoreURI is where the product keeps its documents, for what an operator does there.
func (p *Product) StoreURI() string { return "mongodb://" + p.ports.store }

// Start runs `sallyport up` until the test ends, and returns when it is ready. That it stops in time and in order on
// SIGTERM is checked in every test.
func Start(tb testing.TB, o Options) *Product {
	tb.Helper()
	if o.Data == "" {
		o.Data = filepath.Join(tb.TempDir(), "data")
	}
	p := &Product{tb: tb, options: o, Data: o.Data, run: &run{spent: make(map[string]int64)}}
	for attempt := 1; ; attempt++ {
		p.ports = freePorts(tb)
		p.Base, p.Ops, p.SandboxURL = "http://"+p.ports.listen, "http://"+p.ports.ops, "http://"+p.ports.sandbox
		err := p.launch()
		if err == nil {
			break
		}
		// Between looking for a free port and using it, another process may have taken it.
		if attempt == 3 || !portTaken(p.process.Output()) {
			tb.Fatalf("sallyport up: %v\n%s", err, p.process.Output())
		}
	}
	p.Client, p.Sandbox = NewClient(tb, p.Base), NewSandbox(tb, p.SandboxURL)
	tb.Cleanup(func() {
		if p.process != nil {
			p.Stop()
		}
		if tb.Failed() {
			tb.Logf("output of the product:\n%s", tail(p.Output()))
		}
	})
	return p
}

// For returns the product as a subtest uses it: what fails, fails there.
func (p *Product) For(tb testing.TB) *Product {
	view := *p
	view.tb = tb
	view.Client, view.Sandbox = &Client{tb: tb, base: p.Base, http: p.http}, &Sandbox{tb, &Client{tb: tb, base: p.SandboxURL, http: p.c.http}}
	return &view
}

func (p *Product) launch() error {
	args := append([]string{"up"}, p.ports.flags(p.Data)...)
	if p.options.Demo {
		args = append(args, "--demo")
	}
	p.process = begin(p.tb, "sallyport", p.options.Env, append(args, p.options.Args...)...)
	return p.process.ready(p.Ops)
}

// end takes leave of a process that has ended.
func (p *Product) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past += p.process.Output()
	p.process = nil
}

// Stop ends the product by SIGTERM and fails the test unless it obeys within ten seconds, with status 0.
func (p *Product) Stop() {
	p.tb.Helper()
	p.process.Terminate()
	p.end()
}

// Kill9 ends the product as a crash does. Usable from any goroutine.
func (p *Product) Kill9() {
	p.process.Kill9()
	p.end()
}

// Resume starts a stopped or killed product again, on the same data and ports.
func (p *Product) Resume() {
	p.tb.Helper()
	if err := p.launch(); err != nil {
		p.tb.Fatalf("sallyport up, again: %v\n%s", err, p.process.Output())
	}
}

// Restart stops the product in order and starts it again.
func (p *Product) Restart() {
	p.tb.Helper()
	p.Stop()
	p.Resume()
}

// Output is all that the product has written to stdout and stderr, over restarts.
func (p *Product) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return p.past
	}
	return p.past + p.process.Output()
}

// Memory is how much of the machine's the product holds now, in bytes.
func (p *Product) Memory() int64 {
	p.tb.Helper()
	return p.held("VmRSS")
}

// PeakMemory is the most that the product's process has held since it began, in bytes: the kernel keeps that itself, and
// misses nothing between two looks.
func (p *Product) PeakMemory() int64 {
	p.tb.Helper()
	return p.held("VmHWM")
}

// held reads one of the amounts of memory that the kernel tells of the product's process.
func (p *Product) held(what string) int64 {
	p.tb.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.PID()))
	if err != nil {
		p.tb.Fatal(err)
	}
	var kib int64
	for line := range strings.Lines(string(raw)) {
		if _, err := fmt.Sscanf(line, what+": %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	p.tb.Skip("this system does not tell how much memory a process holds")
	return 0
}

// Metrics is the text of /metrics.
func (p *Product) Metrics() string {
	p.tb.Helper()
	a := NewClient(p.tb, p.Ops).Do(http.MethodGet, "/metrics", "", nil)
	if a.Status != http.StatusOK {
		p.tb.Fatalf("/metrics: status %d", a.Status)
	}
	return string(a.Body)
}

// Fast is an environment in which the product's own password hashes cost little. Those of the demo's accounts carry
// their own cost.
func Fast(more map[string]string) map[string]string {
	env := map[string]string{"ARGON2_MEMORY_KIB": "64", "ARGON2_ITERATIONS": "1"}
	maps.Copy(env, more)
	return env
}

// Eventually polls until ok returns true; it fails the test after the given real time.
func Eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	if !poll(within, ok) {
		tb.Fatalf("did not happen within %v: %s", within, what)
	}
}

func poll(within time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-deadline.C:
			return false
		case <-tick.C:
		}
	}
}

// tail is the end of a long text.
func tail(s string) string {
	const most = 8 << 10
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

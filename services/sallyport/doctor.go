package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sallyport/pkg/config"
)

// doctorCommand is `sallyport doctor`.
type doctorCommand struct {
	site
	Listen  string   `help:"Pages and JSON API, as given to sallyport up." default:"127.0.0.1:8080"`
	Ops     []string `help:"Ops listeners of the services that run." default:"127.0.0.1:9090"`
	NATS    string   `name:"nats" help:"Embedded NATS. NATS_URL replaces it." default:"127.0.0.1:4222"`
	Sandbox string   `help:"Embedded SNS endpoint. AWS_ENDPOINT_URL_SNS replaces it." default:"127.0.0.1:8025"`
	JSON    bool     `name:"json" help:"Print the findings as JSON."`
}

// Help is the long help.
func (*doctorCommand) Help() string {
	return "Looks at settings, key files, document store, NATS, SNS, services, clocks, portals, audit log and disk, and says of each what is wrong and what to do. " +
		"It takes its settings from the flags and from the environment, as the services do, leaves nothing behind, and needs nothing to run. Status 1 if a check fails."
}

// status is the outcome of a check.
type status string

const (
	statusOK   status = "ok"
	statusWarn status = "warn"
	statusFail status = "fail"
)

// finding is what one check says: one sentence, and what to do about it.
type finding struct {
	Check  string `json:"check"`
	Status status `json:"status"`
	Says   string `json:"says"`
	Remedy string `json:"remedy,omitempty"`
}

// findings are those of one check.
type findings struct {
	check string
	list  []finding
}

func (f *findings) ok(format string, args ...any) {
	f.list = append(f.list, finding{Check: f.check, Status: statusOK, Says: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(remedy, format string, args ...any) {
	f.list = append(f.list, finding{f.check, statusWarn, fmt.Sprintf(format, args...), remedy})
}

func (f *findings) fail(remedy, format string, args ...any) {
	f.list = append(f.list, finding{f.check, statusFail, fmt.Sprintf(format, args...), remedy})
}

// clean is true while nothing but good was found.
func (f *findings) clean() bool {
	return !slices.ContainsFunc(f.list, func(one finding) bool { return one.Status != statusOK })
}

// doctorBound is how long all checks together may take.
const doctorBound = 20 * time.Second

// Run prints what was found.
func (c *doctorCommand) Run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	ctx, done := context.WithTimeout(ctx, doctorBound)
	defer done()
	found := c.examine(ctx, config.Environ())
	failed := 0
	for _, f := range found {
		if f.Status == statusFail {
			failed++
		}
	}
	if c.JSON {
		if err := printJSON(struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{failed == 0, found}); err != nil {
			return err
		}
	} else {
		printFindings(os.Stdout, found)
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("one check failed")
	default:
		return fmt.Errorf("%d checks failed", failed)
	}
}

// printFindings writes them for a person.
func printFindings(w io.Writer, all []finding) {
	width := 0
	for _, f := range all {
		width = max(width, len(f.Check))
	}
	for _, f := range all {
		fmt.Fprintf(w, "%-4s  %-*s  %s\n", strings.ToUpper(string(f.Status)), width, f.Check, f.Says)
		if f.Remedy != "" {
			fmt.Fprintf(w, "%-4s  %-*s  → %s\n", "", width, "", f.Remedy)
		}
	}
}

// examine does every check, those that wait for somebody side by side, and returns what they found in a fixed order.
func (c *doctorCommand) examine(ctx context.Context, environ map[string]string) []finding {
	e := c.examiner(environ)
	checks := []func(context.Context) []findings{
		e.settings, e.keyFiles, e.documents, e.bus, e.texts, e.services, e.disk,
	}
	results := make([][]findings, len(checks))
	var wg sync.WaitGroup
	for n, check := range checks {
		wg.Go(func() { results[n] = check(ctx) })
	}
	wg.Wait()
	var out []finding
	for _, r := range results {
		for _, f := range r {
			out = append(out, f.list...)
		}
	}
	return out
}

// Command bench answers: how fast is Sallyport, beside what its parts can do without it?
//
// It builds the product, fills installations with people, drives them over HTTP from this process and measures, in the
// same run on the same machine, what the same parts do alone: the floor of each figure. Progress goes to standard
// error, each figure as a line of Go's benchmark format to standard output (benchstat compares two such files), and
// with -o the report of docs/performance.md to a file.
//
//	go run ./test/bench -o docs/performance.md      the whole of it, about seven minutes
//	go run ./test/bench -only sessions              one part of it
//	go run ./test/bench -only capacity -capacity docs/capacity.md
//	                                                what things cost, for a plan; in no other run (four minutes)
//	go run ./test/bench -profile /tmp/p             CPU profiles of the hot paths, with everything in this process
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	out := flag.String("o", "", "write the report to this `file`")
	only := flag.String("only", "", "measure only these `parts` of: start, sizes, console, verifications, sessions, whole, texts, scaling, floors; or capacity")
	tables := flag.String("capacity", "", "write what capacity measures between the marks of this `file`")
	profiles := flag.String("profile", "", "write CPU profiles into this `directory` and measure nothing")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx, *out, *only, *profiles, *tables); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, only, profiles, tables string) (err error) {
	dir, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{dir: dir, report: newReport()}
	defer func() { err = errors.Join(b.close(), err) }()
	if profiles != "" {
		return b.profile(ctx, profiles)
	}
	if err := b.prepare(); err != nil {
		return err
	}
	b.report.header(os.Stdout)
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"start", b.start},
		{"sizes", b.sizes},
		{"console", b.console},
		{"verifications", b.verifications},
		{"sessions", b.sessions},
		{"whole", b.signIns},
		{"texts", b.texts},
		{"scaling", b.scaling},
		{"floors", b.floors},
		{partCapacity, b.capacity},
	} {
		if only == "" && part.name == partCapacity || only != "" && !strings.Contains(","+only+",", ","+part.name+",") {
			continue
		}
		progress("%s", part.name)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	progress("done")
	if tables != "" && len(b.report.Capacity.Operations) > 0 {
		if err := between(tables, b.report.capacityTables()); err != nil {
			return err
		}
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(b.report.markdown()), 0o644)
}

var launched = time.Now()

// progress tells who watches what goes on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(launched).Seconds(), fmt.Sprintf(format, args...))
}

// bench is one run.
type bench struct {
	dir       string
	sallyport string // the binaries
	yardstick string
	report    *report

	// What parts leave running for others, made when first wanted.
	middle *product
	lab    *lab
	people func() (user, error) // of the middle installation, with a minimal hash
	costly func() (user, error) // and with production's
	open   []string             // tokens of sessions
	stops  []func() error
}

// The installations. The middle one serves for everything but the comparison of sizes.
var (
	small  = crowd{apps: 100}
	middle = crowd{apps: 10_000, costly: 1_200, contacts: 700}
	large  = crowd{apps: 100_000}
)

// every n-th person of an installation is kept for the comparison of sizes, a hundred of each.
func (c crowd) compared() []user {
	var out []user
	for n := 0; n < c.apps; n += c.apps / 100 {
		out = append(out, user{n: n})
	}
	return out
}

// prepare builds what is run.
func (b *bench) prepare() error {
	progress("building")
	b.sallyport, b.yardstick = filepath.Join(b.dir, "sallyport"), filepath.Join(b.dir, "yardstick")
	return errors.Join(build("./services/sallyport", b.sallyport), build("./test/bench/testdata/yardstick", b.yardstick))
}

// installation makes an installation once and returns its directory.
func (b *bench) installation(name string, c crowd) (string, error) {
	dir := filepath.Join(b.dir, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	progress("enrolling %d people", c.apps+c.contacts)
	return dir, makeInstallation(dir, c)
}

// product is the middle installation, running.
func (b *bench) product(ctx context.Context) (*product, error) {
	if b.middle != nil {
		return b.middle, nil
	}
	dir, err := b.installation("middle", middle)
	if err != nil {
		return nil, err
	}
	// The lab's documents are a copy of the installation's, which must be made while nobody changes them.
	if b.lab, err = openLab(ctx, filepath.Join(b.dir, "lab"), dir); err != nil {
		return nil, err
	}
	if b.middle, err = startProduct(ctx, b.sallyport, dir); err != nil {
		return nil, err
	}
	var people, costly []user
	for n := range middle.apps {
		switch u := (user{n: n}); {
		case n%(middle.apps/100) == 0: // see compared
		case n < middle.apps-middle.costly:
			people = append(people, u)
		default:
			costly = append(costly, u)
		}
	}
	b.people, b.costly = queueOf(people), queueOf(costly)
	return b.middle, nil
}

func (b *bench) close() error {
	var errs []error
	for _, stop := range b.stops {
		errs = append(errs, stop())
	}
	if b.middle != nil {
		errs = append(errs, b.middle.stop())
	}
	if b.lab != nil {
		errs = append(errs, b.lab.close())
	}
	return errors.Join(errs...)
}

// take is the next n of a queue.
func take(n int, queue func() (user, error)) ([]user, error) {
	var out []user
	for range n {
		u, err := queue()
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}

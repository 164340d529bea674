// Command mutate answers: would a test notice if this guard were gone?
//
// Each guard of the list (guards.go) is one condition that Sallyport's promises rest on. This command takes it out of the
// source, one at a time, and runs the test that is named for it: the test must fail. The tree is not touched: Go builds
// with an overlay, and the binaries that a test builds itself are built with it, too.
//
//	go run ./test/mutate                     all guards; status 1 if one is not missed
//	go run ./test/mutate -only 'sms'         those whose name matches
//	go run ./test/mutate -list               what there is, as the table of docs/security.md
//	go run ./test/mutate -list -o docs/security.md    puts that table there
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	only := flag.String("only", "", "take out only the guards whose name matches this `pattern`")
	list := flag.Bool("list", false, "print the table of guards, or write it with -o, and take none out")
	out := flag.String("o", "", "write the table, with what was not missed, between the marks of this `file`")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx, *only, *list, *out); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, list bool, out string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if only != "" && out != "" {
		return errors.New("-o writes the table of all guards, and -only takes out some: give one of them")
	}
	top, err := root()
	if err != nil {
		return err
	}
	if list && out != "" {
		return insert(filepath.Join(top, out), table(nil))
	}
	if list {
		fmt.Print(table(nil))
		return nil
	}
	results := make(map[string]result)
	survivors := 0
	for _, g := range guards {
		if !pattern.MatchString(g.Name) {
			continue
		}
		r, err := takeOut(ctx, top, g)
		if err != nil {
			return fmt.Errorf("%s: %w", g.Name, err)
		}
		results[g.Name] = r
		fmt.Printf("%-9s %5.1fs  %-34s %s\n", r.became, r.took.Seconds(), g.Name, g.Test)
		if r.became != missed {
			survivors++
			fmt.Println(indent(r.output))
		}
	}
	if len(results) == 0 {
		return fmt.Errorf("no guard's name matches %q", only)
	}
	if out != "" {
		if err := insert(filepath.Join(top, out), table(results)); err != nil {
			return err
		}
	}
	if survivors > 0 {
		return fmt.Errorf("%d of %d guards are not missed", survivors, len(results))
	}
	fmt.Printf("%d guards taken out one by one, each was missed by its test\n", len(results))
	return nil
}

// What became of a test without its guard.
const (
	missed   = "missed"   // it failed, as it must
	survived = "SURVIVED" // it passed: nobody would notice
	unbuilt  = "UNBUILT"  // the product does not build or start without it, so nothing is known
	broken   = "BROKEN"   // the test fails with the guard, too
)

type result struct {
	became string
	took   time.Duration
	output string
}

// testPatience bounds one test; one that hangs without its guard has noticed.
const testPatience = 4 * time.Minute

// sound are the tests that pass while nothing is taken out: without that a failure says nothing.
var sound = map[string]bool{}

// whole runs a guard's test with the guard.
func whole(ctx context.Context, top string, g guard) (result, bool) {
	key := g.Package + " " + g.Test
	if sound[key] {
		return result{}, true
	}
	r, err := test(ctx, top, g, os.Getenv("GOFLAGS"))
	sound[key] = err == nil
	r.became = broken
	return r, sound[key]
}

// test runs the test of a guard.
func test(ctx context.Context, top string, g guard, flags string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, testPatience+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-timeout="+testPatience.String(), "-run", "^("+g.Test+")$", g.Package)
	cmd.Dir = top
	// Through the environment it reaches the builds of the test, too.
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(flags))
	began := time.Now()
	output, err := cmd.CombinedOutput()
	return result{took: time.Since(began), output: string(output)}, err
}

// build compiles the package of a guard as it is without it. Tests that build the product themselves would fail for a
// change that does not compile, and look as if they had missed the guard.
func build(ctx context.Context, top string, g guard, flags string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", os.DevNull, "./"+filepath.Dir(g.File))
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(flags))
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// nothingRan is what a failed test says that never came to look: the product did not build, or did not start.
var nothingRan = []string{"[build failed]", "[setup failed]", "go build ", "did not become ready"}

// takeOut runs a guard's test without the guard.
func takeOut(ctx context.Context, top string, g guard) (result, error) {
	file := filepath.Join(top, g.File)
	source, err := os.ReadFile(file)
	if err != nil {
		return result{}, err
	}
	changed, err := g.apply(string(source))
	if err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp("", "sallyport-mutate-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	replaced, overlay := filepath.Join(dir, filepath.Base(g.File)), filepath.Join(dir, "overlay.json")
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {file: replaced}})
	if err != nil {
		return result{}, err
	}
	if err := errors.Join(os.WriteFile(replaced, []byte(changed), 0o600), os.WriteFile(overlay, raw, 0o600)); err != nil {
		return result{}, err
	}
	if r, ok := whole(ctx, top, g); !ok {
		return r, ctx.Err()
	}
	flags := os.Getenv("GOFLAGS") + " -overlay=" + overlay
	if output, err := build(ctx, top, g, flags); err != nil {
		return result{became: unbuilt, output: output}, ctx.Err()
	}
	r, err := test(ctx, top, g, flags)
	switch {
	case err != nil && slices.ContainsFunc(nothingRan, func(said string) bool { return strings.Contains(r.output, said) }), strings.Contains(r.output, "no tests to run"):
		r.became = unbuilt
	case err == nil || len(passed(g.Test, r.output)) > 0:
		r.became = survived
		r.output = "passed without the guard: " + strings.Join(passed(g.Test, r.output), ", ") + "\n" + r.output
	default:
		r.became = missed
	}
	return r, ctx.Err()
}

// passed are the tests of a guard, an expression of names, that did not fail: each that is named has to, one is not enough. One
// that was stopped, or had not come up, when another hung or ended the process is not among them: of it nothing is known.
func passed(tests, output string) []string {
	var out []string
	for _, name := range strings.Split(tests, "|") {
		if strings.Contains(output, "--- PASS: "+name+" ") {
			out = append(out, name)
		}
	}
	return out
}

// root is the top of the workspace.
func root() (string, error) {
	out, err := exec.Command("go", "env", "GOWORK").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" {
		return "", fmt.Errorf("go env GOWORK: %q, %w", file, err)
	}
	return filepath.Dir(file), nil
}

func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	const last = 15
	return "    " + strings.Join(lines[max(0, len(lines)-last):], "\n    ")
}

// table is the list for readers.
func table(results map[string]result) string {
	var b strings.Builder
	b.WriteString("| guard | what it keeps | in | missed by |\n|---|---|---|---|\n")
	for _, g := range guards {
		note := ""
		if r, ok := results[g.Name]; ok && r.became != missed {
			note = " (" + r.became + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | `%s`%s |\n", g.Name, g.Keeps, g.File, strings.ReplaceAll(g.Test, "|", "`, `"), note)
	}
	return b.String()
}

// The table stands between these lines of its file.
const (
	beginMark = "<!-- guards: begin -->\n"
	endMark   = "<!-- guards: end -->"
)

func insert(file, text string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(raw), beginMark)
	_, tail, ends := strings.Cut(rest, endMark)
	if !ok || !ends {
		return fmt.Errorf("%s: the marks of the table are missing", file)
	}
	return os.WriteFile(file, []byte(head+beginMark+text+endMark+tail), 0o644)
}

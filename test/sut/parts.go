package sut

import (
	"path/filepath"
	"regexp"
	"testing"
)

// Parts is `sallyport infra` alone, for tests that start services of their own beside it, as many as they like.
type Parts struct {
	*Process
	// Env is what every service needs to find the parts; Keys holds the key file of each service.
	Env, Keys map[string]string
	// Data is the data directory.
	Data string
}

// StartParts starts the embedded parts until the test ends. Begin services after it with [Service]: what a test starts
// last is ended first.
func StartParts(tb testing.TB) *Parts {
	tb.Helper()
	return StartPartsBeside(tb, filepath.Join(tb.TempDir(), "data"), nil)
}

// StartPartsBeside is [StartParts] on a data directory, beside parts of the test's own: what env names is not started.
func StartPartsBeside(tb testing.TB, data string, env map[string]string) *Parts {
	tb.Helper()
	p := &Parts{Data: data, Process: begin(tb, "sallyport", env, append([]string{"infra"}, freePorts(tb).flags(data)...)...)}
	tb.Cleanup(func() {
		if p.Running() {
			p.Terminate()
		}
	})
	p.Env, p.Keys = p.said(tb)
	return p
}

// Service starts a service whose OPS_ADDR is in env, and returns when it is ready. It is killed at the end of the test,
// if it still runs.
func Service(tb testing.TB, name string, env map[string]string) (*Process, error) {
	tb.Helper()
	p := Run(tb, name, env)
	return p, p.ready("http://" + env["OPS_ADDR"])
}

// printed is the last line of what `sallyport infra` says.
var printed = regexp.MustCompile(`(?m)^# policy-svc\s+KEYSET_FILE=`)

// said waits until `sallyport infra` has said what the services need, and reads it.
func (p *Process) said(tb testing.TB) (env, keys map[string]string) {
	tb.Helper()
	if !poll(readyWithin, func() bool { return !p.Running() || printed.MatchString(p.Stdout()) }) || !p.Running() {
		tb.Fatalf("sallyport infra did not start:\n%s", p.Output())
	}
	env, keys = map[string]string{}, map[string]string{}
	for _, export := range regexp.MustCompile(`(?m)^export (\w+)='([^']*)'$`).FindAllStringSubmatch(p.Stdout(), -1) {
		env[export[1]] = export[2]
	}
	for _, key := range regexp.MustCompile(`(?m)^# (\S+)\s+KEYSET_FILE=(.+)$`).FindAllStringSubmatch(p.Stdout(), -1) {
		keys[key[1]] = key[2]
	}
	if len(env) == 0 || len(keys) != len(Services) {
		tb.Fatalf("sallyport infra does not say what the services need:\n%s", p.Output())
	}
	return env, keys
}

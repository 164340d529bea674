package sut

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

// commandWithin is how long an operator's command may take on a busy machine.
const commandWithin = 60 * time.Second

// Operate runs one of the operator's commands on this product's data, whether it runs or not, and returns it when it
// has ended, which must be with the given status.
func (p *Product) Operate(status int, args ...string) *Process {
	p.tb.Helper()
	env := map[string]string{"PUBLIC_URL": p.Base}
	maps.Copy(env, p.options.Env)
	return operate(p.tb, status, env, append(args, "--data="+p.Data, "--store="+p.ports.store)...)
}

// OperateBus is [Product.Operate] for the commands that work on the messages instead of the documents.
func (p *Product) OperateBus(status int, args ...string) *Process {
	p.tb.Helper()
	return operate(p.tb, status, nil, append(args, "--data="+p.Data, "--nats="+p.ports.nats)...)
}

// Operate is [Product.Operate] of a split product.
func (s *Split) Operate(status int, args ...string) *Process {
	s.tb.Helper()
	return operate(s.tb, status, map[string]string{"PUBLIC_URL": s.Base}, append(args, "--data="+s.Data, "--store="+s.ports.store)...)
}

func operate(tb testing.TB, status int, env map[string]string, args ...string) *Process {
	tb.Helper()
	c := Run(tb, "sallyport", env, args...)
	if got := c.Exit(commandWithin); got != status {
		tb.Fatalf("sallyport %s: status %d, want %d\n%s", strings.Join(args, " "), got, status, c.Output())
	}
	return c
}

// Finding is what a check of `sallyport doctor` says.
type Finding struct {
	Check, Status, Says, Remedy string
}

// Doctor runs `sallyport doctor` on this product; more goes into its environment.
func (p *Product) Doctor(status int, more map[string]string, args ...string) []Finding {
	p.tb.Helper()
	env := map[string]string{}
	maps.Copy(env, p.options.Env)
	maps.Copy(env, more)
	flags := append(p.ports.flags(p.Data), args...)
	return diagnosis(p.tb, operate(p.tb, status, env, append([]string{"doctor", "--json"}, flags...)...))
}

// Doctor runs `sallyport doctor` on this product, with the settings of one of its services.
func (s *Split) Doctor(status int, more map[string]string, args ...string) []Finding {
	s.tb.Helper()
	env := s.Env("auth-gateway")
	maps.Copy(env, more)
	var ops []string
	for _, place := range s.Places {
		ops = append(ops, strings.TrimPrefix(s.ops[place], "http://"))
	}
	flags := append([]string{"doctor", "--json", "--data=" + s.Data, "--ops=" + strings.Join(ops, ",")}, args...)
	return diagnosis(s.tb, operate(s.tb, status, env, flags...))
}

func diagnosis(tb testing.TB, c *Process) []Finding {
	tb.Helper()
	var out struct{ Findings []Finding }
	if err := json.Unmarshal([]byte(c.Stdout()), &out); err != nil || len(out.Findings) == 0 {
		tb.Fatalf("sallyport doctor --json: %v\n%s", err, c.Output())
	}
	return out.Findings
}

// StoreAddr is where the embedded document store listens.
func (p *Product) StoreAddr() string { return p.ports.store }

// NATSAddr is where the embedded NATS listens.
func (p *Product) NATSAddr() string { return p.ports.nats }

package sut

import (
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// Services are the four, in the order in which [StartSplit] starts them.
var Services = []string{"totp-svc", "sms-dispatcher", "policy-svc", "auth-gateway"}

// Split is the product as five processes: `sallyport infra` and the four services. Its clock is the host's.
type Split struct {
	*Client
	*Sandbox
	// Base is the URL of pages and JSON API.
	Base string
	// Data is the data directory.
	Data string
	// Service holds the process of each service, Infra that of the embedded parts.
	Service map[string]*Process
	Infra   *Process

	tb    testing.TB
	ports ports
	env   map[string]map[string]string
	ops   map[string]string
	past  string // output of processes that were replaced
}

// SplitOptions say how a split product is started.
type SplitOptions struct {
	// Demo adds the demo's accounts, by a short life of `sallyport up --demo` on the same data.
	Demo bool
	// Env is added to the environment of every service.
	Env map[string]string
	// Wire, if any, changes the environment of one service before it is started: to put something between it and a part.
	Wire func(service string, env map[string]string)
}

// StartSplit starts the parts and the services until the test ends, and returns when all are ready.
func StartSplit(tb testing.TB, o SplitOptions) *Split {
	tb.Helper()
	s := &Split{
		tb: tb, Data: filepath.Join(tb.TempDir(), "data"), Service: make(map[string]*Process),
		env: make(map[string]map[string]string), ops: make(map[string]string),
	}
	if o.Demo {
		Start(tb, Options{Demo: true, Data: s.Data, Env: o.Env}).Stop()
	}
	s.ports = freePorts(tb)
	tb.Cleanup(s.end)
	s.StartInfra()
	common, keys := s.Infra.said(tb)
	users := make(map[string]map[string]string)
	for _, user := range regexp.MustCompile(`(?m)^# (\S+)\s+NATS_USER=(\S+) NATS_PASSWORD_FILE=(.+)$`).FindAllStringSubmatch(s.Infra.Stdout(), -1) {
		users[user[1]] = map[string]string{"NATS_USER": user[2], "NATS_PASSWORD_FILE": user[3]}
	}
	if len(users) != len(Services) {
		tb.Fatalf("sallyport infra does not say who the services are on NATS:\n%s", s.Infra.Output())
	}
	s.Base = "http://" + s.ports.listen
	addrs := FreeAddrs(tb, len(Services))
	for n, name := range Services {
		env := maps.Clone(common)
		maps.Copy(env, map[string]string{
			"KEYSET_FILE": keys[name], "OPS_ADDR": addrs[n], "LISTEN_ADDR": s.ports.listen, "PUBLIC_URL": s.Base, "SMS_COUNTRIES": "US,CA,GB",
		})
		maps.Copy(env, users[name])
		maps.Copy(env, o.Env)
		if o.Wire != nil {
			o.Wire(name, env)
		}
		s.env[name], s.ops[name] = env, "http://"+addrs[n]
	}
	for _, name := range Services {
		s.StartService(name)
	}
	s.Client, s.Sandbox = NewClient(tb, s.Base), NewSandbox(tb, "http://"+s.ports.sandbox)
	return s
}

// end stops what still runs: the services first, because they say goodbye to the parts.
func (s *Split) end() {
	for i := len(Services) - 1; i >= 0; i-- {
		if p := s.Service[Services[i]]; p != nil && p.Running() {
			p.Terminate()
		}
	}
	if s.Infra != nil && s.Infra.Running() {
		s.Infra.Terminate()
	}
	if s.tb.Failed() {
		s.tb.Logf("output of the product:\n%s", tail(s.Output()))
	}
}

// StartInfra starts the embedded parts, for the first time or again.
func (s *Split) StartInfra() {
	s.tb.Helper()
	if s.Infra != nil {
		s.past += s.Infra.Output()
	}
	s.Infra = begin(s.tb, "sallyport", nil, append([]string{"infra"}, s.ports.flags(s.Data)...)...)
	s.Infra.said(s.tb)
}

// StartService starts one service, for the first time or again, and waits until it is ready.
func (s *Split) StartService(name string) {
	s.tb.Helper()
	if p := s.Service[name]; p != nil {
		s.past += p.Output()
	}
	s.Service[name] = begin(s.tb, name, s.env[name])
	if err := s.Service[name].ready(s.ops[name]); err != nil {
		s.tb.Fatalf("%s: %v\n%s", name, err, s.Service[name].Output())
	}
}

// Env is the environment of a service.
func (s *Split) Env(name string) map[string]string { return maps.Clone(s.env[name]) }

// OpsURL is the ops listener of a service.
func (s *Split) OpsURL(name string) string { return s.ops[name] }

// Ready asks a service whether it is ready now.
func (s *Split) Ready(name string) bool { return Ready(s.ops[name]) }

// Metrics is the text of a service's /metrics.
func (s *Split) Metrics(name string) string {
	s.tb.Helper()
	a := NewClient(s.tb, s.ops[name]).Do(http.MethodGet, "/metrics", "", nil)
	if a.Status != http.StatusOK {
		s.tb.Fatalf("%s: /metrics: status %d", name, a.Status)
	}
	return string(a.Body)
}

// Output is what all processes have written.
func (s *Split) Output() string {
	out := s.past + s.Infra.Output()
	for _, name := range Services {
		if p := s.Service[name]; p != nil {
			out += p.Output()
		}
	}
	return out
}

// SignInSMS signs a contact in who has confirmed a number, and returns the token of the session.
func (s *Split) SignInSMS(email, phone string) string {
	s.tb.Helper()
	return (&Product{Client: s.Client, Sandbox: s.Sandbox, tb: s.tb}).SignInSMS(email, phone)
}

// EnrolSMS confirms a number for a contact.
func (s *Split) EnrolSMS(email, phone string) {
	s.tb.Helper()
	(&Product{Client: s.Client, Sandbox: s.Sandbox, tb: s.tb}).EnrolSMS(email, phone)
}

// Patience is what a person waits at most for the news that a part is missing.
const Patience = 3 * time.Second

package sut

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// Services are the four, in the order in which [StartSplit] starts them.
var Services = []string{"totp-svc", "sms-dispatcher", "policy-svc", "auth-gateway"}

// Split is the product as separate processes: `sallyport infra`, and each of the four services once or more often. Its
// clock is the host's. A place is where one process of a service runs: the first has the service's name, further ones
// a number after it ("totp-svc-2"), with settings and ops listener of their own.
type Split struct {
	*Client
	*Sandbox
	// Base is the URL of pages and JSON API, at the first gateway; Bases has that of each gateway.
	Base  string
	Bases []string
	// Data is the data directory.
	Data string
	// Places are all of them, in the order in which they are started.
	Places []string
	// Service holds the process at each place, Infra that of the embedded parts.
	Service map[string]*Process
	Infra   *Process

	tb     testing.TB
	ports  ports
	binary map[string]string
	env    map[string]map[string]string
	ops    map[string]string
	past   string // output of processes that were replaced
}

// SplitOptions say how a split product is started.
type SplitOptions struct {
	// Demo adds the demo's accounts, by a short life of `sallyport up --demo` on the same data.
	Demo bool
	// Env is added to the environment of every service.
	Env map[string]string
	// Replicas is how often each service runs; once if zero.
	Replicas int
	// Wire, if any, changes the environment of one service before it is started: to put something between it and a part.
	Wire func(service string, env map[string]string)
}

// StartSplit starts the parts and the services until the test ends, and returns when all are ready.
func StartSplit(tb testing.TB, o SplitOptions) *Split {
	tb.Helper()
	s := PrepareSplit(tb, o)
	for _, place := range s.Places {
		s.BeginService(place)
	}
	for _, place := range s.Places {
		s.AwaitService(place)
	}
	return s
}

// PrepareSplit is [StartSplit] that starts the parts alone: services are begun by the test.
func PrepareSplit(tb testing.TB, o SplitOptions) *Split {
	tb.Helper()
	s := &Split{
		tb: tb, Data: filepath.Join(tb.TempDir(), "data"), Service: make(map[string]*Process),
		binary: make(map[string]string), env: make(map[string]map[string]string), ops: make(map[string]string),
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
	for n := range max(1, o.Replicas) {
		addrs, listen := FreeAddrs(tb, len(Services)), s.ports.listen
		if n > 0 {
			listen = FreeAddrs(tb, 1)[0]
		}
		s.Bases = append(s.Bases, "http://"+listen)
		for i, name := range Services {
			env := maps.Clone(common)
			maps.Copy(env, map[string]string{
				"KEYSET_FILE": keys[name], "OPS_ADDR": addrs[i], "LISTEN_ADDR": listen, "PUBLIC_URL": s.Base, "SMS_COUNTRIES": "US,CA,GB",
			})
			maps.Copy(env, users[name])
			maps.Copy(env, o.Env)
			if o.Wire != nil {
				o.Wire(name, env)
			}
			place := name
			if n > 0 {
				place = fmt.Sprintf("%s-%d", name, n+1)
			}
			s.Places = append(s.Places, place)
			s.binary[place], s.env[place], s.ops[place] = name, env, "http://"+addrs[i]
		}
	}
	s.Client, s.Sandbox = NewClient(tb, s.Base), NewSandbox(tb, "http://"+s.ports.sandbox)
	return s
}

// end stops what still runs: the services first, because they say goodbye to the parts.
func (s *Split) end() {
	for _, place := range slices.Backward(s.Places) {
		if p := s.Service[place]; p != nil && p.Running() {
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

// StartService starts the service of a place, for the first time or again, and waits until it is ready.
func (s *Split) StartService(place string) {
	s.tb.Helper()
	s.BeginService(place)
	s.AwaitService(place)
}

// BeginService is [Split.StartService] that does not wait.
func (s *Split) BeginService(place string) {
	s.tb.Helper()
	if p := s.Service[place]; p != nil {
		s.past += p.Output()
	}
	s.Service[place] = begin(s.tb, s.binary[place], s.env[place])
}

// AwaitService waits until a service that was begun is ready.
func (s *Split) AwaitService(place string) {
	s.tb.Helper()
	if err := s.Service[place].ready(s.ops[place]); err != nil {
		s.tb.Fatalf("%s: %v\n%s", place, err, s.Service[place].Output())
	}
}

// Env is the environment of the service at a place.
func (s *Split) Env(place string) map[string]string { return maps.Clone(s.env[place]) }

// OpsURL is the ops listener of a place.
func (s *Split) OpsURL(place string) string { return s.ops[place] }

// Ready asks the service at a place whether it is ready now.
func (s *Split) Ready(place string) bool { return Ready(s.ops[place]) }

// Metrics is the text of /metrics of a place.
func (s *Split) Metrics(place string) string {
	s.tb.Helper()
	a := NewClient(s.tb, s.ops[place]).Do(http.MethodGet, "/metrics", "", nil)
	if a.Status != http.StatusOK {
		s.tb.Fatalf("%s: /metrics: status %d", place, a.Status)
	}
	return string(a.Body)
}

// Output is what all processes have written.
func (s *Split) Output() string {
	out := s.past + s.Infra.Output()
	for _, place := range s.Places {
		if p := s.Service[place]; p != nil {
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

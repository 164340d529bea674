package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// portal is the demo's.
const portal = "demo"

// replicas are how many processes of each service there are.
var replicas = map[contract.Service]int{contract.AuthGateway: 2, contract.TOTP: 2, contract.SMSDispatcher: 2, contract.Policy: 1}

// house is the product on a cluster.
type house struct {
	tb       testing.TB
	ring     *ring
	parts    *sut.Parts
	phones   *phones
	services []*replica
	gateways []*sut.Client
}

// replica is one process of a service.
type replica struct {
	name, ops string
	env       map[string]string
	process   *sut.Process
}

// newHouse starts the cluster and everything else.
func newHouse(tb testing.TB) *house {
	tb.Helper()
	h := &house{tb: tb, phones: newPhones(tb)}
	data := filepath.Join(tb.TempDir(), "data")
	sut.Start(tb, sut.Options{Demo: true, Data: data, Env: sut.Fast(nil)}).Stop() // for the portal and its settings
	h.ring = newRing(tb)
	h.parts = sut.StartPartsBeside(tb, data, map[string]string{"NATS_URL": h.ring.urls(), "AWS_ENDPOINT_URL_SNS": h.phones.url})
	operate(tb, map[string]string{"MONGODB_URI": h.parts.Env["MONGODB_URI"]}, "user", "import", "--data="+data, "--portal="+portal, roll(tb))
	var starting sync.WaitGroup
	for _, service := range sut.Services {
		name := contract.Service(service)
		for n := range replicas[name] {
			addrs := sut.FreeAddrs(tb, 2)
			env := sut.Fast(h.parts.Env)
			maps.Copy(env, h.ring.env(service))
			maps.Copy(env, map[string]string{
				"KEYSET_FILE": h.parts.Keys[service], "OPS_ADDR": addrs[0], "LISTEN_ADDR": addrs[1], "PUBLIC_URL": "https://portal.example",
				"AWS_ENDPOINT_URL_SNS": h.phones.url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
				// People sign in here as nobody does: the guards against that have tests of their own.
				"SMS_COUNTRIES": "US", "SMS_LIMIT_NUMBER": "off", "SMS_LIMIT_PREFIX": "off", "SMS_LIMIT_NETWORK": "off", "SMS_LIMIT_COUNTRY": "off",
				"SMS_LIMIT_PORTAL": "off", "SMS_LIMIT_PERSON": "off", "SMS_CONVERSION_STOP": "off",
				"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off",
			})
			r := &replica{name: fmt.Sprintf("%s %d", name, n+1), ops: "http://" + addrs[0], env: env}
			h.services = append(h.services, r)
			if name == contract.AuthGateway {
				h.gateways = append(h.gateways, sut.NewClient(tb, "http://"+addrs[1]).At("portal.example"))
			}
			starting.Go(func() {
				var err error
				if r.process, err = sut.Service(tb, service, env); err != nil {
					tb.Errorf("%s: %v\n%s", r.name, err, r.process.Output())
				}
			})
		}
	}
	starting.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	tb.Cleanup(func() {
		for _, r := range h.services {
			if !r.process.Running() {
				tb.Errorf("%s has ended by itself", r.name)
			}
			if tb.Failed() {
				tb.Logf("%s: %s", r.name, lastLines(r.process.Output(), 15))
			}
		}
	})
	return h
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// troubles are the last warnings of a log.
func troubles(output string) string {
	var out []string
	for line := range strings.Lines(output) {
		if !strings.Contains(line, `"level":"INFO"`) {
			out = append(out, line)
		}
	}
	return strings.Join(out[max(0, len(out)-40):], "")
}

// unready asks every service whether it is ready, and returns what those that are not say, by their names.
func (h *house) unready() map[string]string {
	out := make(map[string]string)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, r := range h.services {
		asking.Go(func() {
			if err := readiness(r.ops); err != nil {
				mu.Lock()
				defer mu.Unlock()
				out[r.name] = err.Error()
			}
		})
	}
	asking.Wait()
	return out
}

// lacking are the servers of which a gateway says in its figures that they have no good copy of something.
func (h *house) lacking(tb testing.TB) map[string]bool {
	tb.Helper()
	out := make(map[string]bool)
	for _, r := range h.services {
		if !strings.HasPrefix(r.name, "auth-gateway") {
			continue
		}
		resp, err := http.Get(r.ops + "/metrics")
		if err != nil {
			tb.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read to its end
		if err != nil {
			tb.Fatal(err)
		}
		for _, found := range copyLost.FindAllSubmatch(raw, -1) {
			out[string(found[1])] = true
		}
	}
	return out
}

var copyLost = regexp.MustCompile(`(?m)^sallyport_bus_copy_current\{.*server="([^"]+)".*\} 0$`)

// ready fails the test unless every service is ready soon.
func (h *house) ready(t *testing.T) {
	t.Helper()
	var unready map[string]string
	defer func() {
		if t.Failed() {
			t.Logf("not ready: %v", unready)
		}
	}()
	sut.Eventually(t, backWithin, "every service is ready", func() bool { unready = h.unready(); return len(unready) == 0 })
}

func readiness(ops string) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(ops + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusOK {
		return err
	}
	return errors.New(strings.TrimSpace(string(said)))
}

// roll is a file of everybody: contacts with a telephone each, and staff who have no authenticator yet.
func roll(tb testing.TB) string {
	tb.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(sut.DemoPassword), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	var all strings.Builder
	lines := json.NewEncoder(&all)
	for n := range contacts {
		if err := lines.Encode(map[string]any{
			"id": contactID(n), "email": contactID(n) + "@acme.test", "name": "Contact", "audience": "organization", "organization": "Acme",
			"password": string(hash), "phone": number(n), "enrolled_since": "2024-05-17T08:30:00Z",
		}); err != nil {
			tb.Fatal(err)
		}
	}
	for n := range staff {
		if err := lines.Encode(map[string]any{
			"id": staffID(n), "email": staffID(n) + "@north.test", "name": "Staff", "audience": "internal", "password": string(hash),
		}); err != nil {
			tb.Fatal(err)
		}
	}
	path := filepath.Join(tb.TempDir(), "people.jsonl")
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func contactID(n int) string { return fmt.Sprintf("contact-%d", n) }
func staffID(n int) string   { return fmt.Sprintf("staff-%d", n) }
func number(n int) string    { return fmt.Sprintf("+1701555%04d", n) }

// phones is where all texts arrive: an SNS endpoint that takes every one.
type phones struct {
	url string

	mu      sync.Mutex
	codes   map[string][]string // by number, oldest first
	arrived map[string]chan struct{}
}

var sixDigits = regexp.MustCompile(`#([0-9]{6})$`)

func newPhones(tb testing.TB) *phones {
	tb.Helper()
	p := &phones{codes: make(map[string][]string), arrived: make(map[string]chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p.url = "http://" + l.Addr().String()
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code := sixDigits.FindStringSubmatch(r.FormValue("Message"))
		if code == nil {
			tb.Errorf("not our text: %q", r.FormValue("Message"))
			return
		}
		p.mu.Lock()
		to := r.FormValue("PhoneNumber")
		p.codes[to] = append(p.codes[to], code[1])
		n := len(p.codes[to])
		if c := p.arrived[to]; c != nil {
			close(c)
			delete(p.arrived, to)
		}
		p.mu.Unlock()
		fmt.Fprintf(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>%s-%d</MessageId></PublishResult></PublishResponse>`, to, n)
	})}
	go func() { _ = srv.Serve(l) }() // it ends with the test
	tb.Cleanup(func() { _ = srv.Close() })
	return p
}

// seen is how many texts came for a number.
func (p *phones) seen(to string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.codes[to])
}

// next waits for a text after so many and returns its code; "" where none came in time.
func (p *phones) next(to string, seen int, within time.Duration) string {
	late := time.After(within)
	for {
		p.mu.Lock()
		all := p.codes[to]
		arrived := p.arrived[to]
		if arrived == nil {
			arrived = make(chan struct{})
			p.arrived[to] = arrived
		}
		p.mu.Unlock()
		if len(all) > seen {
			return all[len(all)-1]
		}
		select {
		case <-arrived:
		case <-late:
			return ""
		}
	}
}

// got are the codes that came for a number.
func (p *phones) got(to string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.codes[to]...)
}

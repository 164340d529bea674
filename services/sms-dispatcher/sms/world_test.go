package sms

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

// world is sms-dispatcher on real parts, an SNS endpoint with an inbox, and a gateway's bus to call it from.
type world struct {
	*servicetest.World
	tb       testing.TB
	sns      *embedded.SNS
	gateway  *bus.Bus
	operator *bus.Bus
	box      *seal.Box
	records  *records

	mu    sync.Mutex
	facts map[string][]contract.ChallengeFact
	locks []contract.LockFact
	joins []contract.EnrolmentFact
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{World: servicetest.New(tb), tb: tb, facts: make(map[string][]contract.ChallengeFact)}
	// One in the morning: what is told once in ten minutes, an hour or a day is told once, at whatever time this runs.
	now := w.Clock.Now()
	w.Clock.Add(now.Truncate(24 * time.Hour).Add(25 * time.Hour).Sub(now))
	var err error
	w.sns, err = embedded.StartSNS(embedded.SNSOptions{Addr: "127.0.0.1:0", Now: w.Clock})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.sns.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		if tb.Failed() {
			for line := range strings.Lines(w.Logs.String()) {
				if strings.Contains(line, "ERROR") || strings.Contains(line, "WARN") {
					tb.Log(line)
				}
			}
		}
	})
	w.gateway, w.operator = w.Bus(contract.AuthGateway), w.Operator()
	w.box = w.Keys(contract.AuthGateway).Bus
	w.listen()
	w.records, err = newRecords(tb.Context(), w.DB(contract.SMSDispatcher), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// listen collects the facts that policy-svc would.
func (w *world) listen() {
	policy := w.Bus(contract.Policy)
	ctx := w.tb.Context()
	add := func(f func()) error { w.mu.Lock(); defer w.mu.Unlock(); f(); return nil }
	for _, err := range []error{
		bus.Consume(ctx, policy, contract.ChallengeEnded, bus.ConsumeOptions{}, func(_ context.Context, ev bus.Delivery[contract.ChallengeFact]) error {
			return add(func() { w.facts[ev.Message.Challenge] = append(w.facts[ev.Message.Challenge], ev.Message) })
		}),
		bus.Consume(ctx, policy, contract.FactorLocked, bus.ConsumeOptions{}, func(_ context.Context, ev bus.Delivery[contract.LockFact]) error {
			return add(func() { w.locks = append(w.locks, ev.Message) })
		}),
		bus.Consume(ctx, policy, contract.EnrolmentConfirmed, bus.ConsumeOptions{}, func(_ context.Context, ev bus.Delivery[contract.EnrolmentFact]) error {
			return add(func() { w.joins = append(w.joins, ev.Message) })
		}),
	} {
		if err != nil {
			w.tb.Fatal(err)
		}
	}
}

// start starts one instance.
func (w *world) start(extra ...string) *service.Service {
	w.tb.Helper()
	vars := map[string]string{
		"SMS_COUNTRIES": "US,CA,GB", "AWS_ENDPOINT_URL_SNS": w.sns.URL(), "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example",
	}
	for i := 0; i+1 < len(extra); i += 2 {
		vars[extra[i]] = extra[i+1]
	}
	return w.Start(contract.SMSDispatcher, Start, vars)
}

func (w *world) sealed(purpose, plain string, who contract.Account) contract.Sealed {
	w.tb.Helper()
	s, err := w.box.SealField(secret.New(plain), purpose, who)
	if err != nil {
		w.tb.Fatal(err)
	}
	return s
}

// dana is a person with a number.
type dana struct {
	*world
	contract.Account
	phone, flow, enrolment string
	network                string
	epoch                  contract.Epoch
}

func (w *world) person(user, phone string) *dana {
	return &dana{world: w, Account: contract.Account{Portal: "northwind", User: user}, phone: phone, flow: "flow-" + user, enrolment: "en-" + user, epoch: contract.Epoch{Population: 1, Person: 1}}
}

func (p *dana) open(id string, purpose contract.Purpose, phone string) (contract.SMSOpenReply, error) {
	req := contract.SMSOpenRequest{
		Account: p.Account, Challenge: id, Flow: p.flow, Purpose: purpose, Enrolment: p.enrolment, Epoch: p.epoch,
		PortalName: "Northwind Portal", Host: "portal.northwind.test", Network: p.network,
	}
	if phone != "" {
		req.Phone = p.sealed(contract.PurposePhone, phone, p.Account)
	}
	return bus.Request(p.tb.Context(), p.gateway, contract.SMSOpen, req)
}

// ask opens a challenge and publishes its job.
func (p *dana) ask(id string, purpose contract.Purpose, phone string) contract.SMSOpenReply {
	p.tb.Helper()
	rep, err := p.open(id, purpose, phone)
	for again := 0; contract.CodeOf(err) == contract.Unavailable && again < 5; again++ { // a slow machine; opening is idempotent by the challenge
		rep, err = p.open(id, purpose, phone)
	}
	if err != nil {
		p.tb.Fatalf("open %s: %v", id, err)
	}
	p.publishUntil(id, "requested-"+id, rep.ExpiresAt)
	return rep
}

// publish publishes a job that says nothing of its age.
func (p *dana) publish(id, letter string) {
	p.tb.Helper()
	p.publishUntil(id, letter, time.Time{})
}

func (p *dana) publishUntil(id, letter string, expires time.Time) {
	p.tb.Helper()
	job := contract.ChallengeRequest{Account: p.Account, Challenge: id, ExpiresAt: expires}
	if err := bus.Publish(p.tb.Context(), p.gateway, contract.ChallengeRequested, letter, job); err != nil {
		p.tb.Fatal(err)
	}
}

func (p *dana) confirm(id, code string) (contract.Confirmation, error) {
	return bus.Request(p.tb.Context(), p.gateway, contract.SMSConfirm, contract.SMSConfirmRequest{
		Account: p.Account, Challenge: id, Flow: p.flow, Enrolment: p.enrolment, Code: p.sealed(contract.PurposeTypedCode, code, p.Account),
	})
}

func (p *dana) verify(id string, purpose contract.Purpose, code string) error {
	_, err := bus.Request(p.tb.Context(), p.gateway, contract.SMSVerify, contract.SMSVerifyRequest{
		Account: p.Account, Challenge: id, Flow: p.flow, Purpose: purpose, Code: p.sealed(contract.PurposeTypedCode, code, p.Account),
	})
	return err
}

func (p *dana) status(id string) contract.SMSStatusReply {
	p.tb.Helper()
	rep, err := bus.Request(p.tb.Context(), p.gateway, contract.SMSStatus, contract.SMSStatusRequest{Account: p.Account, Challenge: id})
	if err != nil {
		p.tb.Fatalf("status %s: %v", id, err)
	}
	return rep
}

// enrol confirms the person's number.
func (p *dana) enrol() {
	p.tb.Helper()
	id := "enrol-" + p.User
	before := len(p.codes())
	p.ask(id, contract.ForEnrolment, p.phone)
	if _, err := p.confirm(id, p.next(before)); err != nil {
		p.tb.Fatalf("confirm: %v", err)
	}
}

var codeLine = regexp.MustCompile(`\n@portal\.northwind\.test #([0-9]{6})$`)

// codes are those of all texts to this person, oldest first.
func (p *dana) codes() []string {
	p.tb.Helper()
	var out []string
	for _, m := range p.inbox(p.phone) {
		found := codeLine.FindStringSubmatch(m.Body)
		if found == nil {
			p.tb.Fatalf("not our text: %q", m.Body)
		}
		out = append(out, found[1])
	}
	return out
}

// next waits for a text after the first n, and returns its code.
func (p *dana) next(n int) string {
	p.tb.Helper()
	var codes []string
	servicetest.Eventually(p.tb, "a text arrives", func() bool { codes = p.codes(); return len(codes) > n })
	return codes[n]
}

type message struct {
	To, Body   string
	Attributes map[string]string
}

func (w *world) inbox(to string) []message {
	w.tb.Helper()
	resp, err := http.Get(w.sns.URL() + "/messages?to=" + url.QueryEscape(to))
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var out []message
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		w.tb.Fatal(err)
	}
	return out
}

func (w *world) fault(mode string, times int) {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), http.MethodPut, w.sns.URL()+"/faults", strings.NewReader(fmt.Sprintf(`{"mode":%q,"times":%d}`, mode, times)))
	if err != nil {
		w.tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.tb.Fatalf("fault %s: %s", mode, resp.Status)
	}
}

// ends waits for a challenge's outcome as it is told.
func (w *world) ends(id string) contract.ChallengeFact {
	w.tb.Helper()
	var f []contract.ChallengeFact
	servicetest.Eventually(w.tb, id+" ends", func() bool { f = w.told(id); return len(f) > 0 })
	return f[0]
}

func (w *world) told(id string) []contract.ChallengeFact {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.facts[id]
}

func (w *world) dead(n int) []bus.DeadLetter {
	w.tb.Helper()
	var out []bus.DeadLetter
	servicetest.Eventually(w.tb, fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		if out, err = w.operator.DeadLetters(w.tb.Context(), 100); err != nil {
			w.tb.Fatal(err)
		}
		return len(out) >= n
	})
	return out
}

func refusedAs(tb testing.TB, err error, want contract.Code) {
	tb.Helper()
	_ = refusal(tb, err, want)
}

func refusal(tb testing.TB, err error, want contract.Code) *contract.Error {
	tb.Helper()
	if contract.CodeOf(err) != want {
		tb.Fatalf("%v, want %s", err, want)
	}
	return contract.AsError(err)
}

func other(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

// counter reads one series of a counter with a result.
func counter(tb testing.TB, svc *service.Service, name, result string) float64 {
	tb.Helper()
	return labelled(tb, svc, name, "result", result)
}

// labelled reads the series of a counter with one label.
func labelled(tb testing.TB, svc *service.Service, name, label, value string) float64 {
	tb.Helper()
	families, err := svc.Metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	tb.Fatalf("no metric %s of %s", name, value)
	return 0
}

// gauge reads one gauge of a service.
func gauge(tb testing.TB, svc *service.Service, name string) float64 {
	tb.Helper()
	families, err := svc.Metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	tb.Fatalf("no metric %s", name)
	return 0
}

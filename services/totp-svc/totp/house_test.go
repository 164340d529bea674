package totp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	other "github.com/pquerna/otp/totp"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

// house is two replicas of the service on real parts, the gateway that asks them, and what policy hears of them.
type house struct {
	*servicetest.World
	tb      testing.TB
	a, b    *server
	gateway *bus.Bus
	keys    *seal.Keys
}

func newHouse(tb testing.TB) *house {
	tb.Helper()
	h := &house{World: servicetest.New(tb), tb: tb}
	h.a, h.b = h.replica(), h.replica()
	h.gateway, h.keys = h.Bus(contract.AuthGateway), h.Keys(contract.AuthGateway)
	return h
}

func (h *house) replica() *server {
	h.tb.Helper()
	var s *server
	h.Start(contract.TOTP, func(ctx context.Context, env service.Env) (*service.Service, error) {
		var err error
		if s, err = start(ctx, env); err != nil {
			return nil, err
		}
		return s.svc, nil
	}, nil)
	return s
}

// hears collects the events of one kind.
type hears[T any] struct {
	mu  sync.Mutex
	all []T
}

func listen[T any](h *house, ev contract.Event[T]) *hears[T] {
	h.tb.Helper()
	heard := &hears[T]{}
	err := bus.Consume(h.tb.(interface{ Context() context.Context }).Context(), h.Bus(contract.Policy), ev, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[T]) error {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		heard.all = append(heard.all, d.Message)
		return nil
	})
	if err != nil {
		h.tb.Fatal(err)
	}
	return heard
}

func (l *hears[T]) list() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]T(nil), l.all...)
}

// wait waits until there are so many, and returns them.
func (l *hears[T]) wait(tb testing.TB, n int) []T {
	tb.Helper()
	servicetest.Eventually(tb, "the event arrives", func() bool { return len(l.list()) >= n })
	if got := l.list(); len(got) != n {
		tb.Fatalf("%d events, want %d: %+v", len(got), n, got)
	}
	return l.list()
}

// person is somebody with an authenticator app: another implementation than ours.
type person struct {
	*house
	tb      fataler
	who     contract.Account
	epoch   contract.Epoch
	app     string // the secret in the app, as it is typed by hand
	current string // the enrolment
}

// fataler is a test, or one round of a property.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (h *house) person(user string) *person {
	return &person{house: h, tb: h.tb, who: contract.Account{Portal: "northwind", User: user}, epoch: contract.Epoch{Population: 1}}
}

func (p *person) seal(text, purpose string) contract.Sealed {
	sealed, err := p.keys.Bus.SealField(secret.New(text), purpose, p.who)
	if err != nil {
		p.tb.Fatalf("seal: %v", err)
	}
	return sealed
}

func (p *person) typed(code string) contract.Sealed { return p.seal(code, contract.PurposeTypedCode) }

// once is a call of its own.
func once() context.Context { return bus.WithCallID(context.Background(), bus.NewID()) }

// begin asks for a seed.
func (p *person) begin(enrolment string) (secret, uri string, err error) {
	reply, err := p.a.begin(once(), contract.TOTPBeginRequest{Account: p.who, Enrolment: enrolment, Issuer: "Northwind Portal", Label: "dana@northwind.test", Epoch: p.epoch})
	if err != nil {
		return "", "", err
	}
	opened, err := p.keys.Bus.OpenField(reply.URI, contract.PurposeSeed, p.who)
	if err != nil {
		p.tb.Fatalf("the URI does not open: %v", err)
	}
	key, err := otp.NewKeyFromURL(opened.Reveal())
	if err != nil {
		p.tb.Fatalf("the URI: %v", err)
	}
	return key.Secret(), opened.Reveal(), nil
}

// code is what the app shows, so many steps from now.
func (p *person) code(app string, steps int) string {
	code, err := other.GenerateCode(app, p.Clock.Now().Add(time.Duration(steps)*period))
	if err != nil {
		p.tb.Fatalf("the app: %v", err)
	}
	return code
}

// wrongCode is one that the app does not show within an hour and a half.
func (p *person) wrongCode(app string) string {
	taken := make(map[string]bool)
	for steps := -180; steps <= 180; steps++ {
		taken[p.code(app, steps)] = true
	}
	for _, code := range []string{"000000", "123456", "999999", "246813"} {
		if !taken[code] {
			return code
		}
	}
	p.tb.Fatalf("every code is right")
	return ""
}

func (p *person) confirm(enrolment, code string) (contract.Confirmation, error) {
	return p.a.confirm(once(), contract.TOTPConfirmRequest{Account: p.who, Enrolment: enrolment, Code: p.typed(code), Label: " Pixel 9 "})
}

// enrol goes through it all, with the code of the step before.
func (p *person) enrol(enrolment string) *person {
	p.tb.Helper()
	app, _, err := p.begin(enrolment)
	if err != nil {
		p.tb.Fatalf("begin: %v", err)
	}
	if _, err := p.confirm(enrolment, p.code(app, -1)); err != nil {
		p.tb.Fatalf("confirm: %v", err)
	}
	p.app, p.current = app, enrolment
	return p
}

func (p *person) verifyOn(s *server, code string) error { return p.ask(once(), s, code) }

func (p *person) ask(ctx context.Context, s *server, code string) error {
	_, err := s.verify(ctx, contract.TOTPVerifyRequest{Account: p.who, Enrolment: p.current, Code: p.typed(code)})
	return err
}

func (p *person) verify(code string) error { return p.verifyOn(p.a, code) }

func (p *person) regenerate() []string {
	p.tb.Helper()
	reply, err := p.a.regenerate(once(), contract.RegenerateRequest{Account: p.who, Epoch: p.epoch})
	if err != nil {
		p.tb.Fatalf("regenerate: %v", err)
	}
	opened, err := p.keys.Bus.OpenField(reply.Codes, contract.PurposeRecoveryCodes, p.who)
	if err != nil {
		p.tb.Fatalf("the codes do not open: %v", err)
	}
	var codes []string
	if err := json.Unmarshal([]byte(opened.Reveal()), &codes); err != nil || len(codes) != 10 {
		p.tb.Fatalf("%d codes, %v", len(codes), err)
	}
	return codes
}

func (p *person) recoverOn(ctx context.Context, s *server, code string) (contract.RecoverReply, error) {
	return s.recover(ctx, contract.RecoverRequest{Account: p.who, Code: p.typed(code), Epoch: p.epoch})
}

func (p *person) recover(code string) (contract.RecoverReply, error) {
	return p.recoverOn(once(), p.a, code)
}

func (p *person) kept() authenticator {
	p.tb.Helper()
	doc, err := p.a.state.authenticator(context.Background(), documentID(p.who))
	if err != nil {
		p.tb.Fatalf("read: %v", err)
	}
	return doc
}

// resetEvent is what policy publishes.
func (p *person) resetEvent(person int64) bus.Delivery[contract.ResetFact] {
	return bus.Delivery[contract.ResetFact]{Message: contract.ResetFact{
		Account: p.who, Reset: "rs", Actor: "u9", Reason: "lost phone", Epoch: contract.Epoch{Population: 1, Person: person}, At: p.Clock.Now(),
	}}
}

// refusal is the refusal in err; the test fails when it has another code.
func refusal(tb fataler, err error, want contract.Code) *contract.Error {
	tb.Helper()
	var e *contract.Error
	if !errors.As(err, &e) || e.Code != want {
		tb.Fatalf("error is %v, want %s", err, want)
		return nil
	}
	return e
}

// refused is for a refusal of which only the code matters.
func refused(tb fataler, err error, want contract.Code) {
	tb.Helper()
	_ = refusal(tb, err, want)
}

// left is how many attempts a refusal says are left; -1 if it does not say.
func left(e *contract.Error) int {
	if e.AttemptsLeft == nil {
		return -1
	}
	return *e.AttemptsLeft
}

// counts is a metric of both replicas, by result.
func (h *house) counts(name string) map[string]int {
	out := make(map[string]int)
	for _, s := range []*server{h.a, h.b} {
		var g prometheus.Gatherer = s.svc.Metrics
		families, err := g.Gather()
		if err != nil {
			h.tb.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != name {
				continue
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "result" {
						out[l.GetValue()] += int(m.GetCounter().GetValue())
					}
				}
			}
		}
	}
	return out
}

// silent makes sure that none of these stands in the logs or the database.
func (h *house) silent(collection string, who contract.Account, secrets ...string) {
	h.tb.Helper()
	logs := h.Logs.String()
	doc := dump(h, collection, documentID(who))
	for _, s := range secrets {
		if strings.Contains(logs, s) {
			h.tb.Errorf("a secret is in the logs")
		}
		if strings.Contains(doc, s) {
			h.tb.Errorf("a secret is in the database")
		}
	}
}

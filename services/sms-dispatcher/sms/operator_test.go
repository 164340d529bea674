package sms

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

func (p *dana) unlocking(id string) contract.UnlockRequest {
	return contract.UnlockRequest{Account: p.Account, ID: id, Actor: "u9", Reason: "called us"}
}

func (p *dana) unlock(id string) (bool, error) {
	reply, err := bus.Request(p.tb.Context(), p.gateway, contract.SMSUnlock, p.unlocking(id))
	return reply.Unlocked, err
}

// opens asks for an unlock; want is whether something was opened.
func (p *dana) opens(id string, want bool) {
	p.tb.Helper()
	if ok, err := p.unlock(id); err != nil || ok != want {
		p.tb.Fatalf("unlock %s: %v, %v; want %v", id, ok, err, want)
	}
}

// guesses are wrong codes, so many in a row.
func (p *dana) guesses(id, code string, n int) {
	p.tb.Helper()
	for range n {
		refusedAs(p.tb, p.verify(id, contract.ForSignIn, other(code)), contract.InvalidCode)
	}
}

// hearUnlocks collects what is told of unlocks.
func (w *world) hearUnlocks() func(n int) []contract.UnlockFact {
	var mu sync.Mutex
	var facts []contract.UnlockFact
	w.tb.Helper()
	if err := bus.Consume(w.tb.Context(), w.Bus(contract.Policy), contract.FactorUnlocked, bus.ConsumeOptions{}, func(_ context.Context, ev bus.Delivery[contract.UnlockFact]) error {
		mu.Lock()
		defer mu.Unlock()
		facts = append(facts, ev.Message)
		return nil
	}); err != nil {
		w.tb.Fatal(err)
	}
	return func(n int) []contract.UnlockFact {
		w.tb.Helper()
		servicetest.Eventually(w.tb, fmt.Sprintf("%d unlocks are told", n), func() bool { mu.Lock(); defer mu.Unlock(); return len(facts) >= n })
		mu.Lock()
		defer mu.Unlock()
		if len(facts) != n {
			w.tb.Fatalf("%d unlocks are told, want %d: %+v", len(facts), n, facts)
		}
		return facts
	}
}

func TestB28AnUnlockStartsTheCountAgain(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	told := w.hearUnlocks()
	p := w.person("u1", phone)
	p.opens("ul0", false) // nobody
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	p.guesses("c1", code, 4)
	p.opens("ul0", false)
	if s := p.status(""); s.Lock != nil {
		t.Errorf("open: %+v", s.Lock)
	}
	p.guesses("c1", code, 1)
	for _, challenge := range []string{"", "c1"} {
		if s := p.status(challenge); s.Lock == nil || s.Lock.Failures != 5 || !s.Lock.Until.Equal(w.Clock.Now().Add(30*time.Second)) {
			t.Errorf("locked, challenge %q: %+v", challenge, s)
		}
	}
	p.opens("ul1", true)
	p.opens("ul1", true) // its reply was lost
	fact := told(1)[0]
	if want := (contract.UnlockFact{Account: p.Account, Factor: contract.FactorSMS, Actor: "u9", Reason: "called us", At: fact.At}); fact != want || !fact.At.Equal(w.Clock.Now()) {
		t.Errorf("told: %+v", fact)
	}
	if s := p.status("c1"); s.Lock != nil {
		t.Errorf("unlocked: %+v", s.Lock)
	}
	// Five more, and no further one; asked for again, the same unlock opens nothing more.
	w.Clock.Add(time.Second)
	p.guesses("c1", code, 5)
	p.opens("ul1", true)
	refusedAs(t, p.verify("c1", contract.ForSignIn, code), contract.Locked)
	p.opens("ul2", true)
	if err := p.verify("c1", contract.ForSignIn, code); err != nil {
		t.Errorf("after the unlock: %v", err)
	}
	// The code was spent by that, and an unlock brings none back.
	refusedAs(t, p.verify("c1", contract.ForSignIn, code), contract.Expired)
	p.opens("ul3", false)
	told(2)
	for result, want := range map[string]float64{"opened": 4, "none": 3, "disabled": 0, "error": 0} {
		if got := counter(t, svc, "sallyport_sms_unlocks_total", result); got != want {
			t.Errorf("the metric says %v %s, want %v", got, result, want)
		}
	}
}

func TestB28ADisabledTelephoneIsNotUnlocked(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	for n := range 10 {
		id := fmt.Sprintf("c%d", n)
		p.ask(id, contract.ForSignIn, "")
		p.guesses(id, p.next(n+1), 5)
		w.Clock.Add(time.Hour)
	}
	if s := p.status(""); s.Lock == nil || s.Lock.Failures != 50 || s.Lock.Until != nil {
		t.Errorf("disabled: %+v", s.Lock)
	}
	_, err := p.unlock("ul1")
	if e := refusal(t, err, contract.Conflict); !strings.Contains(e.Detail, "recovery code or a reset") {
		t.Errorf("%+v", e)
	}
	if s := p.status(""); s.Lock == nil || s.Lock.Failures != 50 {
		t.Errorf("still disabled: %+v", s.Lock)
	}
}

// However guesses and unlocks meet, no more guesses are compared than one round, and one more for each unlock.
func TestB28AnUnlockGivesOneRoundOfGuesses(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	p.guesses("c1", code, 5)
	var guessing, unlocking sync.WaitGroup
	var compared, opened, slow atomic.Int64
	over := make(chan struct{})
	for i := range 2 {
		unlocking.Go(func() {
			for n := 0; ; n++ {
				switch ok, err := p.unlock(fmt.Sprintf("ul%d-%d", i, n)); {
				case ok:
					opened.Add(1)
				case err != nil:
					slow.Add(1) // whether it was done is not known
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for range 6 {
		guessing.Go(func() {
			for range 20 {
				switch err := p.verify("c1", contract.ForSignIn, other(code)); contract.CodeOf(err) {
				case contract.InvalidCode:
					compared.Add(1)
				case contract.Locked:
				case contract.Unavailable:
					slow.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	guessing.Wait()
	close(over)
	unlocking.Wait()
	d, err := w.records.people.Get(t.Context(), personID(p.Account))
	if err != nil {
		t.Fatal(err)
	}
	want := 5*(opened.Load()-1) + int64(d.Guess.Failures)
	if opened.Load() == 0 || compared.Load() > want+5*slow.Load() || compared.Load() < want-5*slow.Load() {
		t.Errorf("%d unlocks, and %d guesses compared, want %d (%d calls were not answered)", opened.Load(), compared.Load(), want, slow.Load())
	}
	t.Logf("%d unlocks, %d guesses compared", opened.Load(), compared.Load())
}

func TestWhatAnUnlockMustSay(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	for name, change := range map[string]func(*contract.UnlockRequest){
		"portal":         func(r *contract.UnlockRequest) { r.Portal = "a/b" },
		"id":             func(r *contract.UnlockRequest) { r.ID = "a.b" },
		"no actor":       func(r *contract.UnlockRequest) { r.Actor = "" },
		"a long actor":   func(r *contract.UnlockRequest) { r.Actor = strings.Repeat("ü", 129) },
		"two actors":     func(r *contract.UnlockRequest) { r.Actor = "u9\nu8" },
		"a long reason":  func(r *contract.UnlockRequest) { r.Reason = strings.Repeat("ü", 501) },
		"a broken actor": func(r *contract.UnlockRequest) { r.Actor = "\xff" },
	} {
		req := p.unlocking("ul1")
		change(&req)
		office := Office{records: w.records, clock: w.Clock}
		if _, err := office.Unlock(t.Context(), req); contract.CodeOf(err) != contract.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	req := p.unlocking("ul1")
	req.Actor, req.Reason = strings.Repeat("ü", 128), strings.Repeat("ü", 500)
	if _, err := bus.Request(t.Context(), w.gateway, contract.SMSUnlock, req); err != nil {
		t.Error(err)
	}
}

// An operator needs no running service; what the operator did is told when it runs again.
func TestB40AnOperatorUnlocksWithTheServiceDown(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	told := w.hearUnlocks()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	p.guesses("c1", code, 5)
	w.ends("c1")
	if err := svc.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	office, err := OpenOffice(t.Context(), w.DB(contract.SMSDispatcher), w.Clock)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := office.Status(t.Context(), p.Account); err != nil || s.Lock == nil || s.Destination != "xxx-xxx-9443" {
		t.Errorf("status: %+v, %v", s, err)
	}
	req := p.unlocking("ul1")
	req.Actor = "operator:root"
	if ok, err := office.Unlock(t.Context(), req); err != nil || !ok {
		t.Fatalf("unlock: %v, %v", ok, err)
	}
	if s, err := office.Status(t.Context(), p.Account); err != nil || s.Lock != nil {
		t.Errorf("status: %+v, %v", s, err)
	}
	w.start()
	if err := p.verify("c1", contract.ForSignIn, code); err != nil {
		t.Errorf("after the unlock: %v", err)
	}
	if fact := told(1)[0]; fact.Actor != "operator:root" {
		t.Errorf("told: %+v", fact)
	}
}

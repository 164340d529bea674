package sms

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

func TestACodeSucceedsOnceOnTwoInstances(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	var right, slow atomic.Int32
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for range 50 {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			switch contract.CodeOf(p.verify("c1", contract.ForSignIn, code)) {
			case "":
				right.Add(1)
			case contract.Unavailable: // a slow machine; the one success may be among them
				slow.Add(1)
			}
		})
	}
	wg.Wait()
	if n := right.Load(); n > 1 || n+slow.Load() == 0 {
		t.Errorf("%d successes, %d not answered", n, slow.Load())
	}
	// On a machine so slow that no guess got as far as the code, it is still good after the lock; on any other it is spent.
	c, err := w.records.challenges.Get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(30 * time.Second)
	servicetest.Eventually(t, "an answer", func() bool {
		err = p.verify("c1", contract.ForSignIn, code)
		return contract.CodeOf(err) != contract.Unavailable
	})
	if (err == nil) != (c.Closed == stillOpen) || slow.Load() == 0 && err == nil {
		t.Errorf("the code was %q; one more try: %v", c.Closed, err)
	}
}

func TestParallelWrongGuessesAreCountedExactly(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	var evaluated, closed, slow atomic.Int32
	var wg sync.WaitGroup
	slots := make(chan struct{}, 12)
	for range 200 {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			switch err := p.verify("c1", contract.ForSignIn, other(code)); contract.CodeOf(err) {
			case contract.InvalidCode:
				evaluated.Add(1)
			case contract.Locked:
				closed.Add(1)
			case contract.Unavailable: // a slow machine; whether it was counted is not known
				slow.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if evaluated.Load() > 5 || evaluated.Load()+slow.Load() < 5 || evaluated.Load()+closed.Load()+slow.Load() != 200 {
		t.Errorf("%d were evaluated, %d refused, %d not answered", evaluated.Load(), closed.Load(), slow.Load())
	}
	servicetest.Eventually(t, "the factor is locked", func() bool {
		return contract.CodeOf(p.verify("c1", contract.ForSignIn, other(code))) == contract.Locked
	})
	if e := refusal(t, p.verify("c1", contract.ForSignIn, code), contract.Locked); e.RetryAfter != 30 || e.LockedUntil == nil {
		t.Errorf("%+v", e)
	}
	w.Clock.Add(3 * time.Second)
	if e := refusal(t, p.verify("c1", contract.ForSignIn, code), contract.Locked); e.RetryAfter != 27 {
		t.Errorf("%+v", e)
	}
	// Neither another challenge nor another door opens it.
	_, err := p.open("c2", contract.ForStepUp, "")
	refusedAs(t, err, contract.Locked)
	w.Clock.Add(27 * time.Second)
	if err := p.verify("c1", contract.ForSignIn, code); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	servicetest.Eventually(t, "the lock is told", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.locks) == 1 })
	if l := w.locks[0]; l.Failures != 5 || l.Factor != contract.FactorSMS || l.Until == nil {
		t.Errorf("told %+v", l)
	}
}

func TestARepeatedCallIsAnsweredTheSame(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	r, err := newRecords(t.Context(), svc.DB, svc.Outbox)
	if err != nil {
		t.Fatal(err)
	}
	// Another replica, to which the repetition comes.
	counted := prometheus.NewRegistry()
	d := &dispatcher{clock: w.Clock, log: svc.Log, keys: svc.Keys, records: r, metrics: newMetrics(counted, Settings{})}
	p := w.person("u1", phone)
	call := func(id string) context.Context { return bus.WithCallID(t.Context(), id) }
	confirmation := func(code string) contract.SMSConfirmRequest {
		return contract.SMSConfirmRequest{Account: p.Account, Challenge: "c1", Flow: p.flow, Enrolment: p.enrolment, Code: w.sealed(contract.PurposeTypedCode, code, p.Account)}
	}
	p.ask("c1", contract.ForEnrolment, p.phone)
	code := p.next(0)
	w.ends("c1")
	for range 3 { // a wrong one counts once
		_, err := d.confirm(call("wrong"), confirmation(other(code)))
		if e := refusal(t, err, contract.InvalidCode); *e.AttemptsLeft != 4 {
			t.Errorf("%d attempts left", *e.AttemptsLeft)
		}
	}
	// A crash right after the code was spent: nothing is enrolled yet, and only the same call may go on.
	spent, _, err := d.check(call("right"), typed{p.Account, "c1", p.flow, contract.ForEnrolment, p.enrolment, confirmation(code).Code})
	if err != nil || spent.Closed != closedVerified || len(spent.Code) > 0 {
		t.Fatalf("%+v, %v", spent, err)
	}
	_, err = d.confirm(call("another"), confirmation(code))
	refusedAs(t, err, contract.Expired)
	first, err := d.confirm(call("right"), confirmation(code))
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.confirm(call("right"), confirmation(code))
	if err != nil || again != first {
		t.Errorf("%+v, then %+v, %v", first, again, err)
	}
	servicetest.Eventually(t, "the enrolment is told", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.joins) == 1 })

	p.ask("c2", contract.ForSignIn, "")
	req := contract.SMSVerifyRequest{Account: p.Account, Challenge: "c2", Flow: p.flow, Purpose: contract.ForSignIn, Code: w.sealed(contract.PurposeTypedCode, p.next(1), p.Account)}
	for range 3 {
		if _, err := d.verify(call("sign-in"), req); err != nil {
			t.Error(err)
		}
	}
	_, err = d.verify(call("another"), req)
	refusedAs(t, err, contract.Expired)
	// What a repetition says again is counted by whom it happened to: one wrong code, two right ones.
	replica := &service.Service{Metrics: counted}
	for result, want := range map[string]float64{"wrong": 1, "right": 2, "repeated": 2 + 2 + 2, "expired": 2} {
		if got := counter(t, replica, "sallyport_sms_verifications_total", result); got != want {
			t.Errorf("%v are %s, want %v", got, result, want)
		}
	}
}

// A call that is asked again before it is answered, of another replica, is one call: each of its answers is the same.
func TestOneConfirmationAskedManyTimesAtOnceIsOne(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p := w.person("u1", phone)
	p.ask("c1", contract.ForEnrolment, p.phone)
	req := contract.SMSConfirmRequest{
		Account: p.Account, Challenge: "c1", Flow: p.flow, Enrolment: p.enrolment, Code: w.sealed(contract.PurposeTypedCode, p.next(0), p.Account),
	}
	var all sync.WaitGroup
	answers := make([]contract.Confirmation, 12)
	for i := range answers {
		all.Go(func() {
			r, err := newRecords(t.Context(), svc.DB, svc.Outbox)
			if err != nil {
				t.Error(err)
				return
			}
			d := &dispatcher{clock: w.Clock, log: svc.Log, keys: svc.Keys, records: r, metrics: newMetrics(prometheus.NewRegistry(), Settings{})}
			if answers[i], err = d.confirm(bus.WithCallID(t.Context(), "one"), req); err != nil {
				t.Errorf("answer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	for i, a := range answers {
		if a != answers[0] || !a.Since.Equal(w.Clock.Now()) {
			t.Errorf("answer %d is %+v, not %+v", i, a, answers[0])
		}
	}
}

func TestWrongCodesLockAndDisable(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c0", contract.ForSignIn, "")
	code := p.next(1)
	for _, typed := range []string{"", "12345", "1234567", "12345a", "\u0661\u0662\u0663\u0664\u0665\u0666", "123\t456", "-123456"} {
		if e := refusal(t, p.verify("c0", contract.ForSignIn, typed), contract.InvalidCode); *e.AttemptsLeft != 5 || e.Reason != contract.CodeMalformed {
			t.Errorf("%q: %+v, %d left", typed, e, *e.AttemptsLeft)
		}
	}
	id, texts := "c0", 2
	for n := 1; n <= 50; n++ {
		e := refusal(t, p.verify(id, contract.ForSignIn, other(code)), contract.InvalidCode)
		want := (5 - n%5) % 5
		if *e.AttemptsLeft != want || e.Reason != "" {
			t.Fatalf("after %d: %+v, %d left, want %d", n, e, *e.AttemptsLeft, want)
		}
		none := p.verify(id, contract.ForSignIn, "12345")
		if want == 0 {
			if e := refusal(t, none, contract.Locked); e.AttemptsLeft != nil || e.Reason != "" {
				t.Fatalf("no code in a lock, after %d: %+v", n, e)
			}
		} else if e := refusal(t, none, contract.InvalidCode); *e.AttemptsLeft != want || e.Reason != contract.CodeMalformed {
			t.Fatalf("no code, after %d: %+v, %d left, want %d", n, e, *e.AttemptsLeft, want)
		}
		if closed := n%5 == 0 && n < 50; closed != (e.LockedUntil != nil) {
			t.Fatalf("after %d: locked until %v", n, e.LockedUntil)
		}
		if n%5 == 0 && n < 50 {
			w.Clock.Add(time.Hour)
			id = fmt.Sprintf("c%d", n)
			p.ask(id, contract.ForSignIn, "")
			code = p.next(texts)
			texts++
		}
	}
	w.Clock.Add(1000 * time.Hour)
	for _, err := range []error{p.verify(id, contract.ForSignIn, code), second(p.open("late", contract.ForSignIn, ""))} {
		if code := contract.CodeOf(err); code == contract.Expired {
			continue // the challenge is over, too
		}
		if e := refusal(t, err, contract.Locked); e.LockedUntil != nil || e.RetryAfter != 3600 {
			t.Errorf("%+v", e)
		}
	}
	// A reset is the way out.
	p.epoch.Person, p.enrolment = 2, "en-2"
	n := len(p.codes())
	p.ask("new", contract.ForEnrolment, p.phone)
	if _, err := p.confirm("new", p.next(n)); err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestACodeServesNothingElse(t *testing.T) {
	w := newWorld(t)
	w.start()
	p, q := w.person("u1", phone), w.person("u2", "+17015550002")
	p.enrol()
	q.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)

	refusedAs(t, q.verify("c1", contract.ForSignIn, code), contract.NotFound) // another person
	refusedAs(t, p.verify("c1", contract.ForStepUp, code), contract.NotFound) // another purpose
	elsewhere := *p
	elsewhere.flow = "another"
	refusedAs(t, elsewhere.verify("c1", contract.ForSignIn, code), contract.NotFound)
	_, err := p.confirm("c1", code)
	refusedAs(t, err, contract.NotFound)
	refusedAs(t, p.verify("c2", contract.ForSignIn, code), contract.NotFound)
	elsewhere = *p
	elsewhere.enrolment = "another"
	_, err = elsewhere.open("c3", contract.ForSignIn, "")
	refusedAs(t, err, contract.NotFound)
	if err := p.verify("c1", contract.ForSignIn, code); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

// A code is looked at while it is open and young, no newer text has taken its place, and its number is still the person's.
// Anything else is refused before it is compared: nobody learns what it was, and no guess is used up on it.
func TestWhenACodeMayBeTyped(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*challenge, *person)
		dead   bool
	}{
		"a code that was just sent": {func(*challenge, *person) {}, false},
		"its last moment":           {func(c *challenge, _ *person) { c.ExpiresAt = now.Add(time.Millisecond) }, false},
		"the moment it expires":     {func(c *challenge, _ *person) { c.ExpiresAt = now }, true},
		"long after":                {func(c *challenge, _ *person) { c.ExpiresAt = now.Add(-time.Hour) }, true},
		"typed before":              {func(c *challenge, _ *person) { c.Closed = closedVerified }, true},
		"closed":                    {func(c *challenge, _ *person) { c.Closed = closedExpired }, true},
		"a newer text": {func(_ *challenge, p *person) {
			p.Sends.Recent = append(p.Sends.Recent, sent{Challenge: "c2", Flow: "f1"})
		}, true},
		"a newer text of another sign-in": {func(_ *challenge, p *person) {
			p.Sends.Recent = append(p.Sends.Recent, sent{Challenge: "c2", Flow: "f2"})
		}, false},
		"no number any more":              {func(_ *challenge, p *person) { p.Active = nil }, true},
		"another number":                  {func(_ *challenge, p *person) { p.Active = &number{Ref: "enrol-2"} }, true},
		"a number that is being enrolled": {func(c *challenge, _ *person) { c.Purpose = contract.ForEnrolment }, true},
	} {
		sms := challenge{ID: "c1", Flow: "f1", Purpose: contract.ForSignIn, Ref: "enrol-1", Closed: stillOpen, ExpiresAt: now.Add(codeLife)}
		who := person{Active: &number{Ref: "enrol-1"}, Sends: sends{Recent: []sent{{Challenge: "c1", Flow: "f1"}}}}
		c.change(&sms, &who)
		if err := alive(sms, who, now); c.dead != (contract.CodeOf(err) == contract.Expired) || !c.dead && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnExpiredCodeIsRefusedAndErased(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	w.ends("c1")
	w.Clock.Add(codeLife)
	refusedAs(t, p.verify("c1", contract.ForSignIn, code), contract.Expired)
	servicetest.Eventually(t, "the code is erased", func() bool {
		c, err := w.records.challenges.Get(t.Context(), "c1")
		return err == nil && len(c.Code) == 0 && len(c.Phone) == 0 && c.Closed == closedExpired && c.State == stateSent
	})
	servicetest.Eventually(t, "nothing is left to do", func() bool {
		due, err := w.records.due(t.Context(), w.Clock.Now().Add(time.Hour), 10, true)
		return err == nil && len(due) == 0
	})
}

func TestAnotherNumberNeedsItsOwnCode(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.ask("c1", contract.ForEnrolment, p.phone)
	code := p.next(0)
	// The same enrolment from another sign-in, with another number: the first number's code proves nothing about it.
	w.Clock.Add(30 * time.Second)
	again := *p
	again.flow, again.phone = "another", "+17015550002"
	again.ask("c2", contract.ForEnrolment, again.phone)
	_, err := p.confirm("c1", code)
	refusedAs(t, err, contract.Expired)
	if _, err := again.confirm("c2", again.next(0)); err != nil {
		t.Fatal(err)
	}
}

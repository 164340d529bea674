package sms

import (
	"fmt"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/service/servicetest"
)

// A resend, or a replica whose clock is ahead, that read the record before the code was typed takes nothing back.
func TestATypedCodeIsNotReplacedAfterwards(t *testing.T) {
	w := newWorld(t)
	ctx, now := t.Context(), asKept(w.Clock.Now())
	for _, o := range []ending{
		{outcome: contract.OutcomeSuperseded, reason: contract.ReasonSuperseded, closed: closedSuperseded},
		{outcome: contract.OutcomeExpired, reason: contract.ReasonExpired, closed: closedExpired},
	} {
		id := "c-" + string(o.outcome)
		read, _, err := w.records.open(ctx, challenge{
			ID: id, Portal: "northwind", User: "u1", State: queued, Attempts: 1, Ambiguous: 1, CreatedAt: now, ExpiresAt: now.Add(codeLife),
			LeaseUntil: now, Due: now, Code: []byte("sealed"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := w.records.claim(ctx, read, "call", now); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if ended, err := w.records.end(ctx, read, o, now); ended || err != nil {
			t.Errorf("%s was written: %v, %v", o.outcome, ended, err)
		}
		if c, err := w.records.challenges.Get(ctx, id); err != nil || c.Closed != closedVerified || c.ended() {
			t.Errorf("closed as %q, %s, %v", c.Closed, c.State, err)
		}
	}
}

// texted asks for a text and waits until it is out.
func (p *dana) texted(id string, purpose contract.Purpose, phone string) error {
	p.tb.Helper()
	if _, err := p.open(id, purpose, phone); err != nil {
		return err
	}
	p.publish(id, "job-"+id)
	p.ends(id)
	return nil
}

// Accounts that enrol a stranger's number use up the limit of such texts, and not that of its owner's sign-ins.
func TestB19AStrangersNumberIsNotClosedForItsOwner(t *testing.T) {
	w := newWorld(t)
	w.start("SMS_LIMIT_NUMBER", "4/24h")
	owner := w.person("owner", phone)
	owner.enrol()
	var refused error
	for i := range 5 {
		other := w.person(fmt.Sprintf("mallory%d", i), phone)
		refused = other.texted("c-"+other.User, contract.ForEnrolment, other.phone)
	}
	if e := refusal(t, refused, contract.RateLimited); e.Reason != contract.LimitNumber {
		t.Errorf("%+v", e)
	}
	owner.flow = "another"
	if err := owner.texted("c-owner", contract.ForSignIn, ""); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// Texts that our own fault kept here count for nobody.
func TestAFaultOfOursIsGivenBackToThePerson(t *testing.T) {
	w := newWorld(t)
	svc := w.start("SMS_LIMIT_PERSON", "3/24h")
	w.fault("credentials", 0)
	p := w.person("u1", phone)
	for i := range 5 {
		id := fmt.Sprintf("c%d", i)
		p.ask(id, contract.ForEnrolment, p.phone)
		w.Clock.Add(codeLife)
		if f := w.ends(id); f.Outcome != contract.OutcomeExpired {
			t.Fatalf("%+v", f)
		}
		servicetest.Eventually(t, id+" is given back", func() bool {
			person, err := w.records.people.Get(t.Context(), personID(p.Account))
			return err == nil && len(person.Sends.Recent) == 0 && person.Sends.Today == 0
		})
	}
	// And an alarm ends with its cause, though nobody asks for a text any more.
	w.fault("none", 0)
	servicetest.Eventually(t, "the pause is over", func() bool { return gauge(t, svc, "sallyport_sms_queue_paused") == 0 })
}

// A stop counts under the settings of now: not where the rule is off, and not where it was only recorded.
func TestAStopThatWasRecordedOrSwitchedOffRefusesNobody(t *testing.T) {
	for _, c := range []struct {
		name     string
		recorded bool
		set      []string
		refused  bool
	}{
		{"off", false, []string{"SMS_CONVERSION_STOP", "off"}, false},
		{"recorded", true, nil, false},
		{"in force", false, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			now := asKept(w.Clock.Now())
			if err := w.records.traffic.Insert(t.Context(), traffic{
				ID: "northwind/US", Portal: "northwind", Country: "US", Sent: meter.Buckets{}, Answered: meter.Buckets{},
				Since: now, Stops: 1, StoppedUntil: now.Add(20 * time.Hour), Recorded: c.recorded,
			}); err != nil {
				t.Fatal(err)
			}
			w.start(c.set...)
			p := w.person("u1", phone)
			if _, err := p.open("c1", contract.ForEnrolment, p.phone); (err != nil) != c.refused {
				t.Error(err)
			}
		})
	}
}

// Who types each code gets sixty texts a day, and no more until midnight UTC.
func TestB24SixtyTextsADay(t *testing.T) {
	now := time.Date(2026, 3, 12, 1, 0, 0, 0, time.UTC)
	var s sends
	for i := range mostADay {
		if e, _ := s.allowed(usualPerson, now); e != nil {
			t.Fatalf("text %d: %v", i, e)
		}
		s = s.with(now, fmt.Sprintf("c%d", i), fmt.Sprintf("f%d", i), 1)
		s.Forgiven = s.Serial // its code was typed
		now = now.Add(5 * time.Minute)
	}
	e, by := s.allowed(usualPerson, now)
	if e == nil || e.Reason != contract.LimitPerson || by.Most != mostADay || e.RetryAfter != int((18*time.Hour).Seconds()) {
		t.Errorf("%+v by %+v", e, by)
	}
	if again, ok := s.without(s.Recent[len(s.Recent)-1].Challenge); !ok || again.Today != mostADay-1 {
		t.Errorf("given back: %v, %d today", ok, again.Today)
	}
	if e, _ := s.allowed(usualPerson, now.Add(18*time.Hour)); e != nil {
		t.Errorf("the next day: %v", e)
	}
	if s = s.with(now.Add(18*time.Hour), "next", "next", 1); s.Today != 1 {
		t.Errorf("%d on the next day", s.Today)
	}
}

// A crash between a reset and what it ends leaves no text of before it to be sent: the news of the reset, told again, or
// the person's next text ends them.
func TestAResetThatWasHalfDoneIsFinished(t *testing.T) {
	for name, next := range map[string]func(*dana) error{
		"the person asks again": func(p *dana) error {
			p.flow, p.enrolment = "another", "en-again"
			_, err := p.open("c2", contract.ForEnrolment, p.phone)
			if contract.CodeOf(err) == contract.TooSoon {
				return nil
			}
			return err
		},
		"the news comes again": func(p *dana) error {
			return bus.Publish(p.tb.Context(), p.Bus(contract.Policy), contract.EnrolmentReset, "reset-again", contract.ResetFact{
				Account: p.Account, Reset: "rs1", Epoch: contract.Epoch{Population: 1, Person: 2}, At: p.Clock.Now(),
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start()
			p := w.person("u1", phone)
			if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
				t.Fatal(err)
			}
			if _, raised, err := w.records.raise(t.Context(), p.Account, 2); !raised || err != nil {
				t.Fatal(raised, err)
			}
			p.epoch.Person = 2
			if err := next(p); err != nil {
				t.Fatal(err)
			}
			if f := w.ends("c1"); f.Outcome != contract.OutcomeSuperseded {
				t.Errorf("%+v", f)
			}
		})
	}
}

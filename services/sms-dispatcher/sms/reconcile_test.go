package sms

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

func TestWhichJobsAreLaidAside(t *testing.T) {
	now := time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)
	for _, c := range []struct {
		age  time.Duration // of the challenge
		want lateness
	}{
		{-time.Second, notLate},
		{0, notLate},
		{grace - time.Millisecond, notLate},
		{grace, lateWaited},
		{codeLife - time.Millisecond, lateWaited},
		{codeLife, lateExpired},
		{24 * time.Hour, lateExpired},
	} {
		if got := tooLate(now.Add(codeLife-c.age), now); got != c.want {
			t.Errorf("a job of a challenge %v old: %q, want %q", c.age, got, c.want)
		}
	}
	if got := tooLate(time.Time{}, now); got != notLate {
		t.Errorf("a job without an expiry: %q", got)
	}
}

// laidAside reads how many jobs were left to the reconciler.
func laidAside(tb testing.TB, svc *service.Service, why lateness) float64 {
	tb.Helper()
	return labelled(tb, svc, "sallyport_sms_laid_aside_total", "why", string(why))
}

// Of a backlog, the youngest are sent first; what has expired is not sent at all, and all of it ends.
func TestTheYoungestOfABacklogGoFirst(t *testing.T) {
	w := newWorld(t)
	svc := w.start("SMS_WORKERS", "1")
	w.fault("spend_limit", 0) // nothing can be sent
	const all, step = 24, 15 * time.Second
	var people []*dana
	for i := range all {
		p := w.person(fmt.Sprintf("u%02d", i), fmt.Sprintf("+1701555%04d", 100+i))
		people = append(people, p)
		p.ask("c-"+p.User, contract.ForEnrolment, p.phone)
		w.Clock.Add(step)
	}
	servicetest.Eventually(t, "the queue is paused", func() bool { return gauge(t, svc, "sallyport_sms_queue_paused") == 1 })
	w.fault("none", 0)
	outcomes := map[contract.Outcome]int{}
	for _, p := range people {
		outcomes[w.ends("c-"+p.User).Outcome]++
	}
	alive := int(codeLife/step) - 1 // the last was opened one step ago
	if outcomes[contract.OutcomeSent] < alive || outcomes[contract.OutcomeSent]+outcomes[contract.OutcomeExpired] != all {
		t.Errorf("%v, want %d sent and the others expired", outcomes, alive)
	}
	// The first two were in hand when the pause began; behind them the order is that of age.
	var order []string
	for _, m := range w.inbox("") {
		order = append(order, m.To)
	}
	rest := order[min(2, len(order)):]
	if !slices.IsSortedFunc(rest, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("texts went to %v", order)
	}
	if n := laidAside(t, svc, lateWaited) + laidAside(t, svc, lateExpired); n == 0 {
		t.Error("no job was laid aside")
	}
}

// A process that dies between writing an outcome and telling it leaves that to the reconciler; what is told twice is
// stored once.
func TestAnOutcomeIsToldOnceAtLeastAndStoredOnce(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p := w.person("u1", phone)
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	c, err := w.records.challenges.Get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := w.records.end(t.Context(), c, ending{outcome: contract.OutcomeSent}, w.Clock.Now()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	q := w.person("u2", "+17015550102")
	q.ask("c2", contract.ForEnrolment, q.phone)
	if _, err := q.confirm("c2", q.next(0)); err != nil {
		t.Fatal(err)
	}
	over := func(id string) {
		t.Helper()
		servicetest.Eventually(t, id+" is over", func() bool {
			c, err := w.records.challenges.Get(t.Context(), id)
			return err == nil && c.Settled && len(c.Code) == 0 && len(c.Phone) == 0
		})
	}
	over("c2") // soon after the right code
	if f := w.told("c1"); len(f) != 0 {
		t.Fatalf("told already: %+v", f)
	}
	w.Clock.Add(tellAgain)
	w.ends("c1")
	if s := p.status("c1"); s.Delivery != contract.DeliverySent {
		t.Errorf("%+v", s)
	}
	w.Clock.Add(codeLife)
	over("c1")
	if a, b := w.told("c1"), w.told("c2"); len(a) != 1 || len(b) != 1 || a[0].Outcome != contract.OutcomeSent || b[0].Outcome != contract.OutcomeSent {
		t.Errorf("told %+v and %+v", a, b)
	}
	if n := counter(t, svc, "sallyport_sms_verifications_total", "right"); n != 1 {
		t.Errorf("%v right codes", n)
	}
}

// times is a clock that says each of its times once, and the last for ever.
type times struct{ next []time.Time }

func (c *times) Now() time.Time {
	t := c.next[0]
	if len(c.next) > 1 {
		c.next = c.next[1:]
	}
	return t
}

// A process that stood still between its reservation and its call for as long as its lease does not call any more:
// somebody else may have. The attempt is given back.
func TestNothingIsSentWhenTheLeaseIsNearlyOver(t *testing.T) {
	w := newWorld(t)
	svc := w.start("SMS_WORKERS", "1")
	for name, late := range map[string]time.Duration{"the lease": lease - time.Second, "the code": codeLife} {
		p := w.person("u"+name[4:], phone)
		id := "c" + name[4:]
		if _, err := p.open(id, contract.ForEnrolment, p.phone); err != nil {
			t.Fatal(err)
		}
		c, err := w.records.challenges.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		m := newMetrics(prometheus.NewRegistry(), Settings{})
		d := &dispatcher{
			settings: Settings{SendTimeout: 5 * time.Second}, log: svc.Log, keys: svc.Keys, records: w.records, metrics: m,
			clock: &times{next: []time.Time{w.Clock.Now(), w.Clock.Now().Add(late)}}, // of the reservation, of the last look
		}
		done, made, err := d.call(t.Context(), c, "slow", true, func(became class) {
			if became != "" {
				t.Errorf("%s: a call was made and became %s", name, became)
			}
		})
		if done || made || err != nil {
			t.Errorf("%s: done %v, made %v, %v", name, done, made, err)
		}
		if c, err = w.records.challenges.Get(t.Context(), id); err != nil || c.Attempts != 0 || c.State != queued {
			t.Errorf("%s: %d attempts, %s, %v", name, c.Attempts, c.State, err)
		}
	}
	if n := len(w.inbox("")); n != 0 {
		t.Errorf("%d texts", n)
	}
}

// Whoever has a challenge in hand has it alone, in this process too.
func TestAChallengeIsInOneHand(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p := w.person("u1", phone)
	d := &dispatcher{clock: w.Clock, log: svc.Log, metrics: newMetrics(prometheus.NewRegistry(), Settings{})}
	if !d.hands.take("c1") || d.hands.take("c1") || !d.hands.take("c2") {
		t.Fatal("taken twice, or not at all")
	}
	// A delivery of the same job meanwhile is done: it reads nothing, and there is nothing here to read from.
	job := bus.Delivery[contract.ChallengeRequest]{Message: contract.ChallengeRequest{Account: p.Account, Challenge: "c1"}}
	if err := d.requested(context.Background(), job); err != nil {
		t.Error(err)
	}
	d.hands.give("c1")
	if !d.hands.take("c1") {
		t.Error("not given back")
	}
}

package sms

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

// ears hear what is told of limits and stops.
type ears struct {
	mu      sync.Mutex
	limits  []contract.LimitFact
	stops   []contract.StopFact
	resumes []contract.StopFact
}

func (w *world) hear() *ears {
	w.tb.Helper()
	e := &ears{}
	policy := w.Bus(contract.Policy)
	hear(w, policy, contract.TextsLimited, &e.mu, &e.limits)
	hear(w, policy, contract.TextsStopped, &e.mu, &e.stops)
	hear(w, policy, contract.TextsResumed, &e.mu, &e.resumes)
	return e
}

func hear[T any](w *world, b *bus.Bus, ev contract.Event[T], mu *sync.Mutex, into *[]T) {
	w.tb.Helper()
	if err := bus.Consume(w.tb.Context(), b, ev, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[T]) error {
		mu.Lock()
		defer mu.Unlock()
		*into = append(*into, d.Message)
		return nil
	}); err != nil {
		w.tb.Fatal(err)
	}
}

// told waits until n facts were told, and fails if there are more.
func told[T any](tb testing.TB, e *ears, facts *[]T, n int) []T {
	tb.Helper()
	servicetest.Eventually(tb, fmt.Sprintf("%d facts are told", n), func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(*facts) >= n })
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(*facts) != n {
		tb.Fatalf("%d facts are told, want %d: %+v", len(*facts), n, *facts)
	}
	return *facts
}

// noLimits switches every limit off, but the named ones.
func noLimits(but ...string) []string {
	vars := []string{"SMS_CONVERSION_STOP", "off"}
	for _, name := range []string{"PERSON", "NUMBER", "PREFIX", "NETWORK", "COUNTRY", "PORTAL"} {
		vars = append(vars, "SMS_LIMIT_"+name, "off")
	}
	return append(vars, but...)
}

// series reads one series of a metric by its labels' values.
func series(tb testing.TB, svc *service.Service, name string, values ...string) float64 {
	tb.Helper()
	families, err := svc.Metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got := 0
			for _, l := range m.GetLabel() {
				for _, v := range values {
					if l.GetValue() == v {
						got++
					}
				}
			}
			if f.GetName() == name && got == len(values) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	tb.Fatalf("no metric %s of %v", name, values)
	return 0
}

// Each limit refuses the text after its last one, and nothing that it is not about: with 429, its reason, and the time
// after which another is let through. It is told once, and in the meters stands no number.
func TestB24EachLimitRefuses(t *testing.T) {
	for _, row := range []struct {
		guard    contract.Guard
		limits   []string
		phones   []string // of people one after the other; the last one is refused
		network  string
		elsewhat func(*dana) // makes somebody whom the limit is not about
		subject  string
	}{
		{
			guard: contract.GuardNumber, phones: []string{"+17015550101", "+17015550101", "+17015550101"},
			elsewhat: func(p *dana) { p.phone = "+17015550102" }, subject: "xxx-xxx-0101",
		},
		{
			guard: contract.GuardPrefix, phones: []string{"+17015550101", "+17015550102", "+17015559999"},
			elsewhat: func(p *dana) { p.phone = "+17015560101" }, subject: "US ",
		},
		{
			guard: contract.GuardNetwork, phones: []string{"+17015550101", "+17015560101", "+447400123456"}, network: "192.0.2.0/24",
			elsewhat: func(p *dana) { p.network = "198.51.100.0/24" }, subject: "192.0.2.0/24",
		},
		{
			guard: contract.GuardCountry, phones: []string{"+17015550101", "+12065550102", "+13105550103"},
			elsewhat: func(p *dana) { p.phone = "+447400123456" }, subject: "US",
		},
		{
			guard: contract.GuardPortal, phones: []string{"+17015550101", "+12065550102", "+447400123456"},
			elsewhat: func(p *dana) { p.Portal = "southwind" },
		},
	} {
		t.Run(string(row.guard), func(t *testing.T) {
			w := newWorld(t)
			heard := w.hear()
			svc := w.start(noLimits("SMS_LIMIT_"+strings.ToUpper(string(row.guard)), "2/10m,40/24h")...)
			var people []*dana
			for i, phone := range row.phones {
				p := w.person(fmt.Sprintf("u%d", i), phone)
				p.network = row.network
				people = append(people, p)
			}
			last := people[2]
			for i, p := range people[:2] {
				for range 3 { // a repetition is no other text
					if _, err := p.open(fmt.Sprintf("c%d", i), contract.ForEnrolment, p.phone); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range 3 {
				_, err := last.open(fmt.Sprintf("c2-%d", i), contract.ForEnrolment, last.phone)
				e := refusal(t, err, contract.RateLimited)
				if e.Reason != reasonOf(row.guard) || e.RetryAfter < 600 || e.RetryAfter > 660 || e.Detail == "" {
					t.Fatalf("%+v", e)
				}
			}
			fact := told(t, heard, &heard.limits, 1)[0]
			if fact.Account != last.Account || fact.Guard != row.guard || fact.Limit != 2 || fact.WindowSeconds != 600 || fact.Recorded || !strings.HasPrefix(fact.Subject, row.subject) {
				t.Errorf("told %+v", fact)
			}
			if n := series(t, svc, "sallyport_sms_guard_total", string(row.guard), "blocked"); n != 3 {
				t.Errorf("the metric says %v", n)
			}
			// Whom it is not about goes on, whatever was refused.
			stranger := *w.person("u9", "+17015550101")
			stranger.network = row.network
			row.elsewhat(&stranger)
			if _, err := stranger.open("c9", contract.ForEnrolment, stranger.phone); err != nil {
				t.Errorf("somebody else: %v", err)
			}
			all := meterIDs(t, w.records)
			if len(all) == 0 {
				t.Fatal("there are no meters")
			}
			for _, id := range all {
				for _, digits := range []string{"7015550", "555010", "20655501", "740012"} {
					if strings.Contains(id, digits) {
						t.Errorf("a number stands in the meter %s", id)
					}
				}
			}
			// A code that comes back makes room; so does time.
			people[0].publish("c0", "requested-c0")
			if _, err := people[0].confirm("c0", people[0].next(0)); err != nil {
				t.Fatal(err)
			}
			servicetest.Eventually(t, "the code that was typed makes room", func() bool {
				_, err := last.open("c3", contract.ForEnrolment, last.phone)
				return err == nil
			})
			w.Clock.Add(11 * time.Minute)
			if _, err := last.open("c4", contract.ForEnrolment, last.phone); err != nil {
				t.Errorf("after the window: %v", err)
			}
		})
	}
}

// However often and wherever one challenge is asked for, it counts once; and what is refused counts for nothing.
func TestARepetitionCountsOnce(t *testing.T) {
	w := newWorld(t)
	w.start(noLimits("SMS_LIMIT_NUMBER", "90/10m", "SMS_LIMIT_PORTAL", "90/10m")...)
	w.start(noLimits("SMS_LIMIT_NUMBER", "90/10m", "SMS_LIMIT_PORTAL", "90/10m")...)
	p := w.person("u1", phone)
	counts := func() (n int) {
		for _, id := range meterIDs(t, w.records) {
			m, err := w.records.meters.Docs.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			n = max(n, meter.Limit{Most: 90, Window: 10 * time.Minute}.Sum(m.Counts["w600"], w.Clock.Now()))
		}
		return n
	}
	for round := range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		through := ""
		for i := range 12 {
			id := fmt.Sprintf("c%d", round)
			if i%3 == 2 {
				id = fmt.Sprintf("c%d-%d", round, i) // one of them all is let through; the others are too soon
			}
			wg.Go(func() {
				_, err := p.open(id, contract.ForEnrolment, p.phone)
				if code := contract.CodeOf(err); err != nil && code != contract.TooSoon {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					through = id
				}
			})
		}
		wg.Wait()
		if n := counts(); n != round+1 {
			t.Errorf("%d texts count after %d were let through", n, round+1)
		}
		p.publish(through, "job-"+through)
		w.ends(through) // sent: one that the next round replaces unsent would be given back
		w.Clock.Add(2 * time.Minute)
	}
}

// A country that leaves the list is texted no more, whoever confirmed a number there before.
func TestACountryThatLeavesTheListIsNotTexted(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p := w.person("u1", phone)
	p.enrol()
	if err := svc.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.start("SMS_COUNTRIES", "GB")
	_, err := p.open("c1", contract.ForSignIn, "")
	if e := refusal(t, err, contract.InvalidRequest); e.Reason != contract.PhoneCountry {
		t.Errorf("%+v", e)
	}
}

// A guard that only records lets through, counts and tells.
func TestAGuardMayOnlyRecord(t *testing.T) {
	w := newWorld(t)
	heard := w.hear()
	svc := w.start(noLimits("SMS_LIMIT_NUMBER", "1/10m", "SMS_LIMIT_PERSON", "1/10m", "SMS_DAILY_BUDGET", "1",
		"SMS_RECORD_ONLY", "number, person,budget")...)
	for i := range 3 {
		p := w.person(fmt.Sprintf("u%d", i%2), phone)
		p.ask(fmt.Sprintf("c%d", i), contract.ForEnrolment, phone)
		w.ends(fmt.Sprintf("c%d", i))
		w.Clock.Add(time.Minute)
	}
	if n := len(w.inbox(phone)); n != 3 {
		t.Errorf("%d texts", n)
	}
	guards := make(map[contract.Guard]int)
	for _, f := range told(t, heard, &heard.limits, 3) {
		if !f.Recorded {
			t.Errorf("%+v", f)
		}
		guards[f.Guard]++
	}
	if guards[contract.GuardNumber] != 1 || guards[contract.GuardPerson] != 1 || guards[contract.GuardBudget] != 1 {
		t.Errorf("told %v", guards)
	}
	for guard, want := range map[string]float64{"number": 2, "person": 1, "budget": 2} {
		if n := series(t, svc, "sallyport_sms_guard_total", guard, "recorded"); n != want {
			t.Errorf("%s: the metric says %v, want %v", guard, n, want)
		}
	}
}

func TestB24FifteenTextsADay(t *testing.T) {
	w := newWorld(t)
	heard := w.hear()
	w.start()
	p := w.person("u1", phone)
	for i := range 15 {
		if _, err := p.open(fmt.Sprintf("c%d", i), contract.ForEnrolment, p.phone); err != nil {
			t.Fatalf("text %d: %v", i+1, err)
		}
		w.Clock.Add(30 * time.Minute)
	}
	for i := range 2 {
		_, err := p.open(fmt.Sprintf("d%d", i), contract.ForEnrolment, p.phone)
		if e := refusal(t, err, contract.RateLimited); e.Reason != contract.LimitPerson || e.RetryAfter != int((24*time.Hour-15*30*time.Minute).Seconds()) {
			t.Fatalf("%+v", e)
		}
	}
	if f := told(t, heard, &heard.limits, 1)[0]; f.Guard != contract.GuardPerson || f.Limit != 15 || f.WindowSeconds != 86400 || f.Account != p.Account {
		t.Errorf("told %+v", f)
	}
	w.Clock.Add(24*time.Hour - 15*30*time.Minute)
	if _, err := p.open("d9", contract.ForEnrolment, p.phone); err != nil {
		t.Errorf("a day after the first: %v", err)
	}
}

// A country whose codes do not come back is stopped: no text is let through, and none that waits is sent. An operator
// may end it; by itself it ends after an hour.
func TestB24ACountryWhoseCodesDoNotComeBackIsStopped(t *testing.T) {
	w := newWorld(t)
	heard := w.hear()
	svc := w.start(noLimits("SMS_CONVERSION_STOP", "10%/4")...)
	pump := func(round string) {
		for i := range 4 {
			p := w.person(fmt.Sprintf("%s%d", round, i), fmt.Sprintf("+4474001234%02d", i))
			p.ask("c"+p.User, contract.ForEnrolment, p.phone)
			w.ends("c" + p.User)
		}
		w.Clock.Add(codeLife)
	}
	pump("a")
	stop := told(t, heard, &heard.stops, 1)[0]
	if stop.Portal != "northwind" || stop.Country != "GB" || stop.Sent != 4 || stop.Answered != 0 || stop.Recorded || !stop.Until.Equal(stop.At.Add(time.Hour)) {
		t.Fatalf("told %+v", stop)
	}
	p := w.person("u1", "+447400123499")
	_, err := p.open("c1", contract.ForEnrolment, p.phone)
	if e := refusal(t, err, contract.RateLimited); e.Reason != contract.LimitConversion || e.RetryAfter != 3600 {
		t.Errorf("%+v", e)
	}
	servicetest.Eventually(t, "the stop is shown", func() bool { return series(t, svc, "sallyport_sms_country_stopped", "GB") == 1 })
	for _, other := range []*dana{w.person("u2", phone), {world: w, Account: contract.Account{Portal: "southwind", User: "u1"}, phone: "+447400123499", flow: "f", enrolment: "e", epoch: p.epoch}} {
		if _, err := other.open("o-"+other.Portal, contract.ForEnrolment, other.phone); err != nil {
			t.Errorf("%+v: %v", other.Account, err)
		}
	}
	traffic := func() contract.TrafficReply {
		r, err := bus.Request(t.Context(), w.gateway, contract.SMSTraffic, contract.TrafficRequest{Portal: "northwind"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := traffic(); len(r.Countries) != 1 || r.Countries[0].Country != "GB" || r.Countries[0].Sent != 4 || !r.Countries[0].StoppedUntil.Equal(*stop.Until) {
		t.Errorf("traffic %+v", r)
	}
	office, err := OpenOffice(t.Context(), w.DB(contract.SMSDispatcher), w.Clock)
	if err != nil {
		t.Fatal(err)
	}
	if id, fact, err := office.Resume(t.Context(), "northwind", "gb", "operator:ops", "carrier mended"); err != nil || fact == nil || id == "" {
		t.Fatal(id, fact, err)
	}
	if _, fact, err := office.Resume(t.Context(), "northwind", "GB", "operator:ops", "again"); err != nil || fact != nil {
		t.Fatal(fact, err)
	}
	servicetest.Eventually(t, "the country is texted again", func() bool {
		_, err := p.open("c1", contract.ForEnrolment, p.phone)
		return err == nil
	})
	// It comes again within a day: two hours. What was let through before, and was not sent yet, is not.
	pump("b")
	stop = told(t, heard, &heard.stops, 2)[1]
	if !stop.Until.Equal(stop.At.Add(2 * time.Hour)) {
		t.Errorf("told %+v", stop)
	}
	w.Clock.Add(2 * time.Hour)
	servicetest.Eventually(t, "the stop is over by itself", func() bool {
		_, err := p.open("c2", contract.ForEnrolment, "")
		return err == nil
	})
	servicetest.Eventually(t, "the end is shown", func() bool { return series(t, svc, "sallyport_sms_country_stopped", "GB") == 0 })
}

// A text that was let through before its country was stopped is not sent any more.
func TestAQueuedTextToAStoppedCountryIsNotSent(t *testing.T) {
	w := newWorld(t)
	w.start(noLimits("SMS_CONVERSION_STOP", "10%/50")...)
	p := w.person("u1", "+447400123499")
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	if err := w.records.traffic.Insert(t.Context(), traffic{
		ID: trafficID(p.Portal, "GB"), Portal: p.Portal, Country: "GB", Stops: 1, StoppedUntil: w.Clock.Now().Add(time.Hour),
		Sent: meter.Buckets{}, Answered: meter.Buckets{},
	}); err != nil {
		t.Fatal(err)
	}
	tries := 0
	servicetest.Eventually(t, "the stop is seen", func() bool {
		tries++
		other := w.person(fmt.Sprintf("other%d", tries), p.phone)
		_, err := other.open("c"+other.User, contract.ForEnrolment, p.phone)
		return contract.CodeOf(err) == contract.RateLimited
	})
	p.publish("c1", "requested-c1")
	if f := w.ends("c1"); f.Outcome != contract.OutcomeFailed || f.Reason != contract.ReasonStopped {
		t.Errorf("%+v", f)
	}
	if n := len(w.inbox("")); n != 0 {
		t.Errorf("%d texts", n)
	}
}

func TestASpentBudgetRefuses(t *testing.T) {
	w := newWorld(t)
	heard := w.hear()
	svc := w.start("SMS_DAILY_BUDGET", "2")
	for i := range 2 {
		p := w.person(fmt.Sprintf("u%d", i), fmt.Sprintf("+1701555%04d", 100+i))
		p.ask("c"+p.User, contract.ForEnrolment, p.phone)
		w.ends("c" + p.User)
	}
	now := w.Clock.Now().UTC()
	for i := range 3 {
		p := w.person(fmt.Sprintf("u%d", 5+i), fmt.Sprintf("+1701555%04d", 200+i))
		_, err := p.open("c"+p.User, contract.ForEnrolment, p.phone)
		e := refusal(t, err, contract.RateLimited)
		if midnight := now.Truncate(meter.Day).Add(meter.Day).Sub(now); e.Reason != contract.LimitBudget || e.RetryAfter != int(midnight.Seconds()) {
			t.Errorf("%+v, midnight is in %v", e, midnight)
		}
	}
	if f := told(t, heard, &heard.limits, 1)[0]; f.Guard != contract.GuardBudget || f.Limit != 2 || f.Portal != "northwind" {
		t.Errorf("told %+v", f)
	}
	servicetest.Eventually(t, "what is left is shown", func() bool { return gauge(t, svc, "sallyport_sms_budget_left") == 0 })
	r, err := bus.Request(t.Context(), w.gateway, contract.SMSTraffic, contract.TrafficRequest{Portal: "northwind"})
	if err != nil || !r.BudgetSpent {
		t.Errorf("%+v, %v", r, err)
	}
	w.Clock.Add(now.Truncate(meter.Day).Add(meter.Day).Sub(now))
	p := w.person("u9", phone)
	if _, err := p.open("c9", contract.ForEnrolment, phone); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// A text that could not be sent looks like no attack.
func TestATextThatWasNotSentIsGivenBack(t *testing.T) {
	w := newWorld(t)
	w.start(noLimits("SMS_LIMIT_NUMBER", "1/24h", "SMS_CONVERSION_STOP", "10%/1")...)
	w.fault("opted_out", 1)
	p := w.person("u1", phone)
	p.ask("c1", contract.ForEnrolment, phone)
	if f := w.ends("c1"); f.Outcome != contract.OutcomeFailed {
		t.Fatalf("%+v", f)
	}
	w.Clock.Add(codeLife)
	servicetest.Eventually(t, "there is room again", func() bool {
		_, err := p.open("c2", contract.ForEnrolment, phone)
		return err == nil
	})
}

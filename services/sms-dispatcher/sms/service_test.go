package sms

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

const phone = "+17015559443"

func TestB20B21B23EnrolConfirmSignInAndStepUp(t *testing.T) {
	w := newWorld(t)
	w.start("SMS_SENDER_ID", "Northwind", "SMS_MAX_PRICE_USD", "0.05")
	p := w.person("u1", phone)

	rep := p.ask("c1", contract.ForEnrolment, "(701) 555-9443")
	if rep.Destination != "xxx-xxx-9443" || !rep.ExpiresAt.Equal(w.Clock.Now().Add(5*time.Minute)) || !rep.ResendAt.Equal(w.Clock.Now().Add(30*time.Second)) {
		t.Errorf("reply %+v", rep)
	}
	code := p.next(0)
	m := w.inbox(phone)[0]
	if want := code + " is your Northwind Portal code.\n@portal.northwind.test #" + code; m.Body != want {
		t.Errorf("the text is %q, want %q", m.Body, want)
	}
	if a := m.Attributes; a["AWS.SNS.SMS.SMSType"] != "Transactional" || a["AWS.SNS.SMS.SenderID"] != "" || a["AWS.SNS.SMS.MaxPrice"] != "0.05" {
		t.Errorf("attributes %v", a)
	}
	if f := w.ends("c1"); f.Outcome != contract.OutcomeSent || f.Attempts != 1 {
		t.Errorf("outcome %+v", f)
	}
	if s := p.status("c1"); s.Delivery != contract.DeliverySent || s.Destination != "xxx-xxx-9443" {
		t.Errorf("status %+v", s)
	}
	// The number is not the person's before it is confirmed.
	_, err := p.open("c2", contract.ForSignIn, "")
	refusedAs(t, err, contract.NotFound)

	got, err := p.confirm("c1", " "+code[:3]+"-"+code[3:])
	if err != nil || got.Factor != contract.FactorSMS || got.Enrolment != p.enrolment || got.Epoch != p.epoch || !got.Since.Equal(w.Clock.Now()) {
		t.Fatalf("confirm: %+v, %v", got, err)
	}
	servicetest.Eventually(t, "the enrolment is told", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.joins) == 1 })
	if j := w.joins[0]; j.Enrolment != p.enrolment || j.Epoch != p.epoch || j.Account != p.Account {
		t.Errorf("told %+v", j)
	}

	// Signing in again and a step-up need no wait after a right code; each has a code of its own.
	for i, purpose := range []contract.Purpose{contract.ForSignIn, contract.ForStepUp, contract.ForSignIn} {
		p.flow = fmt.Sprintf("flow-%d", i)
		id := fmt.Sprintf("s%d", i)
		p.ask(id, purpose, "")
		code := p.next(i + 1)
		if err := p.verify(id, purpose, code); err != nil {
			t.Fatalf("%s: %v", purpose, err)
		}
		refusedAs(t, p.verify(id, purpose, code[:3]+" "+code[3:]), contract.Expired)
	}
	if logs := w.Logs.String(); strings.Contains(logs, "5559443") || strings.Contains(logs, code) {
		t.Error("a number or a code is in the logs")
	}
}

func TestB19ARefusedNumberIsNotStored(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	for typed, reason := range map[string]string{"12": "No telephone", "+49 171 1234567": "country", "+1 900 555 0123": "Premium"} {
		_, err := p.open("c1", contract.ForEnrolment, typed)
		if e := refusal(t, err, contract.InvalidRequest); e.Field != "phone" || !strings.Contains(e.Detail, reason) {
			t.Errorf("%q: %+v", typed, e)
		}
	}
	_, err := p.open("c1", contract.ForEnrolment, "")
	refusedAs(t, err, contract.NotFound)
}

func TestB24AResendReplacesTheCode(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.ask("c1", contract.ForEnrolment, p.phone)
	first := p.next(0)
	w.ends("c1")

	_, err := p.open("c2", contract.ForEnrolment, "")
	if e := refusal(t, err, contract.TooSoon); e.RetryAfter != 30 {
		t.Errorf("%+v", e)
	}
	// Another sign-in, and the number typed anew, make no difference: the wait is the person's.
	again := *p
	again.flow = "another"
	_, err = again.open("c2", contract.ForEnrolment, p.phone)
	refusedAs(t, err, contract.TooSoon)

	w.Clock.Add(30 * time.Second)
	rep := p.ask("c2", contract.ForEnrolment, "")
	if rep.Destination != "xxx-xxx-9443" || !rep.ResendAt.Equal(w.Clock.Now().Add(time.Minute)) {
		t.Errorf("%+v", rep)
	}
	second := p.next(1)
	_, err = p.confirm("c1", first)
	refusedAs(t, err, contract.Expired)
	if first != second {
		_, err = p.confirm("c2", first)
		if e := refusal(t, err, contract.InvalidCode); *e.AttemptsLeft != 4 {
			t.Errorf("%d attempts left", *e.AttemptsLeft)
		}
	}
	// The text of c1 was sent, and stays so: a challenge ends once.
	if f := w.told("c1"); len(f) != 1 || f[0].Outcome != contract.OutcomeSent {
		t.Errorf("c1 ended %+v", f)
	}
	if _, err := p.confirm("c2", second); err != nil {
		t.Fatal(err)
	}
}

// A crash between letting the newer text through and closing the older code leaves nothing open.
func TestB24TheOlderCodeIsDeadAsSoonAsTheNewerTextIsLetThrough(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	person, err := w.records.people.Get(t.Context(), personID(p.Account))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := w.records.admit(t.Context(), person, person.Sends.with(w.Clock.Now(), "c2", p.flow, 1), nil); !ok || err != nil {
		t.Fatal(ok, err)
	}
	refusedAs(t, p.verify("c1", contract.ForSignIn, code), contract.Expired)
}

func TestB24FiveTextsInTenMinutes(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	for i, wait := range []time.Duration{0, 30, 60, 120, 240} {
		w.Clock.Add(wait * time.Second)
		p.ask(fmt.Sprintf("c%d", i), contract.ForEnrolment, p.phone)
		p.next(i)
	}
	w.Clock.Add(time.Second)
	_, err := p.open("c5", contract.ForEnrolment, "")
	if e := refusal(t, err, contract.RateLimited); e.RetryAfter != 299 {
		t.Errorf("%+v", e)
	}
	w.Clock.Add(299 * time.Second)
	p.ask("c5", contract.ForEnrolment, "")
	p.next(5)
}

func TestOpeningTheSameChallengeAgainChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	first := p.ask("c1", contract.ForEnrolment, p.phone)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if rep, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil || rep != first {
				t.Errorf("%+v, %v", rep, err)
			}
		})
	}
	wg.Wait()
	w.ends("c1")
	if n := len(p.codes()); n != 1 {
		t.Errorf("%d texts", n)
	}
	stranger := w.person("u2", phone)
	_, err := stranger.open("c1", contract.ForEnrolment, p.phone)
	refusedAs(t, err, contract.Conflict)
}

func TestParallelOpensLetOneTextThrough(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.start()
	p := w.person("u1", phone)
	var through, tooSoon, slow atomic.Int32
	var wg sync.WaitGroup
	slots := make(chan struct{}, 10)
	for i := range 30 {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			switch _, err := p.open(fmt.Sprintf("c%d", i), contract.ForEnrolment, p.phone); contract.CodeOf(err) {
			case "":
				through.Add(1)
			case contract.TooSoon:
				tooSoon.Add(1)
			case contract.Unavailable: // a slow machine; the one that went through may be among them
				slow.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := through.Load(); n > 1 || n+slow.Load() == 0 || n+slow.Load()+tooSoon.Load() != 30 {
		t.Errorf("%d went through, %d were too soon, %d not answered", n, tooSoon.Load(), slow.Load())
	}
	if d, err := w.records.people.Get(t.Context(), personID(p.Account)); err != nil || d.Sends.Serial != 1 {
		t.Errorf("%d texts are remembered, %v", d.Sends.Serial, err)
	}
}

func TestAnExpiredChallengeIsNeverSent(t *testing.T) {
	w := newWorld(t)
	p := w.person("u1", phone)
	svc := w.start()
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(codeLife)
	p.publish("c1", "requested-c1")
	if f := w.ends("c1"); f.Outcome != contract.OutcomeExpired || f.Reason != contract.ReasonExpired {
		t.Errorf("%+v", f)
	}
	if s := p.status("c1"); s.Delivery != contract.DeliveryFailed || s.Reason != contract.ReasonExpired {
		t.Errorf("%+v", s)
	}
	if n := len(p.codes()); n != 0 {
		t.Errorf("%d texts", n)
	}
	_ = svc
}

func TestASupersededChallengeIsNeverSent(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(30 * time.Second)
	// The reconciler finds c1 overdue and may send it before c2 is opened; either way it ends once.
	p.ask("c2", contract.ForEnrolment, "")
	w.ends("c2")
	p.publish("c1", "requested-c1")
	f := w.ends("c1")
	if f.Outcome != contract.OutcomeSuperseded && f.Outcome != contract.OutcomeSent {
		t.Errorf("%+v", f)
	}
	want := map[contract.Outcome]int{contract.OutcomeSuperseded: 1, contract.OutcomeSent: 2}[f.Outcome]
	if n := len(p.codes()); n != want {
		t.Errorf("%d texts, want %d", n, want)
	}
}

func TestALostStreamLosesNoChallenge(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(grace)
	code := p.next(0)
	if f := w.ends("c1"); f.Outcome != contract.OutcomeSent {
		t.Errorf("%+v", f)
	}
	if _, err := p.confirm("c1", code); err != nil {
		t.Error(err)
	}
}

func TestRepeatedJobsInAnyOrderSendOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.start()
	var people []*dana
	var jobs []func()
	for i := range 10 {
		p := w.person(fmt.Sprintf("u%d", i), fmt.Sprintf("+1701555%04d", 100+i))
		if _, err := p.open("c-"+p.User, contract.ForEnrolment, p.phone); err != nil {
			t.Fatal(err)
		}
		people = append(people, p)
		for n := range 5 {
			jobs = append(jobs, func() { p.publish("c-"+p.User, fmt.Sprintf("job-%s-%d", p.User, n)) })
		}
	}
	rand.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	for _, job := range jobs {
		job()
	}
	for _, p := range people {
		if f := w.ends("c-" + p.User); f.Outcome != contract.OutcomeSent {
			t.Errorf("%+v", f)
		}
	}
	for _, p := range people {
		if n := len(p.codes()); n != 1 {
			t.Errorf("%s got %d texts", p.User, n)
		}
		if n := len(w.told("c-" + p.User)); n != 1 {
			t.Errorf("%s's challenge ended %d times", p.User, n)
		}
	}
}

func TestFaultsOfSNS(t *testing.T) {
	for _, c := range []struct {
		mode        string
		times       int
		outcome     contract.Outcome
		reason      contract.FailureReason
		texts, call int
	}{
		{"throttle", 2, contract.OutcomeSent, "", 1, 1},
		{"error500", 1, contract.OutcomeSent, "", 1, 2},
		{"error500", 0, contract.OutcomeFailed, contract.ReasonCarrier, 0, 3},
		{"hang", 1, contract.OutcomeSent, "", 1, 2},
		{"reset", 1, contract.OutcomeSent, "", 2, 2}, // delivered, but the answer was lost: once more, with the same code
		{"reset", 0, contract.OutcomeFailed, contract.ReasonCarrier, 3, 3},
		{"opted_out", 0, contract.OutcomeFailed, contract.ReasonOptedOut, 0, 1},
		{"invalid", 0, contract.OutcomeFailed, contract.ReasonInvalidNumber, 0, 1},
		{"spend_limit", 1, contract.OutcomeSent, "", 1, 1},
	} {
		t.Run(fmt.Sprintf("%s-%d", c.mode, c.times), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.start("SMS_SEND_TIMEOUT", "1s")
			p := w.person("u1", phone)
			w.fault(c.mode, c.times)
			p.ask("c1", contract.ForEnrolment, p.phone)
			if f := w.ends("c1"); f.Outcome != c.outcome || f.Reason != c.reason || f.Attempts != c.call {
				t.Errorf("ended %+v, want %s %s after %d", f, c.outcome, c.reason, c.call)
			}
			codes := p.codes()
			if len(codes) != c.texts {
				t.Fatalf("%d texts, want %d", len(codes), c.texts)
			}
			for _, code := range codes {
				if code != codes[0] {
					t.Errorf("a retry changed the code")
				}
			}
			if len(codes) > 0 {
				if _, err := p.confirm("c1", codes[0]); err != nil {
					t.Error(err)
				}
			}
			if logs := w.Logs.String(); strings.Contains(logs, "5559443") {
				t.Error("the number is in the logs")
			}
		})
	}
}

func TestAThrottledMessageIsSentWhenTheThrottlingEnds(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p := w.person("u1", phone)
	w.fault("throttle", 5) // which is when the breaker opens
	p.ask("c1", contract.ForEnrolment, p.phone)
	if s := p.status("c1"); s.Delivery != contract.DeliveryQueued {
		t.Errorf("%+v", s)
	}
	deadline := time.Now().Add(40 * time.Second)
	for len(p.codes()) == 0 && time.Now().Before(deadline) {
		servicetest.Eventually(t, "the service is ready", func() bool { return len(svc.Ready(t.Context())) == 0 })
	}
	if f := w.ends("c1"); f.Outcome != contract.OutcomeSent || f.Attempts != 1 {
		t.Errorf("%+v", f)
	}
}

func TestASpentAccountPausesTheQueue(t *testing.T) {
	w := newWorld(t)
	svc := w.start()
	p := w.person("u1", phone)
	w.fault("spend_limit", 0)
	p.ask("c1", contract.ForEnrolment, p.phone)
	servicetest.Eventually(t, "the pause is shown", func() bool { return gauge(t, svc, "sallyport_sms_queue_paused") == 1 })
	began := time.Now()
	servicetest.Eventually(t, "the person is told", func() bool {
		s := p.status("c1")
		return s.Delivery == contract.DeliveryQueued && s.Paused
	})
	// It is tried after a second, and then after two more: not again and again.
	servicetest.Eventually(t, "it is tried twice more", func() bool { return attempts(t, svc, ours) >= 3 })
	if took := time.Since(began); took < firstPause+2*firstPause-500*time.Millisecond {
		t.Errorf("three tries within %v", took)
	}
	w.fault("none", 0)
	p.next(0)
	if f := w.ends("c1"); f.Outcome != contract.OutcomeSent || f.Attempts != 1 {
		t.Errorf("%+v", f)
	}
	servicetest.Eventually(t, "the pause is over", func() bool { return gauge(t, svc, "sallyport_sms_queue_paused") == 0 })
}

// attempts reads how many calls of SNS became this.
func attempts(tb testing.TB, svc *service.Service, became class) float64 {
	tb.Helper()
	return labelled(tb, svc, "sallyport_sms_attempts_total", "class", string(became))
}

func TestTheDailyBudgetIsExact(t *testing.T) {
	w := newWorld(t)
	w.start("SMS_DAILY_BUDGET", "3")
	w.start("SMS_DAILY_BUDGET", "3")
	var people []*dana
	for i := range 6 { // all are let through before the first is sent
		p := w.person(fmt.Sprintf("u%d", i), fmt.Sprintf("+1701555%04d", 100+i))
		if _, err := p.open("c-"+p.User, contract.ForEnrolment, p.phone); err != nil {
			t.Fatal(err)
		}
		people = append(people, p)
	}
	for _, p := range people {
		p.publish("c-"+p.User, "requested-c-"+p.User)
	}
	servicetest.Eventually(t, "the budget is spent", func() bool { return len(w.inbox("")) == 3 })
	w.Clock.Add(codeLife)
	sent := 0
	for i := range 6 {
		if w.ends(fmt.Sprintf("c-u%d", i)).Outcome == contract.OutcomeSent {
			sent++
		}
	}
	if sent != 3 || len(w.inbox("")) != 3 {
		t.Errorf("%d sent, %d texts", sent, len(w.inbox("")))
	}
}

func TestAnAttemptThatACrashLeftCountsAsAmbiguous(t *testing.T) {
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
	code, err := svc.Keys.Store.Open(c.Code, placeOfCode(p.Account, "c1"))
	if err != nil {
		t.Fatal(err)
	}
	// A worker that reserved an attempt, and was never heard of again.
	if _, ok, err := w.records.reserve(t.Context(), c, "dead", true, w.Clock.Now()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	p.publish("c1", "job-1")
	w.Clock.Add(lease)
	p.publish("c1", "job-2")
	f := w.ends("c1")
	if f.Outcome != contract.OutcomeSent || f.Attempts != 2 {
		t.Errorf("%+v", f)
	}
	if codes := p.codes(); len(codes) != 1 || codes[0] != string(code) {
		t.Errorf("%d texts, or another code", len(codes))
	}
	if c, err := w.records.challenges.Get(t.Context(), "c1"); err != nil || c.Ambiguous != 1 {
		t.Errorf("%d ambiguous, %v", c.Ambiguous, err)
	}
}

func TestForgedAndBrokenJobsSendNothing(t *testing.T) {
	w := newWorld(t)
	w.start()
	p, q := w.person("u1", phone), w.person("u2", "+17015550002")
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	p.publish("no-such-challenge", "forged-1")
	q.publish("c1", "forged-2") // somebody else's challenge
	for i, data := range []string{"garbage", `{"challenge":7}`, "", `[]`, strings.Repeat("x", 60_000)} {
		l := bus.Letter{ID: fmt.Sprintf("broken-%d", i), Subject: contract.ChallengeRequested.Subject, Data: []byte(data)}
		if err := w.gateway.Send(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	w.dead(7)
	if n := len(w.inbox("")); n != 0 {
		t.Errorf("%d texts", n)
	}
	// And nobody waits for them.
	p.publish("c1", "requested-c1")
	p.next(0)
}

func TestAChallengeThatDoesNotOpenIsDeadAndFails(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	if _, err := p.open("c1", contract.ForEnrolment, p.phone); err != nil {
		t.Fatal(err)
	}
	// A row moved to another place does not open there.
	c, err := w.records.challenges.Get(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	c.ID = "moved"
	if _, _, err := w.records.open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	p.publish("moved", "job-moved")
	w.dead(1)
	if f := w.ends("moved"); f.Outcome != contract.OutcomeFailed {
		t.Errorf("%+v", f)
	}
	if n := len(w.inbox("")); n != 0 {
		t.Errorf("%d texts", n)
	}
}

func TestAResetForgetsWhatIsOlderAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	p.ask("c1", contract.ForSignIn, "")
	code := p.next(1)
	policy := w.Bus(contract.Policy)
	reset := func(id string, epoch int64) {
		t.Helper()
		fact := contract.ResetFact{Account: p.Account, Reset: id, Epoch: contract.Epoch{Population: 1, Person: epoch}, At: w.Clock.Now()}
		if err := bus.Publish(t.Context(), policy, contract.EnrolmentReset, "reset-"+id, fact); err != nil {
			t.Fatal(err)
		}
	}
	reset("r1", 2)
	servicetest.Eventually(t, "the number is gone", func() bool {
		d, err := w.records.people.Get(t.Context(), personID(p.Account))
		return err == nil && d.Active == nil && d.Epoch == 2
	})
	refusedAs(t, p.verify("c1", contract.ForSignIn, code), contract.Expired)
	_, err := p.open("c2", contract.ForEnrolment, p.phone) // from before the reset
	refusedAs(t, err, contract.Expired)

	// Who enrols before the news arrives keeps the new number.
	w.Clock.Add(time.Hour)
	p.epoch.Person, p.enrolment = 3, "en-3"
	p.ask("c3", contract.ForEnrolment, p.phone)
	if _, err := p.confirm("c3", p.next(2)); err != nil {
		t.Fatal(err)
	}
	reset("r2", 3)
	reset("r3", 2)
	q := w.person("u2", "+17015550002")
	q.enrol() // by then the news was seen
	if d, err := w.records.people.Get(t.Context(), personID(p.Account)); err != nil || d.Active == nil || d.Active.Enrolment != "en-3" {
		t.Errorf("%+v, %v", d.Active, err)
	}
}

func TestSettings(t *testing.T) {
	_, err := config.Load[Settings](map[string]string{
		"NATS_URL": "nats://x", "MONGODB_URI": "mongodb://x", "KEYSET_FILE": "k", "SMS_COUNTRIES": "US,XX", "SMS_SENDER_ID": "12 34",
		"SMS_SENDERS": "US=Northwind", "SMS_TEMPLATES": `{"DE":"{portal}"}`,
		"SMS_MAX_PRICE_USD": "cheap", "SMS_DAILY_BUDGET": "-1", "SMS_WORKERS": "0", "SMS_SEND_TIMEOUT": "1h", "AWS_ACCESS_KEY_ID": "a",
		"AWS_REGION": "The East", "AWS_ENDPOINT_URL_SNS": "garbage",
	})
	var problems *config.Error
	if !errors.As(err, &problems) || len(problems.Problems) != 11 {
		t.Fatal(err)
	}
	// Where no country is named, none may be texted.
	bare, err := config.Load[Settings](map[string]string{"NATS_URL": "nats://x", "MONGODB_URI": "mongodb://x", "KEYSET_FILE": "k", "AWS_REGION": "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if to, refusal := parsePhone("+17015550123", bare.Countries); refusal == nil || refusal.Reason != contract.PhoneCountry {
		t.Errorf("%s may be texted: %v", to, refusal)
	}
}

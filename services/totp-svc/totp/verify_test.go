package totp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/pkg/seal"
)

// parallel makes n calls at once, alternating between the replicas, and returns how they ended. A call that the store
// did not answer in time, on a busy machine, is repeated under its id, when the refusal says.
func (h *house) parallel(n int, f func(context.Context, *server) error) []error {
	return h.atOnce(n, func(s *server) (err error) {
		ctx, cancel := context.WithTimeout(once(), 30*time.Second)
		defer cancel()
		for {
			if err = f(ctx, s); contract.CodeOf(err) != contract.Unavailable {
				return err
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(time.Duration(contract.AsError(err).RetryAfter) * time.Second):
			}
		}
	})
}

// atOnce does the same with each call made only once.
func (h *house) atOnce(n int, f func(*server) error) []error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	gate := make(chan struct{})
	for i := range n {
		s := []*server{h.a, h.b}[i%2]
		wg.Go(func() { <-gate; errs[i] = f(s) })
	}
	close(gate)
	wg.Wait()
	return errs
}

func tally(errs []error) map[contract.Code]int {
	out := make(map[contract.Code]int)
	for _, err := range errs {
		out[contract.CodeOf(err)]++
	}
	return out
}

func TestOneCodeSucceedsOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	code := p.code(p.app, 0)
	got := tally(h.parallel(50/crowd, func(ctx context.Context, s *server) error { return p.ask(ctx, s, code) }))
	if got[""] != 1 || got[""]+got[contract.InvalidCode]+got[contract.Locked] != 50/crowd {
		t.Errorf("%d times one code: %v; want exactly one success", 50/crowd, got)
	}
	if n := h.counts("sallyport_totp_verifications_total"); n["error"] == 0 && (n["accepted"] != 1 || n["wrong"] != 0 || n["replayed"]+n["locked"] != 50/crowd-1) {
		t.Errorf("the metric says %v", n)
	}
}

func TestParallelGuessesAreCountedExactly(t *testing.T) {
	h := newHouse(t)
	locks := listen(h, contract.FactorLocked)
	p := h.person("u1").enrol("en1")
	code := p.wrongCode(p.app)
	got := tally(h.parallel(200/crowd, func(ctx context.Context, s *server) error { return p.ask(ctx, s, code) }))
	if got[contract.InvalidCode] != 5 || got[contract.Locked] != 200/crowd-5 {
		t.Errorf("%d wrong guesses at once: %v; want 5 evaluated", 200/crowd, got)
	}
	if n := h.counts("sallyport_totp_verifications_total"); n["error"] == 0 && (n["wrong"] != 5 || n["locked"] != 200/crowd-5) {
		t.Errorf("the metric says %v", n)
	}
	if n := p.kept().Guess.Failures; n != 5 {
		t.Errorf("%d failures are kept", n)
	}
	fact := locks.wait(t, 1)[0]
	if fact.Account != p.who || fact.Factor != contract.FactorTOTP || fact.Failures != 5 || !fact.Until.Equal(h.Clock.Now().Add(30*time.Second)) {
		t.Errorf("told: %+v", fact)
	}
	// Neither another replica nor a restart forgets.
	refused(t, p.verifyOn(h.replica(), p.code(p.app, 0)), contract.Locked)
}

func TestLocksOverALongHistory(t *testing.T) {
	h := newHouse(t)
	locks := listen(h, contract.FactorLocked)
	p := h.person("u1").enrol("en1")
	for failure := 1; failure <= 50; failure++ {
		e := refusal(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
		if failure%5 != 0 {
			if left(e) != 5-failure%5 || e.LockedUntil != nil {
				t.Errorf("failure %d: %+v", failure, e)
			}
			continue
		}
		if left(e) != 0 {
			t.Errorf("failure %d: %d attempts left", failure, left(e))
		}
		if failure == 50 {
			break
		}
		wait := min(30*time.Second<<(failure/5-1), time.Hour)
		if e.LockedUntil == nil || !e.LockedUntil.Equal(h.Clock.Now().Add(wait)) {
			t.Errorf("failure %d: locked until %v, want %v", failure, e.LockedUntil, wait)
		}
		h.Clock.Add(wait - time.Millisecond)
		if e := refusal(t, p.verify(p.code(p.app, 0)), contract.Locked); e.RetryAfter != 1 || e.LockedUntil == nil {
			t.Errorf("failure %d, just before it opens: %+v", failure, e)
		}
		h.Clock.Add(time.Millisecond)
	}
	h.Clock.Add(1000 * time.Hour)
	if e := refusal(t, p.verify(p.code(p.app, 0)), contract.Locked); e.LockedUntil != nil || e.RetryAfter != 3600 {
		t.Errorf("disabled: %+v", e)
	}
	facts := locks.wait(t, 10)
	disabled := 0
	for _, f := range facts {
		if f.Until == nil {
			disabled++
			if f.Failures != 50 {
				t.Errorf("disabled by %d failures", f.Failures)
			}
		}
	}
	if disabled != 1 {
		t.Errorf("told %d times that the factor is disabled", disabled)
	}
}

func TestARightCodeStartsTheCountAgain(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	for range 4 {
		refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	}
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Fatal(err)
	}
	if e := refusal(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode); left(e) != 4 {
		t.Errorf("%d attempts left", left(e))
	}
}

func TestAStepBelowTheLastIsSpent(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	h.Clock.Add(5 * period)
	if err := p.verify(p.code(p.app, 1)); err != nil {
		t.Fatal(err)
	}
	for steps := -1; steps <= 1; steps++ {
		refused(t, p.verify(p.code(p.app, steps)), contract.InvalidCode)
	}
	h.Clock.Add(period)
	refused(t, p.verify(p.code(p.app, 0)), contract.InvalidCode)
	if err := p.verify(p.code(p.app, 1)); err != nil {
		t.Error(err)
	}
}

func TestAUsedCodeStaysUsedAfterARestart(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	code := p.code(p.app, 0)
	if err := p.verify(code); err != nil {
		t.Fatal(err)
	}
	if e := refusal(t, p.verifyOn(h.replica(), code), contract.InvalidCode); left(e) != 4 {
		t.Errorf("%+v", e)
	}
	refused(t, p.verifyOn(h.b, code), contract.InvalidCode)
}

func TestB14AUsedCodeInAnotherSpellingIsUsed(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	code := p.code(p.app, 0)
	typed := code[:3] + " " + code[3:]
	if err := p.verify(typed); err != nil {
		t.Fatalf("in two groups: %v", err)
	}
	var spellings []string
	for i := 1; i < 6; i++ {
		for _, gap := range []string{" ", "-", " - ", "  ", "--"} {
			spellings = append(spellings, code[:i]+gap+code[i:])
		}
	}
	spellings = append(spellings, code, " "+code, code+" ", " "+code+" ", strings.Join(strings.Split(code, ""), " "))
	for _, s := range spellings {
		if e := refusal(t, p.verify(s), contract.InvalidCode); left(e) != 4 {
			t.Errorf("%q: %+v", s, e)
		}
		forgive(h, p)
	}
	if n := len(spellings); n != 30 {
		t.Errorf("%d spellings", n)
	}
	next := p.code(p.app, 1)
	for _, s := range []string{"\t" + next, next + "\n", "+" + next, next[:3] + "\u00a0" + next[3:], next[:3] + "\u2013" + next[3:], next + "0", "", next[:5]} {
		if e := refusal(t, p.verify(s), contract.InvalidCode); left(e) != 5 || e.Reason != contract.CodeMalformed {
			t.Errorf("%q: %+v", s, e)
		}
	}
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d guesses were counted, of what was no code", n)
	}
	if err := p.verify(next); err != nil {
		t.Error(err)
	}
}

// What is no code is told how many attempts are left, or that there are none now, and changes nothing.
func TestWhatIsNoCodeIsNotCounted(t *testing.T) {
	h := newHouse(t)
	nobody := h.person("nobody")
	nobody.current = "none"
	if e := refusal(t, nobody.verify("12345"), contract.InvalidCode); left(e) != 5 || e.Reason != contract.CodeMalformed {
		t.Errorf("of somebody without an authenticator: %+v", e)
	}
	if nobody.kept().ID != "" {
		t.Error("a document was made")
	}
	p := h.person("u1").enrol("en1")
	if _, _, err := p.begin("en2"); err != nil {
		t.Fatal(err)
	}
	for failure := 1; failure <= 5; failure++ {
		if e := refusal(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode); left(e) != 5-failure || e.Reason != "" {
			t.Errorf("failure %d: %+v", failure, e)
		}
		want := contract.InvalidCode
		if failure == 5 {
			want = contract.Locked
		}
		for _, s := range []*server{h.a, h.b} {
			_, confirm := s.confirm(once(), contract.TOTPConfirmRequest{Account: p.who, Enrolment: "en2", Code: p.typed("12345")})
			for _, err := range []error{p.verifyOn(s, "1234567"), confirm} {
				e := refusal(t, err, want)
				if want == contract.InvalidCode && (left(e) != 5-failure || e.Reason != contract.CodeMalformed) {
					t.Errorf("no code, after %d wrong ones: %+v", failure, e)
				}
				if want == contract.Locked && (left(e) != -1 || e.Reason != "" || e.LockedUntil == nil || e.RetryAfter != 30) {
					t.Errorf("no code, in the lock: %+v", e)
				}
			}
		}
	}
	h.Clock.Add(30 * time.Second)
	if e := refusal(t, p.verify(""), contract.InvalidCode); left(e) != 5 || e.Reason != contract.CodeMalformed {
		t.Errorf("no code, after the lock: %+v", e)
	}
	if n := p.kept().Guess.Failures; n != 5 {
		t.Errorf("%d failures are kept", n)
	}
	if n := h.counts("sallyport_totp_verifications_total"); n["error"] == 0 && (n["wrong"] != 5 || n["malformed"] != 10 || n["locked"] != 2) {
		t.Errorf("the metric says %v", n)
	}
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Error(err)
	}
}

func TestB16ThePhonesClockIsOff(t *testing.T) {
	for _, steps := range []int{+8, -8, +119, -119} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			h := newHouse(t)
			p := h.person("u1").enrol("en1")
			if e := refusal(t, p.verify(p.code(p.app, steps)), contract.InvalidCode); e.ClockOffset != nil {
				t.Error("said after one code")
			}
			if e := refusal(t, p.verify(p.code(p.app, steps)), contract.InvalidCode); e.ClockOffset != nil {
				t.Error("said after the same code twice")
			}
			h.Clock.Add(period)
			call := once()
			req := contract.TOTPVerifyRequest{Account: p.who, Enrolment: p.current, Code: p.typed(p.code(p.app, steps))}
			for _, s := range []*server{h.a, h.b} { // the second time its reply was lost
				_, err := s.verify(call, req)
				if e := refusal(t, err, contract.InvalidCode); e.ClockOffset == nil || *e.ClockOffset != steps*30 || left(e) != 2 {
					t.Errorf("the next code: %+v", e)
				}
			}
			refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
			h.Clock.Add(period)
			if e := refusal(t, p.verify(p.code(p.app, steps)), contract.InvalidCode); e.ClockOffset != nil {
				t.Error("said after a wrong code between")
			}
			h.Clock.Add(time.Minute)
			if err := p.verify(p.code(p.app, 0)); err != nil {
				t.Errorf("with the clock set right: %v", err)
			}
			if p.kept().Drift != nil {
				t.Error("still remembered")
			}
		})
	}
}

func TestB16TheClockIsOffAtTheFirstCode(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	app, _, err := p.begin("en1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.confirm("en1", p.code(app, -6))
	if e := refusal(t, err, contract.InvalidCode); e.ClockOffset != nil {
		t.Error("said after one code")
	}
	h.Clock.Add(period)
	_, err = p.confirm("en1", p.code(app, -6))
	if e := refusal(t, err, contract.InvalidCode); e.ClockOffset == nil || *e.ClockOffset != -180 {
		t.Errorf("%+v", e)
	}
}

func TestB17VerifyIsIdempotentByCallID(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	req := contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.code(p.app, 0))}
	call := once()
	for i, err := range h.parallel(8, func(_ context.Context, s *server) error { _, err := s.verify(call, req); return err }) {
		if err != nil {
			t.Errorf("attempt %d of one call: %v", i, err)
		}
	}
	// The same call once more, after a guess of somebody else that is remembered in the same place.
	other := bus.NewID()
	for slot(other) != slot(bus.CallID(call)) {
		other = bus.NewID()
	}
	refused(t, p.ask(bus.WithCallID(t.Context(), other), h.a, p.wrongCode(p.app)), contract.InvalidCode)
	if _, err := h.replica().verify(call, req); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if n := p.kept().Guess.Failures; n != 1 {
		t.Errorf("%d failures, want the one of the other guess", n)
	}
	_, err := h.b.verify(once(), req)
	refused(t, err, contract.InvalidCode)

	bad := contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.wrongCode(p.app))}
	call = once()
	for i, err := range h.parallel(8, func(_ context.Context, s *server) error { _, err := s.verify(call, bad); return err }) {
		if e := refusal(t, err, contract.InvalidCode); left(e) != 2 {
			t.Errorf("attempt %d of one wrong call: %+v", i, e)
		}
	}
	if n := p.kept().Guess.Failures; n != 3 {
		t.Errorf("%d failures", n)
	}
}

// A replica that dies after the count and before the comparison has cost the person nothing.
func TestACountedCallWithoutAnEndIsComparedOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	call := once()
	g := guess{id: documentID(p.who), call: bus.CallID(call), now: h.a.now()}
	for range 3 {
		refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	}
	if _, ok, err := h.a.state.countActive(t.Context(), g, "en1"); !ok || err != nil {
		t.Fatalf("count: %v, %v", ok, err)
	}
	refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode) // the fifth: closed
	req := contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.code(p.app, 0))}
	if _, err := h.b.verify(call, req); err != nil {
		t.Errorf("the repeated call: %v", err)
	}
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d failures", n)
	}
}

// A call that is repeated later is compared as of its guess: against another step the same digits would be another one,
// and nobody has counted that.
func TestARepeatedCallIsComparedAsOfItsGuess(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	h.Clock.Add(2 * period)
	lucky, lost := once(), once()
	for slot(bus.CallID(lost)) == slot(bus.CallID(lucky)) { // one would be forgotten for the other, and be another guess
		lost = once()
	}
	early, right := p.typed(p.code(p.app, 4)), p.typed(p.code(p.app, 0))
	ask := func(call context.Context, code contract.Sealed) error {
		_, err := h.b.verify(call, contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: code})
		return err
	}
	refused(t, ask(lucky, early), contract.InvalidCode)
	g := guess{id: documentID(p.who), call: bus.CallID(lost), now: h.a.now()}
	if _, ok, err := h.a.state.countActive(t.Context(), g, "en1"); !ok || err != nil {
		t.Fatalf("count: %v, %v", ok, err)
	}
	h.Clock.Add(4 * period)
	refused(t, ask(lucky, early), contract.InvalidCode)
	if n := p.kept().Guess.Failures; n != 2 {
		t.Errorf("%d failures", n)
	}
	if err := ask(lost, right); err != nil {
		t.Errorf("the right code of a call that came to no end: %v", err)
	}
}

// A replica that dies between the fifth failure and the telling of it: the next refused guess tells.
func TestALockIsToldAfterACrash(t *testing.T) {
	h := newHouse(t)
	locks := listen(h, contract.FactorLocked)
	p := h.person("u1").enrol("en1")
	for range 5 {
		g := guess{id: documentID(p.who), call: bus.NewID(), now: h.a.now()}
		if _, ok, err := h.a.state.countActive(t.Context(), g, "en1"); !ok || err != nil {
			t.Fatalf("count: %v, %v", ok, err)
		}
	}
	refused(t, p.verify(p.code(p.app, 0)), contract.Locked)
	if !p.kept().ToldAt.IsZero() {
		t.Error("told while the fifth guess may yet prove right")
	}
	h.Clock.Add(4 * time.Second)
	got := tally(h.parallel(8, func(ctx context.Context, s *server) error { return p.ask(ctx, s, p.code(p.app, 0)) }))
	if got[contract.Locked] != 8 {
		t.Errorf("%v", got)
	}
	if f := locks.wait(t, 1)[0]; f.Failures != 5 || !f.Until.Equal(h.Clock.Now().Add(26*time.Second)) {
		t.Errorf("told: %+v", f)
	}
}

func TestALockIsToldByTheRepeatedCallAfterACrash(t *testing.T) {
	h := newHouse(t)
	locks := listen(h, contract.FactorLocked)
	p := h.person("u1").enrol("en1")
	for range 4 {
		refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	}
	call := once()
	g := guess{id: documentID(p.who), call: bus.CallID(call), now: h.a.now()}
	if _, ok, err := h.a.state.countActive(t.Context(), g, "en1"); !ok || err != nil {
		t.Fatalf("count: %v, %v", ok, err)
	}
	_, err := h.b.verify(call, contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.wrongCode(p.app))})
	if e := refusal(t, err, contract.InvalidCode); left(e) != 0 || e.LockedUntil == nil {
		t.Errorf("%+v", e)
	}
	locks.wait(t, 1)
}

func TestAMovedSecretDoesNotOpen(t *testing.T) {
	h := newHouse(t)
	mallory, dana := h.person("mallory").enrol("en1"), h.person("dana").enrol("en1")
	move(h, mallory, dana)
	if _, err := h.a.verify(once(), contract.TOTPVerifyRequest{Account: dana.who, Enrolment: "en1", Code: dana.typed(mallory.code(mallory.app, 0))}); contract.CodeOf(err) != contract.InternalError {
		t.Errorf("a secret moved to another person: %v", err)
	}
	if _, err := h.a.verify(once(), contract.TOTPVerifyRequest{Account: dana.who, Enrolment: "en1", Code: mallory.typed("123456")}); contract.CodeOf(err) != contract.InternalError {
		t.Errorf("a code sealed for another person: %v", err)
	}
	kept := mallory.kept().Active
	if _, err := h.a.svc.Keys.Store.Open(kept.Secret, seal.Place{"northwind", authenticators, "secret", "mallory", "en1"}); err != nil {
		t.Errorf("where it belongs: %v", err)
	}
}

func TestPeopleOfTwoPortalsAreTwoPeople(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	q := h.person("u1")
	q.who.Portal, q.current = "southwind", "en1"
	refused(t, q.verify(p.code(p.app, 0)), contract.NotFound)
	q.enrol("en1")
	refused(t, q.verify(p.code(p.app, 0)), contract.InvalidCode)
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d failures", n)
	}
}

// A wrong code costs one write, a right one two.
func TestWhatAGuessCosts(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	writes := func() (n uint64) {
		families, err := h.a.svc.Metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "sallyport_store_operation_duration_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
				for _, l := range m.GetLabel() {
					if l.GetName() == "command" && l.GetValue() == "other" { // the driver's own
						n -= m.GetHistogram().GetSampleCount()
					}
				}
			}
		}
		return n
	}
	drain(t, h.a)
	before := writes()
	refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	if n := writes() - before; n != 1 {
		t.Errorf("a wrong code: %d commands", n)
	}
	before = writes()
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Fatal(err)
	}
	if n := writes() - before; n != 2 {
		t.Errorf("a right code: %d commands", n)
	}
	if p.kept().Guess != (lockout.State{LastAt: h.Clock.Now()}) {
		t.Errorf("%+v", p.kept().Guess)
	}
}

// drain waits for the letters in hand.
func drain(t *testing.T, s *server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.svc.Outbox.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	h := newHouse(b)
	p := h.person("u1").enrol("en1")
	for b.Loop() {
		h.Clock.Add(period)
		if err := p.verify(p.code(p.app, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

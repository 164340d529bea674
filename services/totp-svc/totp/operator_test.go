package totp

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
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

func (p *person) unlocking(id string) contract.UnlockRequest {
	return contract.UnlockRequest{Account: p.who, ID: id, Actor: "u9", Reason: "called us"}
}

// opens asks for an unlock; want is whether something was opened.
func (p *person) opens(s *server, id string, want bool) {
	p.tb.Helper()
	reply, err := s.unlock(once(), p.unlocking(id))
	if err != nil || reply.Unlocked != want {
		p.tb.Fatalf("unlock %s: %+v, %v; want %v", id, reply, err, want)
	}
}

// guesses are wrong codes of the app, so many in a row.
func (p *person) guesses(n int) {
	p.tb.Helper()
	for range n {
		refused(p.tb, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	}
}

func (p *person) wrongRecovery(n int) {
	p.tb.Helper()
	for range n {
		_, err := p.recover("0000-0000-0000-0000")
		refused(p.tb, err, contract.InvalidCode)
	}
}

func (p *person) status() contract.TOTPStatusReply {
	p.tb.Helper()
	reply, err := bus.Request(once(), p.gateway, contract.TOTPStatus, contract.StatusRequest{Account: p.who})
	if err != nil {
		p.tb.Fatalf("status: %v", err)
	}
	return reply
}

func TestB28AnUnlockStartsTheCountAgain(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.FactorUnlocked)
	p := h.person("u1").enrol("en1")
	codes := p.regenerate()
	if s := p.status(); s.Lock != nil || s.RecoveryLock != nil || s.CodesLeft != 10 || s.AttemptsLeft != 5 {
		t.Errorf("at first: %+v", s)
	}
	h.person("nobody").opens(h.a, "ul0", false)
	p.guesses(4)
	p.opens(h.a, "ul0", false)
	if n := p.kept().Guess.Failures; n != 4 {
		t.Errorf("an unlock of what is open left %d failures, want 4", n)
	}
	if s := p.status(); s.AttemptsLeft != 1 {
		t.Errorf("after four wrong codes: %+v", s)
	}
	p.guesses(1)
	if s := p.status(); s.Lock == nil || s.Lock.Failures != 5 || !s.Lock.Until.Equal(h.Clock.Now().Add(30*time.Second)) || s.RecoveryLock != nil || s.AttemptsLeft != 0 {
		t.Errorf("locked: %+v", s)
	}
	last := p.kept().LastStep

	got, err := bus.Request(once(), h.gateway, contract.TOTPUnlock, p.unlocking("ul1"))
	if err != nil || !got.Unlocked {
		t.Fatalf("unlock: %+v, %v", got, err)
	}
	fact := told.wait(t, 1)[0]
	if want := (contract.UnlockFact{Account: p.who, Factor: contract.FactorTOTP, Actor: "u9", Reason: "called us", At: fact.At}); fact != want || !fact.At.Equal(h.Clock.Now()) {
		t.Errorf("told: %+v", fact)
	}
	if s := p.status(); s.Lock != nil {
		t.Errorf("unlocked: %+v", s)
	}
	// What is spent stays spent, and what is right opens.
	if doc := p.kept(); doc.LastStep != last || doc.Active == nil {
		t.Errorf("the last step is %d, want %d", doc.LastStep, last)
	}
	_, err = h.a.verify(once(), contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.code(p.app, -1))})
	if e := refusal(t, err, contract.InvalidCode); left(e) != 4 {
		t.Errorf("the code that confirmed: %+v", e)
	}
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Errorf("after the unlock: %v", err)
	}

	// Recovery codes alone, and both at once, are one unlock, told once.
	h.Clock.Add(time.Second)
	p.wrongRecovery(5)
	if s := p.status(); s.Lock != nil || s.RecoveryLock == nil || s.RecoveryLock.Failures != 5 {
		t.Errorf("recovery codes locked: %+v", s)
	}
	p.opens(h.b, "ul2", true)
	told.wait(t, 2)
	p.guesses(5)
	p.wrongRecovery(5)
	p.opens(h.b, "ul3", true)
	told.wait(t, 3)
	if s := p.status(); s.Lock != nil || s.RecoveryLock != nil || s.CodesLeft != 10 {
		t.Errorf("both unlocked: %+v", s)
	}
	if _, err := p.recover(codes[0]); err != nil {
		t.Errorf("a recovery code after the unlock: %v", err)
	}
	if n := h.counts("sallyport_totp_unlocks_total"); n["opened"] != 3 || n["none"] != 2 {
		t.Errorf("the metric says %v", n)
	}
}

func TestB28ADisabledFactorIsNotUnlocked(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	p.regenerate()
	disable := func(guess func(int)) {
		for range 10 {
			guess(5)
			h.Clock.Add(time.Hour)
		}
	}
	disable(p.wrongRecovery)
	if s := p.status(); s.RecoveryLock == nil || s.RecoveryLock.Until != nil || s.RecoveryLock.Failures != 50 {
		t.Errorf("recovery codes disabled: %+v", s)
	}
	_, err := h.a.unlock(once(), p.unlocking("ul1"))
	if e := refusal(t, err, contract.Conflict); !strings.Contains(e.Detail, "Only a reset") {
		t.Errorf("%+v", e)
	}
	p.guesses(5)
	p.opens(h.a, "ul2", true) // the authenticator; the codes need a reset as before
	if s := p.status(); s.Lock != nil || s.RecoveryLock == nil {
		t.Errorf("the authenticator opened: %+v", s)
	}
	disable(p.guesses)
	_, err = h.a.unlock(once(), p.unlocking("ul3"))
	if e := refusal(t, err, contract.Conflict); !strings.Contains(e.Detail, "recovery code or a reset") {
		t.Errorf("%+v", e)
	}
	if s := p.status(); s.Lock == nil || s.Lock.Failures != 50 || s.Lock.Until != nil {
		t.Errorf("disabled: %+v", s)
	}
	if n := h.counts("sallyport_totp_unlocks_total"); n["disabled"] != 2 {
		t.Errorf("the metric says %v", n)
	}
}

// Its recovery codes are the way on for who has a disabled authenticator: they open all the same.
func TestLockedRecoveryCodesOpenBesideADisabledAuthenticator(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	codes := p.regenerate()
	for range 10 {
		p.guesses(5)
		h.Clock.Add(time.Hour)
	}
	p.wrongRecovery(5)
	p.opens(h.a, "ul1", true)
	p.opens(h.b, "ul1", true) // its reply was lost
	if s := p.status(); s.Lock == nil || s.Lock.Until != nil || s.RecoveryLock != nil {
		t.Errorf("unlocked: %+v", s)
	}
	if _, err := p.recover(codes[0]); err != nil {
		t.Errorf("a recovery code after the unlock: %v", err)
	}
}

func TestAnUnlockHappensOnce(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.FactorUnlocked)
	p := h.person("u1").enrol("en1")
	p.guesses(5)
	p.opens(h.a, "ul1", true)
	p.opens(h.b, "ul1", true) // its reply was lost
	h.Clock.Add(time.Second)
	p.guesses(5)
	p.wrongRecovery(5)
	// Late, it does nothing more to the authenticator; the recovery codes were not locked when it was asked for, but it
	// has not opened them yet.
	p.opens(h.b, "ul1", true)
	if s := p.status(); s.Lock == nil || s.RecoveryLock != nil {
		t.Errorf("asked again: %+v", s)
	}
	p.wrongRecovery(5)
	p.opens(h.a, "ul1", true)
	if s := p.status(); s.Lock == nil || s.RecoveryLock == nil {
		t.Errorf("asked again: %+v", s)
	}
	p.opens(h.a, "ul2", true)
	told.wait(t, 2)
}

// However guesses and unlocks meet, no more guesses are compared than one round, and one more for each unlock.
func TestB28AnUnlockGivesOneRoundOfGuesses(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	p.regenerate()
	p.guesses(5)
	p.wrongRecovery(5)
	code := p.wrongCode(p.app)
	var guessing, unlocking sync.WaitGroup
	var compared, opened, slow atomic.Int64
	over := make(chan struct{})
	for i := range 2 {
		s := []*server{h.a, h.b}[i]
		unlocking.Go(func() {
			for n := 0; ; n++ {
				reply, err := s.unlock(once(), p.unlocking(fmt.Sprintf("ul%d-%d", i, n)))
				switch {
				case reply.Unlocked:
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
	for i := range 8 {
		s := []*server{h.a, h.b}[i%2]
		guessing.Go(func() {
			for range 32 / crowd {
				switch err := p.verifyOn(s, code); contract.CodeOf(err) {
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
	want := 5*(opened.Load()-1) + int64(p.kept().Guess.Failures)
	if opened.Load() == 0 || compared.Load() > want+5*slow.Load() || compared.Load() < want-5*slow.Load() {
		t.Errorf("%d unlocks, and %d guesses compared, want %d (%d calls were not answered)", opened.Load(), compared.Load(), want, slow.Load())
	}
	t.Logf("%d unlocks, %d guesses compared", opened.Load(), compared.Load())

	// The last of all: five more, and no further one.
	if p.status().Lock == nil {
		p.guesses(5 - p.kept().Guess.Failures)
	}
	p.opens(h.a, "last", true)
	got := tally(h.parallel(40/crowd, func(ctx context.Context, s *server) error { return p.ask(ctx, s, code) }))
	if got[contract.InvalidCode] != 5 || got[contract.Locked] != 40/crowd-5 {
		t.Errorf("after the last unlock: %v, want 5 evaluated", got)
	}
}

func TestAnUnlockTakesNoGuessBack(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	p.guesses(5)
	was := p.kept().Guess
	h.Clock.Add(30 * time.Second)
	p.guesses(1)
	letter, err := bus.NewLetter(once(), contract.FactorUnlocked, "unlock-totp-x", contract.UnlockFact{}, h.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	ok, err := h.a.state.unlock(t.Context(), authenticators, documentID(p.who), "x", was, letter)
	if ok || err != nil || p.kept().Guess.Failures != 6 {
		t.Errorf("%v, %v, %+v", ok, err, p.kept().Guess)
	}
}

func TestWhatAnUnlockMustSay(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	for field, change := range map[string]func(*contract.UnlockRequest){
		"portal":   func(r *contract.UnlockRequest) { r.Portal = "a/b" },
		"id":       func(r *contract.UnlockRequest) { r.ID = "a.b" },
		"actor":    func(r *contract.UnlockRequest) { r.Actor = "" },
		"actor ":   func(r *contract.UnlockRequest) { r.Actor = strings.Repeat("ü", 129) },
		"actor  ":  func(r *contract.UnlockRequest) { r.Actor = "u9\nu8" },
		"reason":   func(r *contract.UnlockRequest) { r.Reason = strings.Repeat("ü", 501) },
		"reason  ": func(r *contract.UnlockRequest) { r.Reason = "\xff" },
	} {
		req := p.unlocking("ul1")
		change(&req)
		_, err := h.a.unlock(once(), req)
		if e := refusal(t, err, contract.InvalidRequest); e.Field != strings.TrimSpace(field) {
			t.Errorf("%s: %+v", field, e)
		}
	}
	req := p.unlocking("ul1")
	req.Actor, req.Reason = strings.Repeat("ü", 128), strings.Repeat("ü", 500)
	if _, err := h.a.unlock(once(), req); err != nil {
		t.Error(err)
	}
}

// An operator needs no running service; what the operator did is told when it runs again.
func TestB40AnOperatorUnlocksWithTheServiceDown(t *testing.T) {
	w := servicetest.New(t)
	h := &house{World: w, tb: t}
	var svc *service.Service
	run := func() {
		svc = h.Start(contract.TOTP, func(ctx context.Context, env service.Env) (*service.Service, error) {
			s, err := start(ctx, env)
			if err != nil {
				return nil, err
			}
			h.a = s
			return s.svc, nil
		}, nil)
	}
	run()
	h.gateway, h.keys = h.Bus(contract.AuthGateway), h.Keys(contract.AuthGateway)
	told := listen(h, contract.FactorUnlocked)
	p := h.person("u1").enrol("en1")
	p.guesses(5)
	if err := svc.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	office, err := OpenOffice(t.Context(), h.DB(contract.TOTP), h.Clock)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := office.Status(t.Context(), p.who); err != nil || s.Lock == nil {
		t.Errorf("status: %+v, %v", s, err)
	}
	req := p.unlocking("ul1")
	req.Actor = "operator:root"
	if ok, err := office.Unlock(t.Context(), req); err != nil || !ok {
		t.Fatalf("unlock: %v, %v", ok, err)
	}
	if s, err := office.Status(t.Context(), p.who); err != nil || s.Lock != nil {
		t.Errorf("status: %+v, %v", s, err)
	}
	run()
	if fact := told.wait(t, 1)[0]; fact.Actor != "operator:root" {
		t.Errorf("told: %+v", fact)
	}
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Errorf("after the unlock: %v", err)
	}
}

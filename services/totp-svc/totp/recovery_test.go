package totp

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

func (p *person) codesLeft() int {
	p.tb.Helper()
	reply, err := p.b.status(once(), contract.StatusRequest{Account: p.who})
	if err != nil {
		p.tb.Fatalf("status: %v", err)
	}
	return reply.CodesIn(p.epoch)
}

func TestB30RecoveryCodesOverTheBus(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.FactorRecovered)
	p := h.person("u1")
	if n := p.codesLeft(); n != 0 {
		t.Errorf("%d codes before there are any", n)
	}
	old := p.regenerate()
	codes := p.regenerate()
	if slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(old, c) }) {
		t.Error("an old code is a new one")
	}
	_, err := p.recover(old[0])
	if e := refusal(t, err, contract.InvalidCode); left(e) != 4 || e.Reason != "" {
		t.Errorf("an old code was not refused as a wrong one: %+v", e)
	}
	_, err = p.recover(codes[3][:9])
	if e := refusal(t, err, contract.InvalidCode); left(e) != 4 || e.Reason != contract.CodeMalformed {
		t.Errorf("half a code: %+v", e)
	}
	typed := strings.ToLower(strings.ReplaceAll(codes[3], "-", " "))
	got, err := bus.Request(t.Context(), h.gateway, contract.TOTPRecover, contract.RecoverRequest{Account: p.who, Code: p.typed(typed), Epoch: p.epoch})
	if err != nil || got.CodesLeft != 9 || got.Recovery == "" {
		t.Fatalf("recovered: %+v, %v", got, err)
	}
	if n := p.codesLeft(); n != 9 {
		t.Errorf("%d codes left", n)
	}
	fact := told.wait(t, 1)[0]
	if fact.Account != p.who || fact.Recovery != got.Recovery || fact.CodesLeft != 9 || !fact.At.Equal(h.Clock.Now()) {
		t.Errorf("told: %+v", fact)
	}
	_, err = p.recover(codes[3])
	if e := refusal(t, err, contract.InvalidCode); left(e) != 4 {
		t.Errorf("a spent code: %+v", e)
	}
	_, err = h.person("u2").recover(codes[4])
	refused(t, err, contract.InvalidCode)
	h.silent(recoverySets, p.who, append(codes, codes[3][:9], strings.ReplaceAll(codes[0], "-", ""), typed)...)
}

func TestB31ARecoveryCodeSucceedsOnce(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.FactorRecovered)
	p := h.person("u1")
	codes := p.regenerate()
	got := tally(h.parallel(50/crowd, func(ctx context.Context, s *server) error { _, err := p.recoverOn(ctx, s, codes[0]); return err }))
	if got[""] != 1 || got[""]+got[contract.InvalidCode]+got[contract.Locked] != 50/crowd {
		t.Errorf("%d times one code: %v; want exactly one success", 50/crowd, got)
	}
	told.wait(t, 1)
	if n := p.codesLeft(); n != 9 {
		t.Errorf("%d codes left", n)
	}
}

func TestTwoRecoveryCodesAtOnceAreTwo(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	codes := p.regenerate()
	next := make(chan string, 4)
	for _, c := range codes[:4] {
		next <- c
	}
	var mine sync.Map // of each call
	got := tally(h.parallel(4, func(ctx context.Context, s *server) error {
		code, ok := mine.Load(bus.CallID(ctx))
		if !ok {
			code = <-next
			mine.Store(bus.CallID(ctx), code)
		}
		_, err := p.recoverOn(ctx, s, code.(string))
		return err
	}))
	if got[""] != 4 || p.codesLeft() != 6 {
		t.Errorf("4 codes at once: %v, %d left", got, p.codesLeft())
	}
}

func TestGuessingRecoveryCodes(t *testing.T) {
	h := newHouse(t)
	locks := listen(h, contract.FactorLocked)
	p, nobody := h.person("u1"), h.person("nobody")
	codes := p.regenerate()
	for _, who := range []*person{p, nobody} { // whether there are codes is not told
		_, err := who.recover("0000")
		if e := refusal(t, err, contract.InvalidCode); left(e) != 5 || e.Reason != contract.CodeMalformed {
			t.Errorf("no code: %+v", e)
		}
		got := tally(h.parallel(60/crowd, func(ctx context.Context, s *server) error {
			_, err := who.recoverOn(ctx, s, "0000-0000-0000-0000")
			return err
		}))
		if got[contract.InvalidCode] != 5 || got[contract.Locked] != 60/crowd-5 {
			t.Errorf("%s: %d wrong guesses at once: %v; want 5 evaluated", who.who.User, 60/crowd, got)
		}
		_, err = who.recover("0000")
		if e := refusal(t, err, contract.Locked); left(e) != -1 || e.LockedUntil == nil || e.Reason != "" {
			t.Errorf("no code, in the lock: %+v", e)
		}
	}
	codes = append(codes[:0:0], p.regenerate()...)
	if _, err := p.recover(codes[0]); contract.CodeOf(err) != contract.Locked {
		t.Errorf("new codes opened the lock: %v", err)
	}
	h.Clock.Add(30 * time.Second)
	if _, err := p.recover(codes[0]); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	if n := h.counts("sallyport_totp_recoveries_total"); n["error"] == 0 && (n["accepted"] != 1 || n["wrong"] != 10 || n["malformed"] != 2) {
		t.Errorf("the metric says %v", n)
	}
	// It is a counter of its own.
	p.enrol("en1")
	for range 5 {
		refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	}
	if _, err := p.recover(codes[1]); err != nil {
		t.Errorf("with the authenticator locked: %v", err)
	}
	locks.wait(t, 1)
}

func TestAResetOpensDisabledRecoveryCodes(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	codes := p.regenerate()
	for range 50 {
		_, err := p.recover("0000-0000-0000-0000")
		refused(t, err, contract.InvalidCode)
		h.Clock.Add(time.Hour)
	}
	_, err := p.recover(codes[0])
	if e := refusal(t, err, contract.Locked); e.LockedUntil != nil {
		t.Errorf("%+v", e)
	}
	for range 2 {
		if err := h.a.reset(t.Context(), p.resetEvent(1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.recover(p.regenerate()[0]); err != nil {
		t.Error(err)
	}
}

// Whoever is reset may have lost the codes together with the phone. What they make afterwards stays, however late the
// news of the reset comes; and a recovery code that was spent leaves the others.
func TestB29AResetKillsRecoveryCodes(t *testing.T) {
	h := newHouse(t)
	for cause, survive := range map[contract.ResetCause]bool{
		contract.ResetByAdmin: false, contract.ResetByOperator: false, contract.ResetByRemoval: false, contract.ResetByRecovery: true,
	} {
		t.Run(string(cause), func(t *testing.T) {
			p := h.person("u-" + string(cause))
			before := p.regenerate()
			event := p.resetEvent(1)
			event.Message.Cause = cause
			if err := h.a.reset(t.Context(), event); err != nil {
				t.Fatal(err)
			}
			if _, err := p.recover(before[0]); (err == nil) != survive {
				t.Errorf("a code from before the reset: %v", err)
			}
			status, err := h.a.status(t.Context(), contract.StatusRequest{Account: p.who})
			if want := map[bool]int{true: 9, false: 0}[survive]; err != nil || status.CodesLeft != want {
				t.Errorf("%d codes left, want %d; %v", status.CodesLeft, want, err)
			}
			h.Clock.Add(time.Minute)
			after := p.regenerate()
			if err := h.a.reset(t.Context(), event); err != nil { // delivered again
				t.Fatal(err)
			}
			if _, err := p.recover(after[0]); err != nil {
				t.Errorf("a code from after the reset: %v", err)
			}
		})
	}
}

// Off and on again, the old codes are as dead as the old factor: they must not replace the one that was enrolled since.
// Within one generation they outlive a factor, that of their own recovery above all.
func TestB05OffAndOnAgainKillsRecoveryCodes(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	codes := p.regenerate()
	if _, err := p.recover(codes[0]); err != nil {
		t.Fatal(err)
	}
	p.epoch.Person = 1
	h.Clock.Add(period)
	p.enrol("en2")
	if _, err := p.recover(codes[1]); err != nil || p.codesLeft() != 8 {
		t.Errorf("another enrolment of the same generation: %v, %d codes left", err, p.codesLeft())
	}
	p.epoch.Population = 2
	h.Clock.Add(period)
	p.enrol("en3")
	if _, err := p.recover(codes[2]); contract.CodeOf(err) != contract.InvalidCode || p.codesLeft() != 0 {
		t.Errorf("a code from before off and on: %v, %d codes left", err, p.codesLeft())
	}
	if _, err := p.recover(p.regenerate()[0]); err != nil || p.codesLeft() != 9 {
		t.Errorf("a code of the new set: %v, %d codes left", err, p.codesLeft())
	}
}

func TestRecoverIsIdempotentByCallID(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.FactorRecovered)
	p := h.person("u1")
	codes := p.regenerate()
	call := once()
	req := contract.RecoverRequest{Account: p.who, Code: p.typed(codes[0]), Epoch: p.epoch}
	replies := make(chan contract.RecoverReply, 9)
	for i, err := range h.parallel(8, func(_ context.Context, s *server) error {
		r, err := s.recover(call, req)
		replies <- r
		return err
	}) {
		if err != nil {
			t.Errorf("attempt %d of one call: %v", i, err)
		}
	}
	r, err := h.replica().recover(call, req)
	if err != nil {
		t.Errorf("after a restart: %v", err)
	}
	replies <- r
	close(replies)
	for got := range replies {
		if got != r || got.CodesLeft != 9 {
			t.Errorf("one call, two answers: %+v and %+v", got, r)
		}
	}
	told.wait(t, 1)
}

// A repeated regenerate never kills codes that somebody was shown.
func TestRegenerateOncePerCall(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	call := once()
	got := tally(h.atOnce(6, func(s *server) error {
		_, err := s.regenerate(call, contract.RegenerateRequest{Account: p.who, Epoch: p.epoch})
		return err
	}))
	if got[""] != 1 || got[contract.Unavailable] != 5 {
		t.Errorf("%v; want one set", got)
	}
	if n := p.codesLeft(); n != 10 {
		t.Errorf("%d codes", n)
	}
	// Two people at two browsers: one set stands, whole.
	var sets [][]string
	for range 3 {
		sets = append(sets, p.regenerate())
	}
	if _, err := p.recover(sets[2][9]); err != nil {
		t.Errorf("a code of the last set: %v", err)
	}
}

// A replica that dies between the write and the telling leaves the letter in the document.
func TestARecoveryIsToldAfterACrash(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.FactorRecovered)
	p := h.person("u1")
	codes := p.regenerate()
	id := documentID(p.who)
	doc, err := h.a.state.recoverySet(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := bus.NewLetter(t.Context(), contract.FactorRecovered, "recovery-rc1",
		contract.RecoveryFact{Account: p.who, Recovery: "rc1", CodesLeft: 9, At: h.a.now()}, h.a.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.a.svc.Outbox.Note(t.Context(), recoverySets, id, letter); err != nil {
		t.Fatal(err)
	}
	canonical, _ := canonicalRecoveryCode(codes[0])
	ok, err := h.a.state.spend(t.Context(), guess{id: id, call: "c", now: h.a.now()}, doc, recoveryHash(p.who, doc.Set, canonical),
		recovery{Call: "c", Recovery: "rc1", Left: 9}, letter)
	if !ok || err != nil {
		t.Fatalf("spend: %v, %v", ok, err)
	}
	reconcile(t, h)
	if got := told.wait(t, 1); got[0].Recovery != "rc1" {
		t.Errorf("told: %+v", got)
	}
}

package totp

import (
	"context"
	"encoding/base32"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

func TestB12EnrolmentOverTheBus(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.EnrolmentConfirmed)
	p := h.person("u1")
	ctx := t.Context()
	began, err := bus.Request(ctx, h.gateway, contract.TOTPBegin, contract.TOTPBeginRequest{
		Account: p.who, Enrolment: "en1", Issuer: "Northwind: Portal", Label: "dana@northwind.test", Epoch: p.epoch,
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := h.Clock.Now().Add(10 * time.Minute); !began.ExpiresAt.Equal(want) {
		t.Errorf("expires at %v, want %v", began.ExpiresAt, want)
	}
	app, uri, err := p.begin("en1")
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := h.keys.Bus.OpenField(began.URI, contract.PurposeSeed, p.who); err != nil || opened.Reveal() != uri {
		t.Error("begun again, it is another seed")
	}
	if raw, err := base32.StdEncoding.DecodeString(app); err != nil || len(raw) != 20 {
		t.Errorf("the secret has %d bytes, %v; want 20", len(raw), err)
	}
	if !strings.HasPrefix(uri, "otpauth://totp/Northwind%20Portal:dana%40northwind.test?secret=") {
		t.Errorf("the URI is %s…", uri[:40])
	}

	code := p.code(app, 0)
	got, err := bus.Request(ctx, h.gateway, contract.TOTPConfirm, contract.TOTPConfirmRequest{Account: p.who, Enrolment: "en1", Code: p.typed(code), Label: " Pixel 9 "})
	if err != nil {
		t.Fatal(err)
	}
	want := contract.Confirmation{
		FactorInfo: contract.FactorInfo{Factor: contract.FactorTOTP, Enrolment: "en1", Label: "Pixel 9", Since: h.Clock.Now()}, Epoch: p.epoch,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("confirmation (-want +got):\n%s", diff)
	}
	fact := contract.EnrolmentFact{Account: p.who, FactorInfo: want.FactorInfo, Epoch: want.Epoch}
	if diff := cmp.Diff([]contract.EnrolmentFact{fact}, told.wait(t, 1)); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	verify := func(code string) error {
		_, err := bus.Request(ctx, h.gateway, contract.TOTPVerify, contract.TOTPVerifyRequest{Account: p.who, Enrolment: "en1", Code: p.typed(code)})
		return err
	}
	if e := refusal(t, verify(code), contract.InvalidCode); left(e) != 4 {
		t.Errorf("the confirming code, used again: %+v", e)
	}
	h.Clock.Add(period)
	if err := verify(p.code(app, 0)); err != nil {
		t.Errorf("the next code: %v", err)
	}
	h.silent(authenticators, p.who, app, code, strings.ToLower(app))
	servicetest.Eventually(t, "the outbox is empty", func() bool {
		return !strings.Contains(dump(h, authenticators, documentID(p.who)), contract.EnrolmentConfirmed.Subject)
	})
}

func TestB15NothingIsEnrolledBeforeARightCode(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	p.current = "en1"
	refused(t, p.verify("123456"), contract.NotFound)
	app, _, err := p.begin("en1")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, p.verify(p.code(app, 0)), contract.NotFound)
	_, err = p.confirm("en1", p.wrongCode(app))
	if e := refusal(t, err, contract.InvalidCode); left(e) != 4 || e.Reason != "" {
		t.Errorf("a wrong code: %+v", e)
	}
	_, err = p.confirm("en1", "12345")
	if e := refusal(t, err, contract.InvalidCode); left(e) != 4 || e.Reason != contract.CodeMalformed {
		t.Errorf("no code: %+v", e)
	}
	_, err = p.confirm("en2", p.code(app, 0))
	refused(t, err, contract.NotFound)
	refused(t, p.verify(p.code(app, 0)), contract.NotFound)
	if _, err = p.confirm("en1", p.code(app, 1)); err != nil {
		t.Fatal(err)
	}
	if doc := p.kept(); doc.Pending != nil || doc.Guess.Failures != 0 || doc.LastStep != stepAt(h.Clock.Now())+1 {
		t.Errorf("after the confirmation: %+v", doc)
	}
	_, _, err = p.begin("en1")
	refused(t, err, contract.Conflict)
	_, err = p.confirm("en1", p.code(app, 1))
	refused(t, err, contract.Conflict)
	h.Clock.Add(3 * period)
	_, err = p.confirm("en1", p.code(app, 0))
	refused(t, err, contract.Conflict)
	if err := p.verify(p.code(app, 0)); err != nil {
		t.Errorf("what was not compared is spent: %v", err)
	}
}

func TestAPendingSeedLivesTenMinutes(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	app, _, err := p.begin("en1")
	if err != nil {
		t.Fatal(err)
	}
	h.Clock.Add(10*time.Minute - time.Millisecond)
	if again, _, err := p.begin("en1"); err != nil || again != app {
		t.Fatalf("just before its end: another seed, %v", err)
	}
	h.Clock.Add(time.Millisecond)
	_, _, err = p.begin("en1")
	refused(t, err, contract.Expired)
	_, err = p.confirm("en1", p.code(app, 0))
	refused(t, err, contract.Expired)
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d guesses were counted", n)
	}
	if other, _, err := p.begin("en2"); err != nil || other == app {
		t.Errorf("another enrolment: %v", err)
	}
}

func TestB18AnotherEnrolmentReplacesThePendingOneOnly(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	first, _, err := p.begin("en2")
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := p.begin("en3")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.confirm("en2", p.code(first, 0))
	refused(t, err, contract.NotFound)
	if again, _, err := p.begin("en2"); err != nil || again == first || again == second {
		t.Fatalf("an enrolment that was replaced has its seed again, %v", err)
	}
	if second, _, err = p.begin("en3"); err != nil {
		t.Fatal(err)
	}
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Fatalf("the active authenticator meanwhile: %v", err)
	}
	// The new secret's steps are its own: one that the old secret spent is not spent.
	if _, err := p.confirm("en3", p.code(second, -1)); err != nil {
		t.Fatal(err)
	}
	refused(t, p.verify(p.code(p.app, 1)), contract.NotFound)
	p.app, p.current = second, "en3"
	refused(t, p.verify(p.code(second, -1)), contract.InvalidCode)
	if err := p.verify(p.code(second, 0)); err != nil {
		t.Errorf("the new authenticator: %v", err)
	}
}

func TestBeginTakesOnlyWhatItCanKeep(t *testing.T) {
	h := newHouse(t)
	good := contract.TOTPBeginRequest{Account: contract.Account{Portal: "p", User: "u"}, Enrolment: "en1", Issuer: "I", Label: "L"}
	for fieldName, change := range map[string]func(*contract.TOTPBeginRequest){
		"portal":    func(r *contract.TOTPBeginRequest) { r.Portal = "p/x" },
		"user":      func(r *contract.TOTPBeginRequest) { r.User = "" },
		"enrolment": func(r *contract.TOTPBeginRequest) { r.Enrolment = "en.1" },
		"issuer":    func(r *contract.TOTPBeginRequest) { r.Issuer = " : " },
		"label":     func(r *contract.TOTPBeginRequest) { r.Label = "\n" },
	} {
		req := good
		change(&req)
		_, err := h.a.begin(once(), req)
		if e := refusal(t, err, contract.InvalidRequest); e.Field != fieldName {
			t.Errorf("%s: field %s", fieldName, e.Field)
		}
	}
	p := h.person("u1")
	app, _, err := p.begin("en1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.a.confirm(once(), contract.TOTPConfirmRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.code(app, 0)), Label: "a\x00b"})
	if e := refusal(t, err, contract.InvalidRequest); e.Field != "label" {
		t.Errorf("field %s", e.Field)
	}
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d guesses were counted", n)
	}
}

func TestManyBeginsMakeOneSeed(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1")
	var mu sync.Mutex
	var wg sync.WaitGroup
	seeds := make(map[string]int)
	for i := range 4 {
		s := []*server{h.a, h.b}[i%2]
		wg.Go(func() {
			reply, err := s.begin(once(), contract.TOTPBeginRequest{Account: p.who, Enrolment: "en1", Issuer: "I", Label: "L"})
			if err != nil {
				t.Error(err)
				return
			}
			uri, err := h.keys.Bus.OpenField(reply.URI, contract.PurposeSeed, p.who)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seeds[uri.Reveal()]++
		})
	}
	wg.Wait()
	if len(seeds) != 1 {
		t.Errorf("%d seeds", len(seeds))
	}
}

func TestGuessesAtAConfirmationCloseTheFactor(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	next, _, err := p.begin("en2")
	if err != nil {
		t.Fatal(err)
	}
	// One counter for all doors: three wrong ones here, two there.
	for range 3 {
		_, err := p.confirm("en2", p.wrongCode(next))
		refused(t, err, contract.InvalidCode)
	}
	for want := 1; want >= 0; want-- {
		if e := refusal(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode); left(e) != want {
			t.Errorf("%d attempts left, want %d", left(e), want)
		}
	}
	_, err = p.confirm("en2", p.code(next, 0))
	refused(t, err, contract.Locked)
	refused(t, p.verify(p.code(p.app, 0)), contract.Locked)
	if _, _, err = p.begin("en3"); err != nil {
		t.Fatal(err)
	}
	if next, _, err = p.begin("en4"); err != nil {
		t.Fatal(err)
	}
	_, err = p.confirm("en4", p.code(next, 0))
	refused(t, err, contract.Locked)
	h.Clock.Add(30 * time.Second)
	if _, err := p.confirm("en4", p.code(next, 0)); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d failures after a new enrolment", n)
	}
}

func TestB28AResetRemovesWhatIsOlder(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	bystander := h.person("u2").enrol("en9")
	if _, _, err := p.begin("en2"); err != nil {
		t.Fatal(err)
	}
	policy := h.Bus(contract.Policy)
	if err := bus.Publish(t.Context(), policy, contract.EnrolmentReset, "rs1", p.resetEvent(1).Message); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, "the authenticator is removed", func() bool { return p.kept().Active == nil })
	refused(t, p.verify(p.code(p.app, 0)), contract.NotFound)
	if p.kept().Pending != nil {
		t.Error("a pending seed of before the reset is left")
	}
	_, _, err := p.begin("en3")
	refused(t, err, contract.Conflict) // it was decided before the reset
	p.epoch.Person = 1
	_, _, err = p.begin("en1")
	refused(t, err, contract.Conflict) // confirmed once, never again
	p.enrol("en4")
	// The same event again, and an older one: neither touches what is newer.
	for _, person := range []int64{1, 0} {
		if err := h.a.reset(t.Context(), p.resetEvent(person)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Errorf("the new authenticator: %v", err)
	}
	if err := bystander.verify(p.code(bystander.app, 0)); err != nil {
		t.Errorf("somebody else's authenticator: %v", err)
	}
	if err := h.a.reset(t.Context(), bus.Delivery[contract.ResetFact]{}); err == nil {
		t.Error("an event about nobody was taken")
	}
}

func TestAResetOpensADisabledFactorOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	exhaust := func() {
		t.Helper()
		for p.kept().Guess.Failures < 50 {
			refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
			h.Clock.Add(time.Hour)
		}
		if e := refusal(t, p.verify(p.code(p.app, 0)), contract.Locked); e.LockedUntil != nil || e.RetryAfter != 3600 {
			t.Errorf("a disabled factor: %+v", e)
		}
	}
	exhaust()
	// A new enrolment does not open it …
	next, _, err := p.begin("en2")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.confirm("en2", p.code(next, 0))
	refused(t, err, contract.Locked)
	// … a reset does, even if its event is late: the enrolment that follows it carries its generation.
	p.epoch.Person = 1
	p.enrol("en3")
	if err := p.verify(p.code(p.app, 0)); err != nil {
		t.Fatal(err)
	}
	// And the late event does not lower what was counted since.
	exhaust()
	if err := h.a.reset(t.Context(), p.resetEvent(1)); err != nil {
		t.Fatal(err)
	}
	refused(t, p.verify(p.code(p.app, 0)), contract.Locked)
	if err := h.a.reset(t.Context(), p.resetEvent(2)); err != nil {
		t.Fatal(err)
	}
	p.epoch.Person = 2
	p.enrol("en4")
}

func TestConfirmIsIdempotentByCallID(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.EnrolmentConfirmed)
	p := h.person("u1")
	app, _, err := p.begin("en1")
	if err != nil {
		t.Fatal(err)
	}
	req := contract.TOTPConfirmRequest{Account: p.who, Enrolment: "en1", Code: p.typed(p.code(app, 0)), Label: "Pixel 9"}
	var mu sync.Mutex
	var wg sync.WaitGroup
	ctx := once()
	var got []contract.Confirmation
	for i := range 6 {
		s := []*server{h.a, h.b}[i%2]
		wg.Go(func() {
			c, err := s.confirm(ctx, req)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, c)
		})
	}
	wg.Wait()
	for _, c := range got {
		if diff := cmp.Diff(got[0], c); diff != "" || c.Enrolment != "en1" {
			t.Errorf("one call, two answers:\n%s", diff)
		}
	}
	told.wait(t, 1)
	if n := p.kept().Guess.Failures; n != 0 {
		t.Errorf("%d failures", n)
	}
	_, err = h.b.confirm(once(), req)
	refused(t, err, contract.Conflict)
}

// A replica that dies between the write and the telling leaves the letter in the document.
func TestAConfirmationIsToldAfterACrash(t *testing.T) {
	h := newHouse(t)
	told := listen(h, contract.EnrolmentConfirmed)
	p := h.person("u1")
	if _, _, err := p.begin("en1"); err != nil {
		t.Fatal(err)
	}
	doc := p.kept()
	a := active{Credential: doc.Pending.Credential, Since: h.a.now()}
	letter, err := bus.NewLetter(t.Context(), contract.EnrolmentConfirmed, "enrolment-en1",
		contract.EnrolmentFact{Account: p.who, FactorInfo: a.confirmation().FactorInfo, Epoch: a.Epoch}, h.a.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.a.svc.Outbox.Note(t.Context(), authenticators, doc.ID, letter); err != nil {
		t.Fatal(err)
	}
	if ok, err := h.a.state.confirm(t.Context(), guess{id: doc.ID, call: "c", now: h.a.now()}, a, 7, letter); !ok || err != nil {
		t.Fatalf("confirm: %v, %v", ok, err)
	}
	reconcile(t, h)
	if got := told.wait(t, 1); got[0].Enrolment != "en1" {
		t.Errorf("told: %+v", got)
	}
}

// reconcile runs the outbox's reconciler until the test ends, without its patience.
func reconcile(t *testing.T, h *house) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { h.b.svc.Outbox.Run(ctx, 20*time.Millisecond, 0); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

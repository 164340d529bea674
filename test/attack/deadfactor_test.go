package attack

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// switches changes the settings of the portal, one after the other, as policy-svc lets the gateway.
func (h *house) switches(t *testing.T, changes ...func(*contract.Settings)) {
	t.Helper()
	b := h.Bus(contract.AuthGateway)
	for _, change := range changes {
		now, err := bus.Request(t.Context(), b, contract.PolicySettings, contract.SettingsRequest{Portal: gateway.DemoPortal})
		if err != nil {
			t.Fatal(err)
		}
		change(&now)
		if _, err := bus.Request(t.Context(), b, contract.PolicyChange, contract.ChangeRequest{Portal: gateway.DemoPortal, Actor: "admin-demo", Settings: now}); err != nil {
			t.Fatal(err)
		}
	}
}

// internally and outside are changes of one population.
func internally(m contract.Mode) func(*contract.Settings) {
	return func(s *contract.Settings) { s.Internal.Mode = m }
}

func outside(m contract.Mode) func(*contract.Settings) {
	return func(s *contract.Settings) { s.Organizations.Mode = m }
}

// resetUntold is a reset that was written and acknowledged, and of which nobody has been told yet.
func (p *person) resetUntold(t *testing.T) {
	t.Helper()
	standings := p.h.rows(contract.Policy, "standings")
	is := standings.read(t, p.rowID())
	is.Rest["person"] = int64(1)
	delete(is.Rest, "factors")
	standings.write(t, is)
}

// sessionsKept is how many sessions of a person there are, whoever has their tokens.
func (p *person) sessionsKept(t *testing.T) int {
	t.Helper()
	type session struct {
		User string `json:"user"`
	}
	kv, err := bus.OpenKV[session](t.Context(), p.h.Bus(contract.AuthGateway), contract.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	kept := map[string]bool{}
	err = kv.Watch(t.Context(), func(key string, s *session, _ uint64) {
		mu.Lock()
		defer mu.Unlock()
		delete(kept, key)
		if s != nil && s.User == p.user {
			kept[key] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return len(kept)
}

// TestI5ADeadFactorOpensNoSession gives the right code of a factor that died between the password and the code. Its owner
// has not heard of that, and says that the code is right.
func TestI5ADeadFactorOpensNoSession(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	offAndOn := func(change func(contract.Mode) func(*contract.Settings)) func(*testing.T, *person) {
		return func(t *testing.T, _ *person) {
			h.switches(t, change(contract.ModeOff), change(contract.ModeRequired))
		}
	}
	untold := func(t *testing.T, p *person) { p.resetUntold(t) }
	for name, c := range map[string]struct {
		audience contract.Audience
		dies     func(*testing.T, *person)
	}{
		"an app, off and on":                   {contract.Internal, offAndOn(internally)},
		"an app, reset":                        {contract.Internal, untold},
		"a telephone, off and on":              {contract.Organization, offAndOn(outside)},
		"a telephone, reset":                   {contract.Organization, untold},
		"an app, reset where it is none's due": {contract.Internal, func(t *testing.T, p *person) { h.switches(t, internally(contract.ModeOptional)); p.resetUntold(t) }},
	} {
		h.switches(t, internally(contract.ModeRequired)) // whatever the case before has left
		p := h.add(t, c.audience, 1)[0]
		p.enrol(t)
		begin := func() (sut.SignIn, string) {
			if c.audience == contract.Organization {
				h.Clock.Add(10 * time.Minute)
				return p.beginText(t)
			}
			return p.begin(t), ""
		}
		alive, code := begin()
		if code == "" {
			code = p.code(t)
		}
		sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.verifyDoor(t, alive)(code)))
		before := p.sessionsKept(t)
		s, code := begin()
		c.dies(t, p)
		for at, door := range map[string]try{"API": h.verifyDoor(t, s), "page": h.verifyPage(t, s)} {
			if c.audience == contract.Internal {
				code = p.code(t)
			}
			if a := door(code); verdict(a) == in || handedOut(a) != "" {
				t.Errorf("%s, at the %s: %s", name, at, a)
			} else if at == "API" && c.audience == contract.Internal && verdict(a) != "expired" {
				t.Errorf("%s: %s, want expired", name, a)
			}
		}
		if n := p.sessionsKept(t); n != before {
			t.Errorf("%s: there are %d sessions, and were %d", name, n, before)
		}
	}
}

// TestI5AnEnrolmentOfADeadEpochOpensNoSession: what was begun before the population was off and on again ends in nothing.
func TestI5AnEnrolmentOfADeadEpochOpensNoSession(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	for n, dies := range []func(*person){
		func(*person) { h.switches(t, internally(contract.ModeOff), internally(contract.ModeRequired)) },
		func(p *person) {
			reset := contract.ResetRequest{Account: p.account(), Reset: "r1", Actor: "admin-demo", Cause: contract.ResetByAdmin, Reason: "lost"}
			if _, err := bus.Request(t.Context(), h.Bus(contract.AuthGateway), contract.PolicyReset, reset); err != nil {
				t.Fatal(err)
			}
		},
	} {
		p := people[n]
		s := p.begin(t)
		p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
		dies(p)
		if a := h.confirmDoor(t, s)(p.code(t)); verdict(a) == in || a.Status != http.StatusConflict {
			t.Errorf("%d: %s", n, a)
		}
		if n := p.sessionsKept(t); n != 0 {
			t.Errorf("%d sessions of an enrolment that counts for nothing", n)
		}
		p.last = 0
		p.enrol(t)
	}
}

// TestI5NobodyStepsUpWithADeadFactor: a session of before off and on goes on, but what asks for a proof asks for one that
// counts.
func TestI5NobodyStepsUpWithADeadFactor(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	session := p.enrol(t)
	if v := verdict(h.stepUpDoor(t, session)(p.code(t))); v != in {
		t.Fatal(v)
	}
	h.switches(t, internally(contract.ModeOff), internally(contract.ModeRequired))
	h.stale()
	for what, code := range map[string]string{"its code": p.code(t), "none": ""} {
		if a := h.stepUpDoor(t, session)(code); a.Status != http.StatusForbidden {
			t.Errorf("with %s: %s", what, a)
		}
	}
	if a := h.post(t, "/v1/account/recovery-codes", session, nil); a.Status != http.StatusForbidden {
		t.Errorf("recovery codes: %s", a)
	}
	h.known(t, session)
	p.enrol(t)
}

// TestI5WhoCannotBeLookedAtAgainIsNotIn: policy-svc goes away between the password and the code. The code is right, nobody
// is let in, and the same code opens when it is back.
func TestI5WhoCannotBeLookedAtAgainIsNotIn(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	p.enrol(t)
	before := p.sessionsKept(t)
	s := p.begin(t)
	code := p.code(t)
	h.stop("policy")
	if a := h.verifyDoor(t, s)(code); verdict(a) != unavailable {
		t.Errorf("without policy-svc: %s", a)
	}
	if n := p.sessionsKept(t); n != before {
		t.Errorf("there are %d sessions, and were %d", n, before)
	}
	h.start("policy")
	sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.patient(t, 10*time.Second, unavailable, s.Path("/verify"), s.Token, typed(code))))
	if n := p.sessionsKept(t); n != before+1 {
		t.Errorf("there are %d sessions, and were %d", n, before)
	}
}

// enrollingIn is the authenticator that is being set up in a session.
func (p *person) enrollingIn(t *testing.T, session string) string {
	t.Helper()
	type kept struct {
		Enrolling struct {
			Enrolment string `json:"enrolment"`
		} `json:"enrolling"`
	}
	kv, err := bus.OpenKV[kept](t.Context(), p.h.Bus(contract.AuthGateway), contract.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := kv.Get(t.Context(), strings.Split(session, "_")[1])
	if err != nil {
		t.Fatal(err)
	}
	return v.Enrolling.Enrolment
}

// TestRule12AFactorEndsSessionsWhoeverConfirmedIt: a gateway has a code confirmed and is no more when the answer comes. The
// sessions of before are dead all the same, on every gateway, but for the one in which the app was set up; those of others
// live.
func TestRule12AFactorEndsSessionsWhoeverConfirmedIt(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	p := people[0]
	stolen, theirs := p.enrol(t), people[1].enrol(t)
	own := p.signIn(t)
	h.known(t, stolen)
	h.known(t, own)
	p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", own, nil)).Key
	sealed, err := h.Keys(contract.AuthGateway).Bus.SealField(secret.New(p.code(t)), contract.PurposeTypedCode, p.account())
	if err != nil {
		t.Fatal(err)
	}
	confirm := contract.TOTPConfirmRequest{Account: p.account(), Enrolment: p.enrollingIn(t, own), Code: sealed}
	if _, err := bus.Request(t.Context(), h.Bus(contract.AuthGateway), contract.TOTPConfirm, confirm); err != nil {
		t.Fatal(err)
	}
	for n, door := range h.doors {
		sut.Eventually(t, hearsWithin, "the session of before is dead", func() bool { return door.Who(stolen).Status == http.StatusUnauthorized })
		for whose, token := range map[string]string{"their own": own, "somebody else's": theirs} {
			if a := door.Who(token); a.Status != http.StatusOK {
				t.Errorf("gateway %d: %s session: %s", n+1, whose, a)
			}
		}
	}
	after := p.signIn(t)
	h.known(t, after)
}

// TestRule12AFirstFactorEndsWhatThePasswordOpened, in the very moment in which it was opened: the answer says so, and no
// clock has a part in it.
func TestRule12AFirstFactorEndsWhatThePasswordOpened(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	h.switches(t, internally(contract.ModeOptional))
	p := h.add(t, contract.Internal, 1)[0]
	stolen, own := sessionOf(t, p.begin(t)), sessionOf(t, p.begin(t))
	h.known(t, stolen)
	h.known(t, own)
	p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", own, nil)).Key
	after := sut.Want[sut.Account](t, http.StatusOK, h.post(t, "/v1/account/factors/totp/confirm", own, typed(p.code(t)))).Session.Token
	for _, door := range h.doors {
		for _, old := range []string{stolen, own} {
			sut.Eventually(t, hearsWithin, "the session of before is dead", func() bool { return door.Who(old).Status == http.StatusUnauthorized })
		}
	}
	h.known(t, after)
}

// TestRule07ALostConfirmationIsAskedForAgain: policy-svc does not answer when the new app's code is right. The person types
// it again, and has their new session.
func TestRule07ALostConfirmationIsAskedForAgain(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	stolen := p.enrol(t)
	own := p.signIn(t)
	h.known(t, own)
	p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", own, nil)).Key
	enrolment := p.enrollingIn(t, own)
	code := p.code(t)
	h.stop("policy")
	if a := h.replaceDoor(t, own)(code); verdict(a) != unavailable {
		t.Errorf("without policy-svc: %s", a)
	}
	h.start("policy")
	for _, door := range h.doors {
		sut.Eventually(t, hearsWithin, "the session of before is dead", func() bool { return door.Who(stolen).Status == http.StatusUnauthorized })
	}
	// Another code of the app is another guess: it says nothing but that the app is set up.
	if a := h.replaceDoor(t, own)(h.appCode(t, p.key, 1)); a.Status != http.StatusConflict {
		t.Errorf("another code: %s", a)
	}
	after := sut.Want[sut.Account](t, http.StatusOK, h.patient(t, 10*time.Second, unavailable, "/v1/account/factors/totp/confirm", own, typed(code))).Session.Token
	h.known(t, after)
	for _, door := range h.doors {
		sut.Eventually(t, hearsWithin, "the session that rose is dead", func() bool { return door.Who(own).Status == http.StatusUnauthorized })
	}
	if next := sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", after, nil)); enrolment == "" || next.Key == p.key {
		t.Error("the app that was confirmed is set up once more")
	}
}

// TestB05OldRecoveryCodesKillNoNewFactor: printed before the population was off and on again, they are worth nothing.
func TestB05OldRecoveryCodesKillNoNewFactor(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	for _, c := range []struct {
		audience contract.Audience
		change   func(contract.Mode) func(*contract.Settings)
	}{{contract.Internal, internally}, {contract.Organization, outside}} {
		p := h.add(t, c.audience, 1)[0]
		enrolled := func() string {
			session := p.enrol(t)
			if session == "" {
				h.Clock.Add(10 * time.Minute)
				session = p.signIn(t)
			}
			return session
		}
		codes := p.recoveryCodes(t, enrolled())
		begun := p.begin(t)
		h.switches(t, c.change(contract.ModeOff), c.change(contract.ModeRequired))
		h.Clock.Add(time.Minute)
		session := enrolled()
		h.Clock.Add(time.Minute)
		for what, s := range map[string]sut.SignIn{"a sign-in of before": begun, "a new sign-in": p.begin(t)} {
			if a := h.recoverDoor(t, s)(codes[0]); verdict(a) != wrongCode && verdict(a) != "expired" {
				t.Errorf("%s, %s: %s", c.audience, what, a)
			}
		}
		h.known(t, session)
		if a := sut.Want[sut.Account](t, http.StatusOK, h.call(t, http.MethodGet, "/v1/account", session, nil)); a.RecoveryCodesLeft != 0 || len(a.Factors) != 1 {
			t.Errorf("%s: %d recovery codes, %d factors", c.audience, a.RecoveryCodesLeft, len(a.Factors))
		}
		if v := verdict(h.recoverDoor(t, p.begin(t))(p.recoveryCodes(t, session)[0])); v != in {
			t.Errorf("%s: a code of the new set: %s", c.audience, v)
		}
	}
}

// TestTwoWhoBeginToEnrolAtOnceAreShownOneSecret: a page that is loaded twice, or an app that asks again.
func TestTwoWhoBeginToEnrolAtOnceAreShownOneSecret(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	for _, p := range h.add(t, contract.Internal, 5) {
		s := p.begin(t)
		answers := make([]sut.Answer, 4)
		atOnce(len(answers), func(i int) { answers[i] = h.post(t, s.Path("/enrollment"), s.Token, anApp) })
		for _, a := range answers {
			e := sut.Want[sut.Enrollment](t, http.StatusCreated, a)
			if p.key == "" {
				p.key = e.Key
			}
			if e.Key != p.key {
				t.Error("two secrets of one enrolment")
			}
		}
		sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.confirmDoor(t, s)(p.code(t))))
	}
}

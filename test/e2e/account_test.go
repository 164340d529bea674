package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB09FederatedUsersAreExempt: their provider has asked for more than we could.
func TestB09FederatedUsersAreExempt(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(entra)
	stands(t, s, "complete")
	v := who(t, p, s.Session.Token)
	if !v.User.Federated {
		t.Errorf("user: %+v", v.User)
	}
	account := sut.Want[sut.Account](t, http.StatusOK, p.Do("GET", "/v1/account", s.Session.Token, nil))
	if account.User.Standing != "exempt" {
		t.Errorf("standing %q, want exempt", account.User.Standing)
	}
	stands(t, p.BeginSignIn(agent), "enroll") // local accounts are not
}

// TestB06B07B08SettingsAreGuarded: a Master Admin, with a factor of their own, who has just proved it.
func TestB06B07B08SettingsAreGuarded(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, agents := p.EnrolTOTP(agent)
	sut.Expect(t, p.Do("GET", "/v1/admin/settings", agents, nil), 403, "forbidden")
	sut.Expect(t, p.Do("GET", "/v1/admin/settings", "", nil), 401, "unauthenticated")

	key, session := p.EnrolTOTP(admin)
	now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", session, nil))
	if now.Internal.Mode != "required" || now.Organizations.Mode != "required" || !now.Organizations.AllowOptOut || now.Version < 1 {
		t.Errorf("settings of the demo: %+v", now)
	}
	put := func(token string, s sut.Settings) sut.Answer { return p.Do("PUT", "/v1/admin/settings", token, s) }
	sut.Expect(t, put(agents, now), 403, "forbidden")
	sut.Expect(t, put(session, now), 403, "step_up_required")
	stepUp := func(token, password, c string) sut.Answer {
		return p.Do("POST", "/v1/session/step-up", token, map[string]string{"password": password, "code": c})
	}
	good := p.Code(key)
	sut.Expect(t, stepUp(session, "wrong", good), 401, "invalid_credentials")
	sut.Expect(t, stepUp(session, sut.DemoPassword, sut.WrongCode(t, key, p.Now())), 422, "invalid_code")
	sut.Expect(t, put(session, now), 403, "step_up_required")
	sut.Expect(t, stepUp(session, sut.DemoPassword, good), 204, "")
	sut.Expect(t, stepUp(session, sut.DemoPassword, good), 422, "invalid_code") // used
	now.Organizations.AllowOptOut = false
	changed := sut.Want[sut.Settings](t, http.StatusOK, put(session, now))
	if changed.Version <= now.Version || changed.Organizations.AllowOptOut {
		t.Errorf("settings after the change: %+v", changed)
	}
	sut.Expect(t, put(session, now), 409, "conflict") // an old version
	for name, body := range map[string]string{
		"a mode there is none of": `{"internal":{"mode":"maybe"},"organizations":{"mode":"off","allow_opt_out":false},"version":2}`,
		"no mode":                 `{"internal":{},"organizations":{"mode":"off","allow_opt_out":false},"version":2}`,
		"no version":              `{"internal":{"mode":"off"},"organizations":{"mode":"off","allow_opt_out":false}}`,
		"version below zero":      `{"internal":{"mode":"off"},"organizations":{"mode":"off","allow_opt_out":false},"version":-1}`,
		"an unknown name":         `{"internal":{"mode":"off"},"organizations":{"mode":"off","allow_opt_out":false},"version":2,"portal":"other"}`,
	} {
		if a := p.Do("PUT", "/v1/admin/settings", session, sut.Raw{Type: "application/json", Body: body}); !a.Is(422, "invalid_request") {
			t.Errorf("settings with %s: %s; want 422 invalid_request", name, a)
		}
	}
	// A step-up is good for five minutes, and for its own session only.
	other := p.SignInTOTP(admin, key)
	sut.Expect(t, put(other, changed), 403, "step_up_required")
	p.Advance(5 * time.Minute)
	sut.Expect(t, put(session, changed), 403, "step_up_required")

	// B08: an admin without a factor of their own may not change them, whatever they have proved.
	off := changed
	off.Internal.Mode = "off"
	p.StepUp(session, key)
	off = sut.Want[sut.Settings](t, http.StatusOK, put(session, off))
	plain := p.BeginSignIn(second)
	stands(t, plain, "complete")
	sut.Expect(t, put(plain.Session.Token, off), 403, "step_up_required")
	// Who has no factor steps up with the password alone; it is enough for their own account, and not for this.
	sut.Expect(t, stepUp(plain.Session.Token, "wrong", ""), 401, "invalid_credentials")
	sut.Expect(t, stepUp(plain.Session.Token, sut.DemoPassword, ""), 204, "")
	sut.Expect(t, put(plain.Session.Token, off), 403, "forbidden")
	// An organization's admin is no admin of the portal.
	p.EnrolSMS(owner, ownerPhone)
	sut.Expect(t, p.Do("GET", "/v1/admin/settings", p.SignInSMS(owner, ownerPhone), nil), 403, "forbidden")
}

// TestB07StepUpByTextMessage: who gets codes by text asks for one first.
func TestB07StepUpByTextMessage(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	session := p.SignInSMS(clerk, clerkPhone)
	stepUp := func(c string) sut.Answer {
		return p.Do("POST", "/v1/session/step-up", session, map[string]string{"password": sut.DemoPassword, "code": c})
	}
	sut.Expect(t, stepUp("123456"), 409, "conflict")
	seen := len(p.Messages(clerkPhone))
	type texted struct {
		Destination string `json:"destination"`
		ResendIn    int    `json:"resend_in"`
	}
	sent := sut.Want[texted](t, http.StatusOK, p.Do("POST", "/v1/session/step-up/send", session, nil))
	if sent.Destination != "xxx-xxx-9443" || sent.ResendIn < 20 || sent.ResendIn > 30 {
		t.Errorf("step-up/send: %+v", sent)
	}
	c := p.CodeAfter(clerkPhone, seen)
	sut.Expect(t, p.Do("POST", "/v1/session/step-up/send", session, nil), 429, "too_soon")
	// A code for a step-up is none for a sign-in.
	s := p.BeginSignIn(clerk)
	if a := p.Do("POST", s.Path("/verify"), s.Token, code(c)); a.Status < 400 {
		t.Errorf("the code of a step-up opened a sign-in: %s", a)
	}
	sut.Expect(t, stepUp(c), 204, "")
	if a := stepUp(c); a.Status < 400 {
		t.Errorf("the code of a step-up works twice: %s", a)
	}
	// Users of an authenticator have nothing to be sent.
	_, agents := p.EnrolTOTP(agent)
	sut.Expect(t, p.Do("POST", "/v1/session/step-up/send", agents, nil), 409, "conflict")
}

// TestSignOutKillsTheToken: at once, and this one only.
func TestSignOutKillsTheToken(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, one := p.EnrolTOTP(agent)
	two := p.SignInTOTP(agent, key)
	if one == two {
		t.Fatal("two sessions have one token")
	}
	sut.Expect(t, p.Do("DELETE", "/v1/session", one, nil), 204, "")
	dead(t, p, one)
	sut.Expect(t, p.Do("DELETE", "/v1/session", one, nil), 401, "unauthenticated")
	who(t, p, two)
	p.Restart()
	dead(t, p, one)
	who(t, p, two)
}

// TestTokensOfOneKindAreNoneOfTheOther: a sign-in's token opens no session route, nor a session's token a sign-in, and
// neither opens another's.
func TestTokensOfOneKindAreNoneOfTheOther(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(admin)
	s, other := p.BeginSignIn(admin), p.BeginSignIn(admin)
	sessionRoutes := [][2]string{
		{"GET", "/v1/session"},
		{"DELETE", "/v1/session"},
		{"POST", "/v1/session/step-up"},
		{"POST", "/v1/session/step-up/send"},
		{"GET", "/v1/account"},
		{"POST", "/v1/account/factors/totp"},
		{"POST", "/v1/account/factors/totp/confirm"},
		{"PATCH", "/v1/account/factors/totp"},
		{"DELETE", "/v1/account/factors/totp"},
		{"POST", "/v1/account/factors/sms/enable"},
		{"GET", "/v1/account/sessions"},
		{"DELETE", "/v1/account/sessions"},
		{"DELETE", "/v1/account/sessions/AAAAAAAAAAAAAAAAAAAAAAAAAA"},
		{"POST", "/v1/account/recovery-codes"},
		{"GET", "/v1/admin/settings"},
		{"PUT", "/v1/admin/settings"},
	}
	swap := func(token, from, to string) string { return strings.Replace(token, from, to, 1) }
	for _, route := range sessionRoutes {
		for name, token := range map[string]string{
			"none": "", "a sign-in's": s.Token, "a sign-in's in disguise": swap(s.Token, "si_", "se_"), "the id": s.ID,
			"nonsense": "x", "half a session's": session[:len(session)-26], "a session's, changed": session[:len(session)-1] + flip(session[len(session)-1]),
		} {
			if a := p.Do(route[0], route[1], token, nil); !a.Is(401, "unauthenticated") {
				t.Errorf("%s token: %s; want 401", name, a)
			}
		}
	}
	signInRoutes := []struct {
		method, path string
		body         any
	}{
		{"GET", "", nil},
		{"POST", "/enrollment", map[string]string{"factor": "totp"}},
		{"POST", "/enrollment/confirm", code("123456")},
		{"POST", "/enrollment/skip", nil},
		{"POST", "/resend", nil},
		{"POST", "/verify", code("123456")},
		{"POST", "/recover", map[string]string{"recovery_code": "x"}},
	}
	for _, route := range signInRoutes {
		for name, token := range map[string]string{
			"none": "", "a session's": session, "a session's in disguise": swap(session, "se_", "si_"), "another sign-in's": other.Token,
			"the id": s.ID, "changed": s.Token[:len(s.Token)-1] + flip(s.Token[len(s.Token)-1]),
			"id and another's secret": "si_" + s.ID + other.Token[len(other.Token)-27:],
		} {
			if a := p.Do(route.method, s.Path(route.path), token, route.body); !a.Is(401, "unauthenticated") {
				t.Errorf("%s token: %s; want 401", name, a)
			}
		}
	}
	// In an address a token is nothing.
	if a := p.Do("GET", "/v1/session?token="+session+"&access_token="+session, "", nil); !a.Is(401, "unauthenticated") {
		t.Errorf("a token in the address: %s", a)
	}
	who(t, p, session)
	stands(t, p.Verify(s, p.Code(key)), "complete")
}

// flip returns another letter.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// TestB11OneFactorSeveralDoors: what was enrolled through the API is asked for by the pages, and the other way round.
func TestB11OneFactorSeveralDoors(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	v := newVisitor(t, p)
	v.signIn(agent)
	v.at("/sign-in/code")
	v.post("/sign-in/code", form{"code": p.Code(key)})
	v.at("/account")

	other := newVisitor(t, p)
	other.signIn(second)
	secondKey := other.setUp(p)
	p.Advance(sut.Step)
	stands(t, p.Verify(p.BeginSignIn(second), p.Code(secondKey)), "complete")
}

// TestConfirmedFactorEndsOtherSessions: who had got in before the factor is out.
func TestConfirmedFactorEndsOtherSessions(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(admin)
	change := func(mode string) {
		t.Helper()
		p.StepUp(session, key)
		now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", session, nil))
		now.Internal.Mode = mode
		sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", session, now))
	}
	change("optional")
	before := p.BeginSignIn(agent)
	stands(t, before, "complete")
	change("required")
	who(t, p, before.Session.Token)
	_, after := p.EnrolTOTP(agent)
	dead(t, p, before.Session.Token)
	who(t, p, after)
}

package federated

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
)

// The story with a provider that is real: its addresses are at its userinfo endpoint only, as the standard allows.
func TestB09AnEmployeeSignsInAtTheProvider(t *testing.T) {
	h := openHouse(t)
	people := directory{"petra": person("petra", "Petra@demo.test", true), "entra": person("entra", "entra@demo.test", true)}
	h.trusts(realProvider(t, h, "microsoft", "Microsoft", people))

	b := h.browser(t)
	b.open("/sign-in?return=/account")
	b.on("/sign-in", "Sign in with Microsoft", `href="/sign-in/with/microsoft?return=%2Faccount"`)
	b.open("/sign-in/with/microsoft?return=/account")
	b.signInThere("petra")
	b.on("/account", "Petra Novak")
	s, ok := b.who()
	if !ok || s.User.Email != "petra@demo.test" || s.User.Audience != "internal" || s.User.MasterAdmin || !s.User.Federated || strings.Join(s.AMR, " ") != "fed" {
		t.Fatalf("signed in as %+v, %v", s, ok)
	}
	first := s.User.ID

	// Once more, in another browser, with another address: the same person.
	h.onTime()
	people["petra"].Email = "petra.novak@demo.test"
	other := h.browser(t)
	other.open("/sign-in/with/microsoft")
	other.signInThere("petra")
	if s, ok = other.who(); !ok || s.User.ID != first {
		t.Fatalf("at the second sign-in they are %+v, %v; want the account %s", s, ok, first)
	}

	// The account that an admin had made before is the employee's from their first arrival on.
	entra := h.browser(t)
	entra.open("/sign-in/with/microsoft")
	entra.signInThere("entra")
	if s, ok = entra.who(); !ok || s.User.ID != "entra-demo" || s.User.Name != "Elif Demir" {
		t.Fatalf("signed in as %+v, %v; want the account that was there", s, ok)
	}
	u, err := h.users().Get(t.Context(), gateway.DemoPortal+"/entra-demo")
	if err != nil || u.Identity == "" {
		t.Fatalf("the account is not bound: %+v, %v", u, err)
	}

	audited(t, h, contract.AuditUserCreated, first)
	audited(t, h, contract.AuditUserChanged, "entra-demo")
	if n := h.ended("signed_in"); n != 3 {
		t.Errorf("the metric has %v sign-ins, want 3", n)
	}
}

// audited fails the test unless the audit log has it, now.
func audited(t *testing.T, h *house, what contract.AuditAction, who string) {
	t.Helper()
	page, err := busRequest(t, h, contract.AuditListRequest{Portal: gateway.DemoPortal, User: who, Action: what})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || page.Items[0].Detail["provider"] == "" {
		t.Errorf("the audit log has %+v of %s for %s; want one entry with its provider", page.Items, what, who)
	}
}

// A federated person has one door. What the other one answers is what it answers a stranger.
func TestB09AFederatedAccountHasNoPassword(t *testing.T) {
	h := openHouse(t)
	// As long as the demo has no provider, its federated account stands in for one.
	if status := h.call(t, http.MethodPost, "/v1/sign-ins", "", `{"email":"entra@demo.test","password":"open-sesame-demo"}`, nil); status != http.StatusCreated {
		t.Fatalf("without a provider: status %d, want 201", status)
	}
	h = openHouse(t)
	h.trusts(newHostile(t).provider())
	type problem struct{ Code, Detail string }
	var federated, wrong problem
	status := h.call(t, http.MethodPost, "/v1/sign-ins", "", `{"email":"entra@demo.test","password":"open-sesame-demo"}`, &federated)
	asWrong := h.call(t, http.MethodPost, "/v1/sign-ins", "", `{"email":"agent@demo.test","password":"wrong"}`, &wrong)
	if status != asWrong || federated != wrong || status != http.StatusUnauthorized {
		t.Errorf("a federated account's password: %d %+v; a wrong one: %d %+v", status, federated, asWrong, wrong)
	}
}

func TestB09ASlowOrAbsentProviderStopsNobodyElse(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	away := p.provider()
	away.ID, away.Name, away.Issuer = "away", "Away", "http://"+freeAddr(t)
	h.trusts(away)
	for name, describe := range map[string]http.HandlerFunc{
		"slow":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"broken": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"issuer":"` + strings.Repeat("x", 1<<20) + `"}`)) // the gateway hangs up
		},
		"another issuer": func(w http.ResponseWriter, _ *http.Request) {
			d := p.description()
			d["issuer"] = "http://127.0.0.1:1"
			p.say(w, d)
		},
		"clear text": func(w http.ResponseWriter, _ *http.Request) {
			d := p.description()
			d["token_endpoint"] = "http://elsewhere.example.com/token"
			p.say(w, d)
		},
	} {
		p.describe = describe
		b := h.browser(t)
		begun := time.Now()
		b.open("/sign-in/with/hostile")
		if took := time.Since(begun); b.code != http.StatusServiceUnavailable || took > 5*time.Second || !strings.Contains(b.body, "does not answer just now") {
			t.Errorf("%s: status %d after %v\n%s", name, b.code, took, b.body)
		}
	}
	b := h.browser(t)
	if b.open("/sign-in/with/away"); b.code != http.StatusServiceUnavailable {
		t.Errorf("a provider that is not there: status %d", b.code)
	}
	if b.open("/sign-in/with/nobody"); b.code != http.StatusNotFound {
		t.Errorf("a provider that nobody has set: status %d", b.code)
	}
	// The password door is open, and the provider's as soon as it answers.
	if status := h.call(t, http.MethodPost, "/v1/sign-ins", "", `{"email":"agent@demo.test","password":"open-sesame-demo"}`, nil); status != http.StatusCreated {
		t.Errorf("with a password: status %d, want 201", status)
	}
	p.describe = nil
	to := b.jump("/sign-in/with/hostile")
	b.open(callback(to, p.grant(to, "s1", "petra@demo.test")))
	b.on("/account", "Mallory Somebody")

	// What was known of a provider serves on while it cannot be asked.
	p.describe = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	h.w.Clock.Add(2 * time.Hour)
	if to := h.browser(t).jump("/sign-in/with/hostile"); !strings.HasPrefix(to.String(), p.URL) {
		t.Errorf("led to %s", to)
	}
}

// A step-up is a new sign-in at the provider, by the same person, now.
func TestB07AFederatedAdminStepsUpAtTheProvider(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	b := h.browser(t)
	in := func(subject string) {
		to := b.jump("/sign-in/with/hostile")
		b.open(callback(to, p.grant(to, subject, "entra@demo.test")))
	}
	in("elif")
	b.on("/account", "Elif Demir")

	// The API has no browser: it says where to go.
	var problem struct{ Code, Detail string }
	if status := h.call(t, http.MethodPost, "/v1/session/step-up", b.token(), `{"password":"open-sesame-demo","code":"123456"}`, &problem); status != http.StatusForbidden || problem.Code != "step_up_required" || !strings.Contains(problem.Detail, "provider") {
		t.Errorf("step-up with a password: %d %+v", status, problem)
	}
	stepped := func() bool {
		var s struct {
			StepUpUntil *time.Time `json:"step_up_until"`
		}
		h.call(t, http.MethodGet, "/v1/session", b.token(), "", &s)
		return s.StepUpUntil != nil
	}
	for name, attack := range map[string]struct {
		subject string
		bend    func(map[string]any)
		says    string
	}{
		"not asked again":   {"elif", func(c map[string]any) { c["auth_time"] = time.Now().Add(-2 * time.Minute).Unix() }, "stale"},
		"long ago":          {"elif", func(c map[string]any) { c["auth_time"] = time.Now().Add(-6 * time.Minute).Unix() }, "stale"},
		"does not say when": {"elif", func(c map[string]any) { delete(c, "auth_time") }, "stale"},
		"in the future":     {"elif", func(c map[string]any) { c["auth_time"] = time.Now().Add(time.Hour).Unix() }, "stale"},
		"somebody else":     {"mallory", nil, "other_subject"},
	} {
		h.onTime()
		p.bend = attack.bend
		to := b.jump("/account/step-up/with/hostile?for=/admin/settings")
		if q := to.Query(); q.Get("prompt") != "login" || q.Get("max_age") != "0" {
			t.Fatalf("a step-up asks %s", to)
		}
		before := h.ended(attack.says)
		b.open(callback(to, p.grant(to, attack.subject, "entra@demo.test")))
		b.on("/account")
		if got := b.at.Query().Get("refused"); got != attack.says || h.ended(attack.says) != before+1 || stepped() {
			t.Errorf("%s: the browser is at %s; want refused=%s and no step-up", name, b.at, attack.says)
		}
	}
	p.bend = nil
	h.onTime()
	to := b.jump("/account/step-up/with/hostile?for=/account?x=1")
	b.open(callback(to, p.grant(to, "elif", "entra@demo.test")))
	b.on("/account")
	if b.at.RawQuery != "x=1" || h.ended("stepped_up") != 1 {
		t.Errorf("after the step-up the browser is at %s", b.at)
	}
	// It opens what needs a step-up: nothing else stands between this session and it.
	if status := h.call(t, http.MethodPost, "/v1/session/step-up", b.token(), `{"password":"x","code":"123456"}`, &problem); problem.Code == "step_up_required" || status == http.StatusNoContent {
		t.Errorf("after the step-up: %d %+v", status, problem)
	}

	// Another session's step-up is not this one's.
	h.onTime()
	to = b.jump("/account/step-up/with/hostile")
	code := p.grant(to, "elif", "entra@demo.test")
	b.post("/sign-out", url.Values{})
	in("elif")
	b.open(callback(to, code))
	if b.at.Query().Get("refused") == "" {
		t.Errorf("another session stepped up: at %s", b.at)
	}
}

package federated

import (
	"fmt"
	"net/http"
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

// A step-up is a new sign-in at the provider, by the same person, now. What it opens is what only a step-up opens.
func TestB07AFederatedAdminStepsUpAtTheProvider(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	h.changes("entra-demo", func(u *account) { u.MasterAdmin = true })
	b := h.browser(t)
	in := func(subject string) {
		t.Helper()
		to := b.jump("/sign-in/with/hostile")
		b.open(callback(to, p.grant(to, subject, "entra@demo.test")))
		b.on("/account", "Elif Demir")
	}
	in("elif")
	version := 1
	// change tries what needs a step-up, and returns the refusal's code.
	change := func() string {
		t.Helper()
		body := fmt.Sprintf(`{"internal":{"mode":"required"},"organizations":{"mode":"required","allow_opt_out":true},"version":%d}`, version)
		var problem struct{ Code string }
		if status := h.call(t, http.MethodPut, "/v1/admin/settings", b.token(), body, &problem); status == http.StatusOK {
			version++
		}
		return problem.Code
	}
	// The API has no browser: it says where to go.
	var problem struct{ Code, Detail string }
	if status := h.call(t, http.MethodPost, "/v1/session/step-up", b.token(), `{"password":"open-sesame-demo","code":"123456"}`, &problem); status != http.StatusForbidden || problem.Code != "step_up_required" || !strings.Contains(problem.Detail, "provider") {
		t.Errorf("step-up with a password: %d %+v", status, problem)
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
		"an earlier token":  {"elif", func(c map[string]any) { c["nonce"] = "of another journey" }, "untrusted"},
	} {
		h.onTime()
		p.bend = attack.bend
		to := b.jump("/account/step-up/with/hostile?for=/admin/settings")
		if q := to.Query(); q.Get("prompt") != "login" || q.Get("max_age") != "0" {
			t.Fatalf("a step-up asks %s", to)
		}
		before := h.ended(attack.says)
		b.open(callback(to, p.grant(to, attack.subject, "entra@demo.test")))
		if b.code != http.StatusForbidden || !strings.Contains(b.body, "Not confirmed") || h.ended(attack.says) != before+1 {
			t.Errorf("%s: status %d, and not counted as %s\n%s", name, b.code, attack.says, b.body)
		}
		if got := change(); got != "step_up_required" {
			t.Errorf("%s: a change is answered %q, want step_up_required", name, got)
		}
	}
	p.bend = nil

	// One session's step-up is not another's.
	h.onTime()
	to := b.jump("/account/step-up/with/hostile")
	code := p.grant(to, "elif", "entra@demo.test")
	first := b.token()
	thief := h.browser(t)
	there := thief.jump("/sign-in/with/hostile")
	thief.open(callback(there, p.grant(there, "elif", "entra@demo.test")))
	thief.open(callback(to, code))
	if got := change(); got != "step_up_required" || first != b.token() {
		t.Errorf("after another session's step-up a change is answered %q", got)
	}

	h.onTime()
	to = b.jump("/account/step-up/with/hostile?for=/account?x=1")
	b.open(callback(to, p.grant(to, "elif", "entra@demo.test")))
	b.on("/account")
	if got := change(); b.at.RawQuery != "x=1" || h.ended("stepped_up") != 1 || got != "" {
		t.Errorf("after the step-up the browser is at %s, a change is answered %q", b.at, got)
	}
	h.w.Clock.Add(5 * time.Minute)
	if got := change(); got != "step_up_required" {
		t.Errorf("five minutes later a change is answered %q", got)
	}

	// Who lingers on the way back has proved it when the provider says, and not when they came.
	h.onTime()
	to = b.jump("/account/step-up/with/hostile")
	code = p.grant(to, "elif", "entra@demo.test")
	h.w.Clock.Add(4 * time.Minute)
	b.open(callback(to, code))
	if got := change(); got != "" {
		t.Errorf("four minutes after the sign-in there a change is answered %q", got)
	}
	h.w.Clock.Add(time.Minute)
	if got := change(); got != "step_up_required" {
		t.Errorf("five minutes after the sign-in there, one after the way back, a change is answered %q", got)
	}
}

package federated

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"sallyport/pkg/contract"
)

// Who came with a factor of ours keeps it: after the provider, a step-up asks for its code too, and for no password.
func TestB07AFactorOfOursIsAskedForAfterTheProvider(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	var signIn struct{ ID, Token, Key string }
	as := func(path, body string) {
		t.Helper()
		if status := h.call(t, http.MethodPost, "/v1/sign-ins"+path, signIn.Token, body, &signIn); status >= http.StatusMultipleChoices {
			t.Fatalf("%s: status %d", path, status)
		}
	}
	code := func() string {
		t.Helper()
		h.w.Clock.Add(30 * time.Second) // a step counts once
		c, err := totp.GenerateCode(strings.ReplaceAll(signIn.Key, " ", ""), h.w.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	h.w.Clock.Add(-time.Minute) // the code of the enrolment is spent: the one typed later is another
	as("", `{"email":"agent@demo.test","password":"open-sesame-demo"}`)
	as("/"+signIn.ID+"/enrollment", `{"factor":"totp"}`)
	as("/"+signIn.ID+"/enrollment/confirm", fmt.Sprintf(`{"code":%q}`, code()))
	h.changes("agent-demo", func(u *account) { u.Federated, u.MasterAdmin = true, true })

	h.onTime()
	b := h.browser(t)
	to := b.jump("/sign-in/with/hostile")
	b.open(callback(to, p.grant(to, "amir", "agent@demo.test")))
	b.on("/account", "Amir Haddad", "Sign in with Elsewhere")
	stepUp := func(body string) (status int, refusal contract.Code) {
		var problem struct{ Code contract.Code }
		status = h.call(t, http.MethodPost, "/v1/session/step-up", b.token(), body, &problem)
		return status, problem.Code
	}
	if _, refusal := stepUp(`{"password":"open-sesame-demo","code":"000000"}`); refusal != contract.StepUpRequired {
		t.Errorf("before the provider: %q, want step_up_required", refusal)
	}
	to = b.jump("/account/step-up/with/hostile")
	b.open(callback(to, p.grant(to, "amir", "agent@demo.test")))
	b.on("/account")
	if strings.Contains(b.body, `type="password"`) {
		t.Errorf("after the provider a password is asked for:\n%s", b.body)
	}
	version := 1
	settings := func() int {
		status := h.call(t, http.MethodPut, "/v1/admin/settings", b.token(), fmt.Sprintf(`{"internal":{"mode":"required"},"organizations":{"mode":"required","allow_opt_out":true},"version":%d}`, version), nil)
		if status == http.StatusOK {
			version++
		}
		return status
	}
	if status := settings(); status != http.StatusForbidden {
		t.Errorf("a change after the provider alone: status %d, want 403", status)
	}
	if _, refusal := stepUp(`{"password":"","code":"000000"}`); refusal != contract.InvalidCode {
		t.Errorf("a wrong code: %q, want invalid_code", refusal)
	}
	if status, refusal := stepUp(fmt.Sprintf(`{"password":"","code":%q}`, code())); status != http.StatusNoContent {
		t.Errorf("the right code: %d %q", status, refusal)
	}
	if status := settings(); status != http.StatusOK {
		t.Errorf("a change after both: status %d, want 200", status)
	}
	// The older of the two says how long both are good for.
	h.onTime()
	to = b.jump("/account/step-up/with/hostile")
	b.open(callback(to, p.grant(to, "amir", "agent@demo.test")))
	h.w.Clock.Add(4 * time.Minute)
	if status, refusal := stepUp(fmt.Sprintf(`{"password":"","code":%q}`, code())); status != http.StatusNoContent {
		t.Errorf("the right code, four minutes after the provider: %d %q", status, refusal)
	}
	h.w.Clock.Add(time.Minute)
	if status := settings(); status != http.StatusForbidden {
		t.Errorf("a change more than five minutes after the provider: status %d, want 403", status)
	}
}

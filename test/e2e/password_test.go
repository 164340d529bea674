package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// proxied is a demo behind a proxy on this machine, with few guesses.
func proxied(t *testing.T, more map[string]string) *sut.Product {
	t.Helper()
	env := map[string]string{"TRUSTED_PROXIES": "127.0.0.1", "PASSWORD_LIMIT_ACCOUNT": "4/10m,12/24h"}
	for name, value := range more {
		env[name] = value
	}
	return demo(t, env)
}

// tryPassword begins a sign-in with a password.
func tryPassword(c *sut.Client, email, password string) sut.Answer {
	return c.Do("POST", "/v1/sign-ins", "", map[string]string{"email": email, "password": password})
}

// shapeOf is an answer without what is of the moment.
func shapeOf(t *testing.T, a sut.Answer) string {
	t.Helper()
	var m map[string]any
	if err := a.Decode(&m); err != nil {
		t.Fatal(err)
	}
	delete(m, "request_id")
	delete(m, "retry_after")
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(a.Status, a.Header.Get("Content-Type"), string(raw))
}

// limited fails the test unless an answer says that a limit on passwords is reached.
func limited(t *testing.T, a sut.Answer, reason string) {
	t.Helper()
	sut.Expect(t, a, http.StatusTooManyRequests, "rate_limited")
	retryAfter(t, a, 11*time.Minute)
	if got := a.Problem().Reason; got != reason {
		t.Errorf("%s: the reason is %q, want %q", a, got, reason)
	}
}

// TestGuessingAPasswordIsLimited: four guesses from anywhere but home, then none; the same for an address that nobody
// has, in any spelling, over restarts, whatever the headers say. Meanwhile the owner comes in at home, and everybody
// when the time is over.
func TestGuessingAPasswordIsLimited(t *testing.T) {
	t.Parallel()
	p := proxied(t, nil)
	home, strange := p.From("203.0.113.7"), p.From("192.0.2.44")
	home.BeginSignIn(agent)
	_, master := p.EnrolTOTP(admin)
	const nobody = "nobody@demo.test"
	spellings := []string{agent, "AGENT@demo.test", " Agent@DEMO.test", "ａｇｅｎｔ@demo.test"}
	var wrong, refused []string
	for i := range 6 {
		attacker := p.From(fmt.Sprintf("203.0.113.7, 198.51.%d.9", i)) // the first address is a lie
		known, unknown := tryPassword(attacker, spellings[i%len(spellings)], "guess"), tryPassword(attacker, nobody, "guess")
		if i < 4 {
			sut.Expect(t, known, 401, "invalid_credentials")
			wrong = append(wrong, shapeOf(t, known), shapeOf(t, unknown))
			continue
		}
		limited(t, known, "limit_password")
		limited(t, unknown, "limit_password")
		refused = append(refused, shapeOf(t, known), shapeOf(t, unknown))
	}
	for _, shapes := range [][]string{wrong, refused} {
		for _, s := range shapes {
			if s != shapes[0] {
				t.Errorf("one says %s\nanother %s", shapes[0], s)
			}
		}
	}
	// Not even the right password tells anything there; at home it lets in, as often as it comes.
	limited(t, tryPassword(strange, agent, sut.DemoPassword), "limit_password")
	for range 6 {
		home.BeginSignIn(agent)
	}
	v := newVisitor(t, p) // this machine itself is where agent has never been
	v.get("/sign-in")
	v.post("/sign-in", form{"email": agent, "password": "guess"})
	if v.page.status != http.StatusTooManyRequests || !strings.Contains(v.text(), "Too many passwords were tried with this email. Please try again at") || v.page.header.Get("Retry-After") == "" {
		t.Errorf("the page: status %d, Retry-After %q\n%s", v.page.status, v.page.header.Get("Retry-After"), v.text())
	}
	p.Restart()
	a := tryPassword(strange, agent, sut.DemoPassword)
	limited(t, a, "limit_password")
	home.BeginSignIn(agent)

	// An admin sees it, once.
	var log struct{ Items []auditEntry }
	sut.Eventually(t, 10*time.Second, "the audit log has it", func() bool {
		log = sut.Want[struct{ Items []auditEntry }](t, http.StatusOK, p.Do("GET", "/v1/admin/audit?action=password_guesses", master, nil))
		return len(log.Items) > 0
	})
	if e := log.Items[0]; len(log.Items) != 1 || e.User == "" || e.Detail["limit"] != "4" || e.Detail["window"] != "10m0s" || e.Detail["network"] == "" {
		t.Errorf("the audit log has %+v", log.Items)
	}
	if m := p.Metrics(); !strings.Contains(m, `sallyport_gateway_password_guesses_total{result="account_limited"`) {
		t.Error("the metric is missing")
	}

	p.Advance(time.Duration(a.Problem().RetryAfter) * time.Second)
	strange.BeginSignIn(agent)
	// An operator opens at once what is closed.
	for range 5 {
		a = tryPassword(p.From("192.0.3.44"), agent, "guess")
	}
	limited(t, a, "limit_password")
	if out := p.Operate(0, "unlock", "--portal", "demo", "--reason", "they rang", agent).Stdout(); !strings.Contains(out, "count no more") {
		t.Errorf("unlock prints %q", out)
	}
	p.From("192.0.3.44").BeginSignIn(agent)
}

// TestADisabledAccountCountsLikeAnyOther: even its right password is a wrong one, in the answer and in the count.
func TestADisabledAccountCountsLikeAnyOther(t *testing.T) {
	t.Parallel()
	p := proxied(t, nil)
	p.BeginSignIn(second) // from here its password was right once
	_, master := p.EnrolTOTP(admin)
	if a := p.Do("PATCH", "/v1/admin/users/second-demo", master, map[string]any{"disabled": true}); a.Status != http.StatusOK {
		t.Fatal(a)
	}
	for i := range 6 {
		off, unknown := tryPassword(p.Client, second, sut.DemoPassword), tryPassword(p.Client, "nobody@demo.test", sut.DemoPassword)
		if shapeOf(t, off) != shapeOf(t, unknown) {
			t.Errorf("try %d, disabled: %s\nunknown: %s", i, off, unknown)
		}
		if i < 4 {
			sut.Expect(t, off, 401, "invalid_credentials")
		} else {
			limited(t, off, "limit_password")
		}
	}
}

// TestStepUpCountsAsASignIn: both doors move one count.
func TestStepUpCountsAsASignIn(t *testing.T) {
	t.Parallel()
	p := proxied(t, nil)
	key, session := p.EnrolTOTP(agent)
	stepUp := func(password string) sut.Answer {
		return p.Do("POST", "/v1/session/step-up", session, map[string]string{"password": password, "code": p.Code(key)})
	}
	for range 2 {
		sut.Expect(t, stepUp("guess"), 401, "invalid_credentials")
		sut.Expect(t, tryPassword(p.Client, agent, "guess"), 401, "invalid_credentials")
	}
	limited(t, stepUp(sut.DemoPassword), "limit_password")
	limited(t, tryPassword(p.Client, agent, sut.DemoPassword), "limit_password")
	p.Advance(11 * time.Minute)
	if a := stepUp(sut.DemoPassword); a.Status != http.StatusNoContent {
		t.Errorf("when the time is over: %s", a)
	}
}

// TestParallelPasswordsAreCounted: of sixty wrong passwords at once four are looked at; of twenty right ones all are
// let in.
func TestParallelPasswordsAreCounted(t *testing.T) {
	t.Parallel()
	p := proxied(t, nil)
	answers := parallel(t, p, 60, func(int) (string, string, any) {
		return "/v1/sign-ins", "", map[string]string{"email": agent, "password": "guess"}
	})
	got := tally(answers)
	if n := got["invalid_credentials"]; n < 1 || n > 4 {
		t.Errorf("%v; want at most 4 looked at", got)
	}
	others(t, "sixty passwords", got, 60, "invalid_credentials", "rate_limited")
	got = tally(parallel(t, p, 20, func(int) (string, string, any) { return "/v1/sign-ins", "", sut.Credentials(second) }))
	others(t, "twenty right passwords", got, 20, "Created")
}

// TestANetworksGuessesAreLimited: whichever addresses are tried, and whatever X-Forwarded-For says where nobody is
// trusted to say it.
func TestANetworksGuessesAreLimited(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"PASSWORD_LIMIT_NETWORK": "5/10m"})
	p.BeginSignIn(agent)
	for i := range 9 {
		a := tryPassword(p.From(fmt.Sprintf("198.51.%d.9", i)), fmt.Sprintf("person%d@stolen.test", i), "guess")
		if i < 5 {
			sut.Expect(t, a, 401, "invalid_credentials")
			continue
		}
		limited(t, a, "limit_password_network")
	}
	limited(t, tryPassword(p.Client, second, sut.DemoPassword), "limit_password_network")
	p.BeginSignIn(agent) // who has been there before
	v := newVisitor(t, p)
	v.get("/sign-in")
	v.post("/sign-in", form{"email": second, "password": "guess"})
	if v.page.status != http.StatusTooManyRequests || !strings.Contains(v.text(), "Too many wrong passwords came from your network.") {
		t.Errorf("the page: status %d\n%s", v.page.status, v.text())
	}
}

// TestARefusalTakesItsTime: with and without an account behind the address, a refusal is not sooner than it says.
func TestARefusalTakesItsTime(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off"})
	const least = 60 * time.Millisecond
	for _, email := range []string{agent, "nobody@demo.test"} {
		for range 5 {
			a := tryPassword(p.Client, email, "guess")
			sut.Expect(t, a, 401, "invalid_credentials")
			if a.Took < least {
				t.Errorf("%s is refused after %v; %v is the least", email, a.Took, least)
			}
		}
	}
}

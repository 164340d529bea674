package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestWhoCameInAndWhoDidNotIsInTheLog: each sign-in, each password and each code that was refused, and each reach for what
// is not one's own has its line, by ids; and no line has a name, an address, or anything that was typed.
func TestWhoCameInAndWhoDidNotIsInTheLog(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"LOG_LEVEL": "INFO"})
	const typed = "not-the-password-9171"
	refused := func(email string) sut.Answer {
		return p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": email, "password": typed})
	}
	sut.Expect(t, refused(agent), http.StatusUnauthorized, "invalid_credentials")
	stranger := refused("stranger@nowhere.test")
	key, _ := p.EnrolTOTP(agent)
	p.Advance(time.Minute)
	s := p.BeginSignIn(agent)
	wrong := sut.WrongCode(t, key, p.Now())
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(wrong)), http.StatusUnprocessableEntity, "invalid_code")
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/verify"), s.Token, code(p.Code(key))))
	sut.Expect(t, p.Do("GET", "/v1/admin/settings", done.Session.Token, nil), http.StatusForbidden, "forbidden")
	sut.Eventually(t, 5*time.Second, "the log has the last of it", func() bool { return strings.Contains(p.Output(), `"access refused"`) })
	out := "" // the log, without what the demo says of itself
	lines := map[string][]map[string]any{}
	for line := range strings.Lines(p.Output()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil {
			out += line
			msg, _ := m["msg"].(string)
			lines[msg] = append(lines[msg], m)
		}
	}
	has := func(msg string, want map[string]string) {
		t.Helper()
	next:
		for _, m := range lines[msg] {
			for k, v := range want {
				if m[k] != v {
					continue next
				}
			}
			if m["request_id"] == "" || m["network"] == "" || m["portal"] != "demo" || m["time"] == "" {
				t.Errorf("%s lacks when, where or which request: %v", msg, m)
			}
			return
		}
		t.Errorf("no line %q with %v among %v", msg, want, lines[msg])
	}
	has("password refused", map[string]string{"result": "wrong", "level": "INFO"})
	has("password refused", map[string]string{"result": "wrong", "request_id": stranger.Header.Get("X-Request-Id")})
	has("code refused", map[string]string{"user": "agent-demo", "method": "otp", "result": "invalid_code"})
	has("session opened", map[string]string{"user": "agent-demo", "methods": "pwd otp"})
	has("access refused", map[string]string{"user": "agent-demo", "to": "administration", "level": "WARN"})
	for what, secret := range map[string]string{
		"a password": typed, "a code": `"` + wrong + `"`, "an address": "nowhere.test", "the person's address": agent, "a token": done.Session.Token,
	} {
		if strings.Contains(out, secret) {
			t.Errorf("the log has %s", what)
		}
	}
}

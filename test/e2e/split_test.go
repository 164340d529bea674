package e2e

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// tolerance is added to the promised three seconds: the test's own machine may be busy.
const tolerance = 2 * time.Second

// refused sends a request that must be answered with unavailable within three seconds.
func refused(t *testing.T, s *sut.Split, what, method, path, token string, body any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, err := s.Try(ctx, method, path, token, body)
	if err != nil {
		t.Errorf("%s: %v; want 503", what, err)
		return
	}
	problem(t, a, "unavailable")
	if a.Took > sut.Patience+tolerance {
		t.Errorf("%s: refused after %v; a person waits three seconds at most", what, a.Took)
	}
}

// TestMissingServiceIsSaid kills one service after the other: what needs it is refused within three seconds, nobody is
// let in, the rest goes on, and all is well again when it is back.
func TestMissingServiceIsSaid(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	s.EnrolSMS(clerk, clerkPhone)
	session := s.SignInSMS(clerk, clerkPhone)
	// An authenticator, by hand: the clock here is the host's.
	first := s.BeginSignIn(agent)
	e := sut.Want[sut.Enrollment](t, http.StatusCreated, s.Do("POST", first.Path("/enrollment"), first.Token, map[string]string{"factor": "totp"}))
	sut.Want[sut.SignIn](t, http.StatusOK, s.Do("POST", first.Path("/enrollment/confirm"), first.Token, code(sut.CodeAt(t, e.Key, time.Now()))))
	asked := s.BeginSignIn(agent)
	stands(t, asked, "challenge")
	next := func() string { return sut.CodeAt(t, e.Key, time.Now().Add(sut.Step)) } // its window takes the next step too

	for _, name := range sut.Services {
		if got := sut.NewClient(t, s.OpsURL(name)).Do("GET", "/healthz", "", nil).Status; got != 200 {
			t.Errorf("%s: /healthz: status %d", name, got)
		}
		if text := s.Metrics(name); !strings.Contains(text, `sallyport_bus_call_duration_seconds_count{`) || !strings.Contains(text, `service="`+name+`"`) {
			t.Errorf("%s: /metrics has none of its calls", name)
		}
	}

	s.Service["totp-svc"].Kill9()
	refused(t, s, "a code without totp-svc", "POST", asked.Path("/verify"), asked.Token, code(next()))
	refused(t, s, "a recovery code without totp-svc", "POST", asked.Path("/recover"), asked.Token, map[string]string{"recovery_code": "AAAA-AAAA-AAAA-AAAA"})
	refused(t, s, "an account without totp-svc", "GET", "/v1/account", session, nil)
	other := s.BeginSignIn(second)
	refused(t, s, "an enrolment without totp-svc", "POST", other.Path("/enrollment"), other.Token, map[string]string{"factor": "totp"})
	sut.Expect(t, s.Who(session), 200, "")
	s.SignInSMS(clerk, clerkPhone) // who needs it not is not stopped
	s.StartService("totp-svc")
	stands(t, s.Verify(asked, next()), "complete")

	s.Service["sms-dispatcher"].Kill9()
	refused(t, s, "a contact's sign-in without sms-dispatcher", "POST", "/v1/sign-ins", "", sut.Credentials(clerk))
	stands(t, s.BeginSignIn(agent), "challenge")
	s.StartService("sms-dispatcher")
	s.SignInSMS(clerk, clerkPhone)

	s.Service["policy-svc"].Kill9()
	for _, email := range []string{agent, clerk, entra, temp} {
		refused(t, s, "the sign-in of "+email+" without policy-svc", "POST", "/v1/sign-ins", "", sut.Credentials(email))
	}
	sut.Expect(t, s.Do("POST", "/v1/sign-ins", "", map[string]string{"email": agent, "password": "wrong"}), 401, "invalid_credentials")
	s.StartService("policy-svc")
	stands(t, s.BeginSignIn(entra), "complete")

	s.Service["auth-gateway"].Kill9()
	s.StartService("auth-gateway")
	sut.Expect(t, s.Who(session), 200, "")

	// A service that hangs is one that is missing.
	waiting := s.BeginSignIn(agent)
	s.Service["totp-svc"].Suspend()
	refused(t, s, "a code while totp-svc hangs", "POST", waiting.Path("/verify"), waiting.Token, code("123456"))
	s.Service["totp-svc"].Continue()
	sut.Eventually(t, 10*time.Second, "totp-svc answers again", func() bool {
		return s.Do("POST", waiting.Path("/verify"), waiting.Token, code("12345")).Is(422, "invalid_code")
	})
}

// TestMissingPartsAreSaid takes away the bus and the store: every service says that it is not ready, the gateway
// refuses within three seconds, and all is well again by itself within ten seconds of their return.
func TestMissingPartsAreSaid(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	s.EnrolSMS(clerk, clerkPhone)
	session := s.SignInSMS(clerk, clerkPhone)
	asked := s.BeginSignIn(agent)
	for _, fall := range []struct {
		name string
		away func()
		back func()
	}{
		{"killed", s.Infra.Kill9, s.StartInfra},
		{"hanging", func() { s.Infra.Suspend() }, func() { s.Infra.Continue() }},
		{"stopped", func() { s.Infra.Terminate() }, s.StartInfra},
	} {
		fall.away()
		// At once, before anything has noticed, and once more when everything has.
		for _, when := range []string{"at once", "later"} {
			refused(t, s, "a sign-in with parts "+fall.name+", "+when, "POST", "/v1/sign-ins", "", sut.Credentials(agent))
			refused(t, s, "a code with parts "+fall.name+", "+when, "POST", asked.Path("/verify"), asked.Token, code("123456"))
			if when == "at once" {
				for _, name := range sut.Services {
					sut.Eventually(t, 10*time.Second, name+" says that it is not ready, with parts "+fall.name, func() bool { return !s.Ready(name) })
				}
			}
		}
		refused(t, s, "a session with parts "+fall.name, "GET", "/v1/session", session, nil)
		if a := s.Do("GET", "/sign-in", "", nil); a.Status != 200 && a.Status != 503 || a.Took > sut.Patience+tolerance {
			t.Errorf("parts %s: the sign-in page: status %d after %v", fall.name, a.Status, a.Took)
		}
		for _, name := range sut.Services {
			if !s.Service[name].Running() {
				t.Fatalf("%s did not survive its parts %s:\n%s", name, fall.name, s.Service[name].Output())
			}
			if got := sut.NewClient(t, s.OpsURL(name)).Do("GET", "/healthz", "", nil).Status; got != 200 {
				t.Errorf("%s with parts %s: /healthz: status %d; it lives", name, fall.name, got)
			}
		}
		fall.back()
		back := time.Now()
		for _, name := range sut.Services {
			sut.Eventually(t, 10*time.Second+tolerance-time.Since(back), name+" is ready again after its parts were "+fall.name, func() bool { return s.Ready(name) })
		}
		sut.Expect(t, s.Who(session), 200, "")
		stands(t, s.BeginSignIn(agent), "enroll")
		seen := len(s.Messages(clerkPhone))
		var begun sut.SignIn
		sut.Eventually(t, 45*time.Second, "a contact may be texted again", func() bool {
			a := s.Do("POST", "/v1/sign-ins", "", sut.Credentials(clerk))
			return a.Decode(&begun) == nil && slices.Contains([]string{"queued", "sent"}, begun.Delivery)
		})
		stands(t, s.Verify(begun, s.CodeAfter(clerkPhone, seen)), "complete")
	}
}

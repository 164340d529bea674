package e2e

import (
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestSessionsEnd: after half an hour without use, and after twelve hours of any.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, idle := p.EnrolTOTP(agent)
	p.Advance(29 * time.Minute)
	who(t, p, idle)
	p.Advance(29 * time.Minute)
	who(t, p, idle) // its use has moved the end
	p.Advance(30*time.Minute + time.Second)
	dead(t, p, idle)

	busy := p.SignInTOTP(agent, key)
	began := p.Now()
	until := who(t, p, busy).ExpiresAt
	near(t, "expires_at", until, began.Add(12*time.Hour), 30*time.Second)
	for p.Now().Before(until.Add(-30 * time.Minute)) {
		p.Advance(25 * time.Minute)
		who(t, p, busy)
	}
	if rest := until.Sub(p.Now()); rest > time.Minute {
		p.Advance(rest - time.Minute)
		who(t, p, busy)
	}
	p.Advance(time.Minute)
	dead(t, p, busy)
	p.Restart() // nor does a restart bring it back
	dead(t, p, busy)
	dead(t, p, idle)
}

// TestSignInsExpire: ten minutes from the password, at whatever step.
func TestSignInsExpire(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	enrolling, asked, texted := p.BeginSignIn(second), p.BeginSignIn(agent), p.BeginSignIn(clerk)
	e := enrolment(t, p, enrolling)
	p.Advance(9*time.Minute + 30*time.Second)
	stands(t, look(t, p, asked), "challenge")
	p.Advance(31 * time.Second)
	for _, s := range []sut.SignIn{enrolling, asked, texted} {
		sut.Expect(t, p.Do("GET", s.Path(""), s.Token, nil), 410, "expired")
	}
	sut.Expect(t, p.Do("POST", asked.Path("/verify"), asked.Token, code(p.Code(key))), 410, "expired")
	sut.Expect(t, p.Do("POST", asked.Path("/recover"), asked.Token, map[string]string{"recovery_code": "x"}), 410, "expired")
	sut.Expect(t, p.Do("POST", enrolling.Path("/enrollment"), enrolling.Token, map[string]string{"factor": "totp"}), 410, "expired")
	sut.Expect(t, p.Do("POST", enrolling.Path("/enrollment/confirm"), enrolling.Token, code(p.Code(e.Key))), 410, "expired")
	sut.Expect(t, p.Do("POST", texted.Path("/enrollment/skip"), texted.Token, nil), 410, "expired")
	sut.Expect(t, p.Do("POST", texted.Path("/resend"), texted.Token, nil), 410, "expired")
	stands(t, p.BeginSignIn(second), "enroll")
}

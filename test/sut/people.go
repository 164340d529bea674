package sut

import (
	"net/http"
	"time"
)

// Credentials is the body that begins a sign-in of a demo account.
func Credentials(email string) map[string]string {
	return map[string]string{"email": email, "password": DemoPassword}
}

// BeginSignIn gives e-mail address and password of a demo account.
func (c *Client) BeginSignIn(email string) SignIn {
	c.tb.Helper()
	return Want[SignIn](c.tb, http.StatusCreated, c.Do(http.MethodPost, "/v1/sign-ins", "", Credentials(email)))
}

// Code is what an authenticator app with this key shows now. A step works once: where it was returned before, the
// clock is moved to the next one.
func (p *Product) Code(key string) string {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now()
	// The window takes the next step too, but a test that runs for long must not work its way ahead of the clock.
	for now.Unix()/int64(Step/time.Second) <= p.spent[key] {
		now = p.Advance(Step)
	}
	p.spent[key] = now.Unix() / int64(Step/time.Second)
	return CodeAt(p.tb, key, now)
}

// EnrolTOTP signs an internal user in who has no factor yet, enrols an authenticator, and returns its key and the
// token of the session.
func (p *Product) EnrolTOTP(email string) (key, session string) {
	p.tb.Helper()
	s := p.BeginSignIn(email)
	if s.Status != "enroll" || s.Factor != "totp" {
		p.tb.Fatalf("%s: sign-in is %q with factor %q; want enroll with totp", email, s.Status, s.Factor)
	}
	e := Want[Enrollment](p.tb, http.StatusCreated, p.Do(http.MethodPost, s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}))
	done := Want[SignIn](p.tb, http.StatusOK, p.Do(http.MethodPost, s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": p.Code(e.Key), "label": "Pixel 9"}))
	return e.Key, p.sessionOf(done)
}

// SignInTOTP signs in with password and a fresh code, and returns the token of the session.
func (p *Product) SignInTOTP(email, key string) string {
	p.tb.Helper()
	s := p.BeginSignIn(email)
	if s.Status != "challenge" {
		p.tb.Fatalf("%s: sign-in is %q; want challenge", email, s.Status)
	}
	return p.sessionOf(p.Verify(s, p.Code(key)))
}

// Verify gives the code of a challenge, which must be right.
func (c *Client) Verify(s SignIn, code string) SignIn {
	c.tb.Helper()
	return Want[SignIn](c.tb, http.StatusOK, c.Do(http.MethodPost, s.Path("/verify"), s.Token, map[string]string{"code": code}))
}

// EnrolSMS signs a contact in who has no factor yet and enrols a number; no session comes of it, they sign in again.
func (p *Product) EnrolSMS(email, phone string) {
	p.tb.Helper()
	s := p.BeginSignIn(email)
	if s.Status != "enroll" || s.Factor != "sms" {
		p.tb.Fatalf("%s: sign-in is %q with factor %q; want enroll with sms", email, s.Status, s.Factor)
	}
	seen := len(p.Messages(phone))
	Want[Enrollment](p.tb, http.StatusCreated, p.Do(http.MethodPost, s.Path("/enrollment"), s.Token, map[string]string{"factor": "sms", "phone": phone}))
	done := Want[SignIn](p.tb, http.StatusOK, p.Do(http.MethodPost, s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": p.CodeAfter(phone, seen)}))
	if done.Status != "relogin" || done.Session != nil {
		p.tb.Fatalf("%s: after the number was confirmed the sign-in is %q; want relogin without a session", email, done.Status)
	}
}

// SignInSMS signs in with password and the code that arrives at phone, and returns the token of the session.
func (p *Product) SignInSMS(email, phone string) string {
	p.tb.Helper()
	seen := len(p.Messages(phone))
	s := p.BeginSignIn(email)
	if s.Status != "challenge" || s.Factor != "sms" {
		p.tb.Fatalf("%s: sign-in is %q with factor %q; want challenge with sms", email, s.Status, s.Factor)
	}
	return p.sessionOf(p.Verify(s, p.CodeAfter(phone, seen)))
}

// StepUp proves password and a fresh code of the authenticator again.
func (p *Product) StepUp(session, key string) {
	p.tb.Helper()
	Expect(p.tb, p.Do(http.MethodPost, "/v1/session/step-up", session, map[string]string{"password": DemoPassword, "code": p.Code(key)}), http.StatusNoContent, "")
}

// Who asks who is signed in.
func (c *Client) Who(session string) Answer {
	c.tb.Helper()
	return c.Do(http.MethodGet, "/v1/session", session, nil)
}

func (p *Product) sessionOf(s SignIn) string {
	p.tb.Helper()
	if s.Status != "complete" || s.Session == nil || s.Session.Token == "" {
		p.tb.Fatalf("sign-in is %q; want complete with a session", s.Status)
	}
	return s.Session.Token
}

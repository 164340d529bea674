// Package e2e answers: does the product, run as its users run it, do what it promises to them?
//
// Every test starts the shipped command as a process of its own and speaks to its public HTTP interface: the JSON API,
// the pages as a browser without JavaScript sees them, the inbox and the clock of the demo. A test with a number (B12)
// is about the behaviour of that number.
package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"sallyport/test/sut"
)

func TestMain(m *testing.M) { sut.Main(m, answersAreDescribed) }

// Demo accounts.
const (
	admin  = "admin@demo.test"
	second = "second@demo.test"
	agent  = "agent@demo.test"
	entra  = "entra@demo.test"
	owner  = "owner@acme.test"
	clerk  = "clerk@acme.test"
	temp   = "temp@acme.test"
	globex = "owner@globex.test"
)

// Mobile numbers of test people; no two people share one.
const (
	clerkPhone  = "+17015559443"
	ownerPhone  = "+17015559444"
	globexPhone = "+17015559445"
)

// demo starts a product with the demo portal; it is this test's alone.
func demo(t *testing.T, env map[string]string) *sut.Product {
	t.Helper()
	return sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(env)})
}

// code is the body of a confirm or verify.
func code(c string) map[string]string { return map[string]string{"code": c} }

// enrolment begins an enrolment of an authenticator and returns what is shown for it.
func enrolment(t *testing.T, p *sut.Product, s sut.SignIn) sut.Enrollment {
	t.Helper()
	return sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}))
}

// phone begins an enrolment of a number.
func phone(number string) map[string]string {
	return map[string]string{"factor": "sms", "phone": number}
}

// look asks where a sign-in stands.
func look(t *testing.T, p *sut.Product, s sut.SignIn) sut.SignIn {
	t.Helper()
	return sut.Want[sut.SignIn](t, http.StatusOK, p.Do("GET", s.Path(""), s.Token, nil))
}

// stands fails the test unless a sign-in has this status.
func stands(t *testing.T, s sut.SignIn, status string) {
	t.Helper()
	if s.Status != status {
		t.Fatalf("the sign-in stands at %q; want %q", s.Status, status)
	}
	if (s.Session != nil) != (status == "complete") {
		t.Fatalf("the sign-in stands at %q; session: %t", s.Status, s.Session != nil)
	}
}

// who returns the session of a token, which must live.
func who(t *testing.T, p *sut.Product, token string) sut.Session {
	t.Helper()
	return sut.Want[sut.Session](t, http.StatusOK, p.Who(token))
}

// dead fails the test unless a session token is refused.
func dead(t *testing.T, p *sut.Product, token string) {
	t.Helper()
	sut.Expect(t, p.Who(token), http.StatusUnauthorized, "unauthenticated")
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// near fails the test unless two times are at most so far apart.
func near(t *testing.T, what string, got, want time.Time, most time.Duration) {
	t.Helper()
	if d := got.Sub(want).Abs(); d > most {
		t.Errorf("%s: %v, want %v (or %v from it)", what, got, want, most)
	}
}

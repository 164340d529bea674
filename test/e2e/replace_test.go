package e2e

import (
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestPasswordAloneNeverReplacesAFactor: a sign-in that was begun before the person enrolled knows the password only.
// Whoever holds it can neither enrol another factor in the place of the first, nor skip, nor finish what was begun.
func TestPasswordAloneNeverReplacesAFactor(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	untouched, begun := p.BeginSignIn(agent), p.BeginSignIn(agent)
	theirs := enrolment(t, p, begun)
	key, session := p.EnrolTOTP(agent)
	for name, s := range map[string]sut.SignIn{"untouched": untouched, "begun": begun} {
		sut.Expect(t, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil), 403, "forbidden")
		sut.Expect(t, p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}), 409, "conflict")
		for _, k := range []string{theirs.Key, key} {
			if a := p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(sut.CodeAt(t, k, p.Now().Add(sut.Step)))); !a.Is(409, "conflict") {
				t.Errorf("a sign-in from before, %s: %s; want 409", name, a)
			}
		}
	}
	who(t, p, session) // an enrolment would have ended it
	p.SignInTOTP(agent, key)

	// The same by text message: the number of another must not take the place of mine.
	untouched, begun = p.BeginSignIn(clerk), p.BeginSignIn(clerk)
	sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", begun.Path("/enrollment"), begun.Token, phone(globexPhone)))
	their := p.LastCode(globexPhone)
	p.Advance(31 * time.Second)
	p.EnrolSMS(clerk, clerkPhone)
	if a := p.Do("POST", begun.Path("/enrollment/confirm"), begun.Token, code(their)); a.Status < 400 {
		t.Errorf("another number took the place of the confirmed one: %s", a)
	}
	for name, s := range map[string]sut.SignIn{"untouched": untouched, "begun": begun} {
		// The one that was tried is over.
		if a := p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil); name == "untouched" && !a.Is(403, "forbidden") || name == "begun" && !a.Is(409, "conflict") {
			t.Errorf("a sign-in from before, %s, was skipped: %s", name, a)
		}
		a := p.Do("POST", s.Path("/enrollment"), s.Token, phone("+17015559448"))
		if !a.Is(409, "conflict") {
			t.Errorf("a sign-in from before, %s: %s; want 409", name, a)
		}
	}
	if n := len(p.Messages("+17015559448")); n != 0 {
		t.Errorf("%d messages were sent to a number that cannot be enrolled", n)
	}
	s := p.BeginSignIn(clerk)
	stands(t, s, "challenge")
	if s.Destination != "xxx-xxx-9443" {
		t.Errorf("codes go to %s", s.Destination)
	}
}

package e2e

import (
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestANewPasswordLeavesTheFactorAndEndsTheSessions: who has only the link for a new password, because a mailbox was read,
// stands before the code like everybody else, and whoever was in with the old password is out.
func TestANewPasswordLeavesTheFactorAndEndsTheSessions(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(agent)
	_, master := p.EnrolTOTP(admin)
	link := sut.Want[struct{ URL string }](t, http.StatusCreated, p.Do("POST", "/v1/admin/users/agent-demo/password-link", master, nil)).URL
	who(t, p, session)
	if a := welcome(t, p, link, chosen, chosen); a.Status != http.StatusSeeOther {
		t.Fatal(a)
	}
	dead(t, p, session)
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", sut.Credentials(agent)), http.StatusUnauthorized, "invalid_credentials")
	s := sut.Want[sut.SignIn](t, http.StatusCreated, p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": agent, "password": chosen}))
	stands(t, s, "challenge")
	if s.Session != nil {
		t.Error("a new password alone opened a session")
	}
	sut.Expect(t, p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}), http.StatusConflict, "conflict")
	p.Advance(30 * time.Second) // the code of the enrolment is spent
	s = sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/verify"), s.Token, code(p.Code(key))))
	stands(t, s, "complete")
}

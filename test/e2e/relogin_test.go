package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB21AConfirmedNumberOpensASessionWhereThePortalSaysSo: by default the contact signs in again; the operator can let the
// code be enough, at a portal that is there and at one that is made, and can take it back.
func TestB21AConfirmedNumberOpensASessionWhereThePortalSaysSo(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	relogin := func() map[string]bool {
		t.Helper()
		var list []struct {
			ID         string `json:"id"`
			SMSRelogin *bool  `json:"sms_relogin"`
		}
		if err := json.Unmarshal([]byte(p.Operate(0, "portal", "list", "--json").Stdout()), &list); err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, l := range list {
			out[l.ID] = l.SMSRelogin != nil && *l.SMSRelogin
		}
		return out
	}
	if !relogin()["demo"] {
		t.Error("by default contacts do not sign in again")
	}
	p.Operate(0, "portal", "create", "--id=south", "--name=South", "--url=https://south.example.com", "--admin-email=ada@south.test", "--admin-name=Ada Moreau", "--sms-relogin=off")
	if relogin()["south"] {
		t.Error("a portal that was made with --sms-relogin=off has it on")
	}
	p.Operate(2, "portal", "set", "--portal=demo", "--sms-relogin=perhaps")
	p.Operate(2, "portal", "set", "--portal=demo")
	p.Operate(1, "portal", "set", "--portal=nowhere", "--sms-relogin=off")

	// enrols confirms a number, until the gateway has heard of the change, and returns where the sign-in leads.
	numbers := map[string]string{clerk: clerkPhone, owner: ownerPhone, globex: globexPhone}
	enrols := func(email string) sut.SignIn {
		t.Helper()
		s := p.BeginSignIn(email)
		stands(t, s, "enroll")
		seen := len(p.Messages(numbers[email]))
		sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", s.Path("/enrollment"), s.Token, phone(numbers[email])))
		return sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.CodeAfter(numbers[email], seen))))
	}
	stands(t, enrols(owner), "relogin")

	p.Operate(0, "portal", "set", "--portal=demo", "--sms-relogin=off")
	logged(t, p, "demo", "portal_changed", "sign-in again after a number is confirmed")
	p.Restart() // a gateway that runs sees it within ten seconds
	done := enrols(clerk)
	stands(t, done, "complete")
	equal(t, "amr", who(t, p, done.Session.Token).AMR, []string{"pwd", "sms"})
	v := newVisitor(t, p)
	v.signIn(temp)
	v.at("/sign-in/enroll")
	v.post("/sign-in/enroll/start", nil)
	seen := len(p.Messages("+17015559446"))
	v.post("/sign-in/enroll/phone", form{"phone": "+17015559446"})
	v.at("/sign-in/code")
	v.post("/sign-in/enroll/confirm", form{"code": p.CodeAfter("+17015559446", seen)})
	v.at("/sign-in/done")
	v.get("/account")
	v.at("/account")
	p.Advance(time.Minute)
	stands(t, p.BeginSignIn(clerk), "challenge") // later sign-ins ask for a code all the same

	p.Operate(0, "portal", "set", "--portal=demo", "--sms-relogin=on")
	p.Restart()
	stands(t, enrols(globex), "relogin")
}

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB37APasswordIsSetByTheAPI: what the page behind a password link does, under the same rules.
func TestB37APasswordIsSetByTheAPI(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, session := p.EnrolTOTP(agent)
	_, master := p.EnrolTOTP(admin)
	link := sut.Want[struct{ URL string }](t, http.StatusCreated, p.Do("POST", "/v1/admin/users/agent-demo/password-link", master, nil)).URL
	_, token, _ := strings.Cut(link, "/welcome/")
	set := func(token, password string) sut.Answer {
		return p.Do("POST", "/v1/password-links", "", map[string]string{"token": token, "password": password})
	}
	for _, weak := range []string{"", "short", "password1234", "agent demo agent demo"} {
		a := set(token, weak)
		sut.Expect(t, a, http.StatusUnprocessableEntity, "invalid_request")
		if e := a.Problem().Errors; len(e) != 1 || e[0].Field != "password" {
			t.Errorf("a weak password: %s", a)
		}
	}
	_, word, _ := strings.Cut(token, ".")
	for _, none := range []string{"", "x", "agent-demo." + strings.Repeat("A", 26), "second-demo." + word, session} {
		sut.Expect(t, set(none, chosen), http.StatusGone, "expired")
	}
	who(t, p, session)
	a := set(token, chosen)
	sut.Expect(t, a, http.StatusNoContent, "")
	if a.Header.Get("Set-Cookie") != "" || len(a.Body) != 0 {
		t.Errorf("it opens something: %v", a.Header)
	}
	dead(t, p, session)
	sut.Expect(t, set(token, chosen), http.StatusGone, "expired")
	sut.Expect(t, begin(p, agent, sut.DemoPassword), http.StatusUnauthorized, "invalid_credentials")
	stands(t, sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, agent, chosen)), "challenge")
	if n := len(history(t, p, master, "action=password_set&user=agent-demo")); n != 1 {
		t.Errorf("%d entries password_set", n)
	}
}

// TestB37AnAdminSeesTheSameByTheAPI: the overview in figures, and what is left of a person's recovery codes.
func TestB37AnAdminSeesTheSameByTheAPI(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	p.EnrolSMS(clerk, clerkPhone)
	p.Advance(time.Minute)
	contact := p.SignInSMS(clerk, clerkPhone)

	type figures struct {
		Mode                       string
		Users, Federated, Enrolled int64
		WillEnroll                 int64 `json:"will_enroll"`
	}
	type overview struct{ Internal, Organizations figures }
	sut.Expect(t, p.Do("GET", "/v1/admin/overview", contact, nil), http.StatusForbidden, "forbidden")
	eventually(t, "the overview counts who has enrolled", func() bool {
		o := sut.Want[overview](t, http.StatusOK, p.Do("GET", "/v1/admin/overview", master, nil))
		return o.Internal.Mode == "required" && o.Internal.Users == 3 && o.Internal.Federated == 1 && o.Internal.Enrolled == 1 && o.Internal.WillEnroll == 2 &&
			o.Organizations.Users == 4 && o.Organizations.Enrolled == 1
	})

	// Who has no factor has none, and not nothing at all.
	for path, token := range map[string]string{"/v1/admin/users": master, "/v1/admin/users/agent-demo": master, "/v1/account": master} {
		if a := p.Do("GET", path, token, nil); strings.Contains(string(a.Body), `"factors":null`) || !strings.Contains(string(a.Body), `"factors":[`) {
			t.Errorf("%s", a)
		}
	}
	for _, u := range people(t, p, master, "") {
		if u.Factors == nil {
			t.Errorf("%s has no list of factors", u.Email)
		}
	}
	if a := p.Who(master); strings.Contains(string(a.Body), "factors") {
		t.Errorf("factors where they were not asked: %s", a)
	}

	// The number of a telephone by its last digits, for its owner and for an admin.
	if a := account(t, p, contact); len(a.Factors) != 1 || a.Factors[0].Destination != "xxx-xxx-9443" || a.User.Factors[0].Destination != "xxx-xxx-9443" {
		t.Errorf("account of a contact: %+v", a)
	}
	if u := see(t, p, master, clerk); len(u.Factors) != 1 || u.Factors[0].Destination != "xxx-xxx-9443" {
		t.Errorf("a contact as an admin sees them: %+v", u)
	}

	p.StepUp(master, key)
	sut.Expect(t, p.Do("POST", "/v1/account/recovery-codes", master, nil), http.StatusOK, "")
	u := see(t, p, master, admin)
	if u.CodesLeft == nil || *u.CodesLeft != 10 || u.Recovery != nil {
		t.Errorf("recovery codes of an admin: %v, lock %v", u.CodesLeft, u.Recovery)
	}
	s := p.BeginSignIn(admin)
	for range 5 {
		sut.Expect(t, p.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": "AAAA-AAAA-AAAA-AAAA"}), http.StatusUnprocessableEntity, "invalid_code")
	}
	if u = see(t, p, master, admin); u.Recovery == nil || u.Recovery.LockedUntil == nil {
		t.Errorf("lock of the recovery codes: %+v", u.Recovery)
	} else {
		near(t, "locked_until", *u.Recovery.LockedUntil, p.Now().Add(30*time.Second), 10*time.Second)
	}

	// What a text was for is asked by action; no other action is taken for all of them.
	type deliveries struct{ Items []struct{ Purpose string } }
	for action, want := range map[string]int{"enrolment": 1, "sign_in": 1, "step_up": 0, "": 2} {
		found := sut.Want[deliveries](t, http.StatusOK, p.Do("GET", "/v1/admin/deliveries?action="+action, master, nil)).Items
		for _, m := range found {
			if action != "" && m.Purpose != action {
				t.Errorf("action=%s lists a text of purpose %s", action, m.Purpose)
			}
		}
		if len(found) != want {
			t.Errorf("action=%s lists %d texts, want %d", action, len(found), want)
		}
	}
	sut.Expect(t, p.Do("GET", "/v1/admin/deliveries?action=user_created", master, nil), http.StatusUnprocessableEntity, "invalid_request")

	// Somebody who is not there asks for no proof.
	p.Advance(6 * time.Minute)
	sut.Expect(t, p.Do("DELETE", "/v1/admin/users/agent-demo", master, nil), http.StatusForbidden, "step_up_required")
	sut.Expect(t, p.Do("DELETE", "/v1/admin/users/nobody", master, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, p.Do("POST", "/v1/admin/users/nobody/password-link", master, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, p.Do("POST", "/v1/admin/users/agent-demo/password-link", master, nil), http.StatusForbidden, "step_up_required")
}

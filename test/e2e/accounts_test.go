package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

const chosen = "seven green umbrellas"

// welcome opens a password link as a browser does, and sends the form.
func welcome(t *testing.T, p *sut.Product, link, password, again string) sut.Answer {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	shown := p.Do("GET", u.Path, "", nil)
	if shown.Status != http.StatusOK {
		return shown
	}
	cookie := strings.SplitN(shown.Header.Get("Set-Cookie"), ";", 2)[0]
	_, rest, ok := strings.Cut(string(shown.Body), `name="csrf" value="`)
	if !ok {
		t.Fatalf("no form on %s", shown)
	}
	csrf, _, _ := strings.Cut(rest, `"`)
	req, err := http.NewRequestWithContext(t.Context(), "POST", p.Base+u.Path, strings.NewReader(url.Values{"csrf": {csrf}, "password": {password}, "again": {again}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Cookie", cookie)
	a, err := p.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newcomer(email, name string) map[string]any {
	return map[string]any{"email": email, "name": name, "audience": "internal"}
}

func TestB28AnAdminMakesAnAccountAndThePersonChoosesThePassword(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	made := sut.Want[person](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, newcomer("New.Comer@demo.test", "Nora Comer")))
	if made.Email != "new.comer@demo.test" || made.PasswordLink == nil || made.Standing != "not_enrolled" {
		t.Fatalf("the account is %+v", made)
	}
	near(t, "the link's end", made.PasswordLink.ExpiresAt, p.Now().Add(72*time.Hour), time.Minute)
	link := made.PasswordLink.URL
	for typed, again := range map[string]string{"short": "short", "password1234": "password1234", "nora comer nora comer": "nora comer nora comer", chosen: "else entirely"} {
		if a := welcome(t, p, link, typed, again); a.Status != http.StatusUnprocessableEntity {
			t.Errorf("%q, %q: %d", typed, again, a.Status)
		}
	}
	if a := welcome(t, p, link, chosen, chosen); a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/sign-in?notice=password-set" || strings.Contains(a.Header.Get("Set-Cookie"), "session=") {
		t.Fatalf("setting the password: %s, %v", a, a.Header)
	}
	if a := welcome(t, p, link, chosen, chosen); a.Status != http.StatusGone || !strings.Contains(string(a.Body), "no longer works") {
		t.Errorf("the link once more: %d", a.Status)
	}
	s := sut.Want[sut.SignIn](t, http.StatusCreated, p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "new.comer@demo.test", "password": chosen}))
	stands(t, s, "enroll")

	t.Run("a new link kills the one before, and each ends after three days", func(t *testing.T) {
		p.StepUp(master, key)
		ask := func() string {
			t.Helper()
			return sut.Want[struct{ URL string }](t, http.StatusCreated, p.Do("POST", "/v1/admin/users/"+made.ID+"/password-link", master, nil)).URL
		}
		older, newer := ask(), ask()
		if a := welcome(t, p, older, chosen, chosen); a.Status != http.StatusGone {
			t.Errorf("the link before: %d", a.Status)
		}
		for _, bad := range []string{newer[:len(newer)-1] + "x", newer + "A", strings.Replace(newer, made.ID, "admin-demo", 1)} {
			if a := welcome(t, p, bad, chosen, chosen); a.Status == http.StatusOK || a.Status == http.StatusSeeOther {
				t.Errorf("%s: %d", bad, a.Status)
			}
		}
		p.Advance(72 * time.Hour)
		if a := welcome(t, p, newer, chosen, chosen); a.Status != http.StatusGone {
			t.Errorf("after three days: %d", a.Status)
		}
	})
	t.Run("what does not fit is refused by name", func(t *testing.T) {
		master := p.SignInTOTP(admin, key)
		for field, body := range map[string]map[string]any{
			"email":              {"email": "no address", "name": "X", "audience": "internal"},
			"name":               {"email": "x@demo.test", "name": " ", "audience": "internal"},
			"organization":       {"email": "x@demo.test", "name": "X", "audience": "organization"},
			"master_admin":       {"email": "x@demo.test", "name": "X", "audience": "organization", "organization": "Acme", "master_admin": true},
			"organization_admin": {"email": "x@demo.test", "name": "X", "audience": "internal", "organization_admin": true},
		} {
			a := p.Do("POST", "/v1/admin/users", master, body)
			sut.Expect(t, a, http.StatusUnprocessableEntity, "invalid_request")
			if e := a.Problem().Errors; len(e) != 1 || e[0].Field != field {
				t.Errorf("%s: %s", field, a)
			}
		}
		a := p.Do("POST", "/v1/admin/users", master, newcomer("AGENT@demo.test", "Another"))
		sut.Expect(t, a, http.StatusConflict, "conflict")
		if e := a.Problem().Errors; len(e) != 1 || e[0].Field != "email" {
			t.Errorf("a taken address: %s", a)
		}
	})
}

func TestB28AnAccountIsChangedAndItsSessionsFollow(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	agentKey, theirs := p.EnrolTOTP(agent)
	const path = "/v1/admin/users/agent-demo"
	now := sut.Want[person](t, http.StatusOK, p.Do("PATCH", path, master, map[string]any{"email": "amir@demo.test", "name": "Amir H.", "reason": "married"}))
	if now.Email != "amir@demo.test" || now.Name != "Amir H." || now.Standing != "enrolled" {
		t.Errorf("the account is %+v", now)
	}
	who(t, p, theirs) // a new name ends nothing
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", sut.Credentials(agent)), http.StatusUnauthorized, "invalid_credentials")
	theirs = p.SignInTOTP("amir@demo.test", agentKey)
	sut.Expect(t, p.Do("PATCH", path, master, map[string]any{"email": second}), http.StatusConflict, "conflict")
	// The address given up is free.
	sut.Want[person](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, newcomer(agent, "Next Agent")))
	if log := history(t, p, master, "user=agent-demo&action=user_changed"); len(log) != 1 || log[0].Reason != "married" || log[0].Detail["email_after"] != "amir@demo.test" {
		t.Errorf("the audit log says %+v", log)
	}

	half := p.BeginSignIn("amir@demo.test")
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", path, master, map[string]any{"disabled": true}))
	dead(t, p, theirs)
	if a := p.Do("POST", half.Path("/verify"), half.Token, code(p.Code(agentKey))); a.Status == http.StatusOK {
		t.Errorf("a sign-in that was half done opens a session of a disabled account: %s", a)
	}
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", sut.Credentials("amir@demo.test")), http.StatusUnauthorized, "invalid_credentials")
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", path, master, map[string]any{"disabled": false}))
	theirs = p.SignInTOTP("amir@demo.test", agentKey)

	p.Advance(6 * time.Minute)
	sut.Expect(t, p.Do("PATCH", path, master, map[string]any{"master_admin": true}), http.StatusForbidden, "step_up_required")
	sut.Expect(t, p.Do("DELETE", path, master, nil), http.StatusForbidden, "step_up_required")
	sut.Expect(t, p.Do("POST", path+"/password-link", master, nil), http.StatusForbidden, "step_up_required")
	p.StepUp(master, key)
	live := sut.Want[struct{ Items []struct{ ID string } }](t, http.StatusOK, p.Do("GET", path+"/sessions", master, nil)).Items
	if len(live) != 1 {
		t.Errorf("%d live sessions, want 1", len(live))
	}
	sut.Expect(t, p.Do("DELETE", path+"/sessions", master, nil), http.StatusNoContent, "")
	dead(t, p, theirs)
	theirs = p.SignInTOTP("amir@demo.test", agentKey)
	p.StepUp(master, key)
	sut.Expect(t, p.Do("DELETE", path+"?reason=left", master, nil), http.StatusNoContent, "")
	dead(t, p, theirs)
	sut.Expect(t, p.Do("GET", path, master, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, p.Do("DELETE", path, master, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", sut.Credentials("amir@demo.test")), http.StatusUnauthorized, "invalid_credentials")
	sut.Want[person](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, newcomer("amir@demo.test", "Somebody Else")))
	if log := history(t, p, master, "user=agent-demo&action=user_deleted"); len(log) != 1 || log[0].Reason != "left" {
		t.Errorf("the audit log says %+v", log)
	}
}

func TestB28ContactsBelongToTheirOrganization(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	contact := map[string]any{"email": "new@initech.test", "name": "Ines Roth", "audience": "organization", "organization": "Initech"}
	made := sut.Want[person](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, contact))
	type company struct {
		Name     string
		Contacts int
	}
	list := func(query string) []company {
		t.Helper()
		return sut.Want[struct{ Items []company }](t, http.StatusOK, p.Do("GET", "/v1/admin/organizations?"+query, master, nil)).Items
	}
	if got := list(""); len(got) != 3 || got[0] != (company{"Acme", 3}) || got[1] != (company{"Globex", 1}) || got[2] != (company{"Initech", 1}) {
		t.Errorf("organizations: %+v", got)
	}
	moved := sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/"+made.ID, master, map[string]any{"organization": "ACME"}))
	if moved.Organization != "Acme" {
		t.Errorf("moved to %q: one company has one spelling", moved.Organization)
	}
	if got := list("query=ac"); len(got) != 1 || got[0] != (company{"Acme", 4}) {
		t.Errorf("organizations: %+v", got)
	}
}

func TestB34APortalsBrandingIsChangedAndShown(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	look := map[string]any{
		"name": "Contoso Portal", "accent": "#0a7", "support_email": "help@contoso.test", "request_account_url": "https://contoso.test/new",
		"logo": map[string]any{"data": []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>`)},
	}
	got := sut.Want[struct {
		Name string
		Logo *struct{ Type string }
	}](t, http.StatusOK, p.Do("PUT", "/v1/admin/branding", master, look))
	if got.Name != "Contoso Portal" || got.Logo == nil || got.Logo.Type != "image/svg+xml" {
		t.Errorf("the branding is %+v", got)
	}
	page := string(p.Do("GET", "/sign-in", "", nil).Body)
	for _, want := range []string{"Contoso Portal", "help@contoso.test", "https://contoso.test/new", "/brand/logo?v="} {
		if !strings.Contains(page, want) {
			t.Errorf("the sign-in page does not show %s", want)
		}
	}
	logo := p.Do("GET", "/brand/logo", "", nil)
	if logo.Status != http.StatusOK || logo.Header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(logo.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the logo: %s, %v", logo, logo.Header)
	}
	for field, bad := range map[string]any{
		"accent": "red", "support_url": "javascript:alert(1)", "reset_login_url": "http://contoso.test", "support_email": "nobody",
		"logo": map[string]any{"data": []byte("<html><script>1</script></html>")}, "name": "",
	} {
		body := map[string]any{"name": "Contoso Portal"}
		body[field] = bad
		a := p.Do("PUT", "/v1/admin/branding", master, body)
		sut.Expect(t, a, http.StatusUnprocessableEntity, "invalid_request")
		if e := a.Problem().Errors; len(e) != 1 || e[0].Field != field {
			t.Errorf("%s: %s", field, a)
		}
	}
	if log := history(t, p, master, "action=portal_changed"); len(log) != 1 {
		t.Errorf("the audit log has %d entries of it, want 1", len(log))
	}
}

// TestB32ShuttingAnAdminOutAsksForAProof: an admin's address, and shutting an admin out, are as good as rights; who finds
// an open session must not have them for the asking. Other people's addresses need the session alone.
func TestB32ShuttingAnAdminOutAsksForAProof(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	p.Advance(6 * time.Minute)
	for _, change := range []map[string]any{{"disabled": true}, {"email": "sven@demo.test"}} {
		sut.Expect(t, p.Do("PATCH", "/v1/admin/users/second-demo", master, change), http.StatusForbidden, "step_up_required")
	}
	sut.Expect(t, p.Do("PATCH", "/v1/admin/users/entra-demo", master, map[string]any{"email": "elif@demo.test"}), http.StatusForbidden, "step_up_required")
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/agent-demo", master, map[string]any{"email": "amir@demo.test"}))
	p.StepUp(master, key)
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/second-demo", master, map[string]any{"disabled": true}))
}

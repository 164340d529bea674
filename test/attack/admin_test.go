package attack

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// listed is somebody as an admin sees them.
type listed struct {
	sut.User
	Disabled bool `json:"disabled"`
}

// all are the people whom an admin sees, by address.
func all(t *testing.T, c *sut.Client, session, query string) []string {
	t.Helper()
	var out []string
	for _, i := range sut.Want[struct{ Items []listed }](t, http.StatusOK, c.Do("GET", "/v1/admin/users?"+query, session, nil)).Items {
		out = append(out, i.Email)
	}
	return out
}

// look is a person as a Master Admin sees them.
func look(t *testing.T, p *sut.Product, master, id string) listed {
	t.Helper()
	return sut.Want[listed](t, http.StatusOK, p.Do("GET", "/v1/admin/users/"+id, master, nil))
}

// TestRule14AnOrganizationsAdminHasThatOrganization is Olga of Acme, who tries everything on people of another
// organization, on internal users and Master Admins, on herself, and what only a Master Admin may do on her own people.
func TestRule14AnOrganizationsAdminHasThatOrganization(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	_, master := p.EnrolTOTP(ada)
	_, amirs := p.EnrolTOTP(amir)
	p.EnrolSMS(greta, gretaPhone)
	gretas := p.SignInSMS(greta, gretaPhone)
	p.EnrolSMS(olga, olgaPhone)
	owner := p.SignInSMS(olga, olgaPhone)
	before := map[string]listed{}
	ids := []string{gretaID, amirID, adaID, svenID, olgaID, claraID}
	for _, id := range ids {
		before[id] = look(t, p, master, id)
	}
	because := map[string]string{"reason": "I want to"}
	page := as(t, p, owner)
	for _, id := range ids {
		own := id == claraID || id == olgaID
		for _, try := range []struct {
			method, more string
			body         any
		}{
			{"PATCH", "", map[string]any{"organization_admin": true}},
			{"PATCH", "", map[string]any{"master_admin": true}},
			{"PATCH", "", map[string]any{"organization": "Acme"}},
			{"PATCH", "", map[string]any{"email": "mine@evil.test"}},
			{"PATCH", "", map[string]any{"disabled": true}},
			{"DELETE", "", nil},
			{"DELETE", "?reason=x", nil},
			{"POST", "/password-link", nil},
			{"GET", "/sessions", nil},
			{"DELETE", "/sessions", nil},
		} {
			sut.Expect(t, p.Do(try.method, "/v1/admin/users/"+id+try.more, owner, try.body), http.StatusForbidden, "forbidden")
		}
		for _, ask := range []string{"edit", "delete", "disable", "enable", "link", "sessions", "end-sessions", "grant"} {
			a := page.post("/admin/users/"+id+"/"+ask, "reason", "x", "confirm", "yes", "name", "Mine", "email", "mine@evil.test", "organization_admin", "1", "master_admin", "1", "password", sut.DemoPassword)
			if a.Status != http.StatusForbidden && a.Status != http.StatusNotFound {
				t.Errorf("the form %s of %s: status %d, to %q", ask, id, a.Status, a.Header.Get("Location"))
			}
		}
		for _, try := range [][2]string{{"GET", ""}, {"POST", "/reset-second-factor"}, {"POST", "/unlock"}} {
			var body any
			if try[0] == "POST" {
				body = because
			}
			if own {
				if id == olgaID && try[0] == "POST" {
					sut.Expect(t, p.Do(try[0], "/v1/admin/users/"+id+try[1], owner, body), http.StatusForbidden, "forbidden")
				}
				continue
			}
			sut.Expect(t, p.Do(try[0], "/v1/admin/users/"+id+try[1], owner, body), http.StatusNotFound, "not_found")
			for _, path := range []string{"/admin/users/" + id, "/admin/users/" + id + "/reset", "/admin/users/" + id + "/unlock"} {
				a := page.get(path)
				if strings.HasSuffix(path, "t") || strings.HasSuffix(path, "k") {
					a = page.post(path, "reason", "x")
				}
				if a.Status != http.StatusNotFound || strings.Contains(string(a.Body), before[id].Email) {
					t.Errorf("%s %s: status %d", a.Method, path, a.Status)
				}
			}
		}
	}
	for _, a := range []sut.Answer{
		p.Do("POST", "/v1/admin/users", owner, map[string]any{"email": "mine@acme.test", "name": "Mine", "audience": "organization", "organization": "Acme"}),
		p.Do("GET", "/v1/admin/settings", owner, nil), p.Do("GET", "/v1/admin/audit", owner, nil), p.Do("GET", "/v1/admin/deliveries", owner, nil),
		p.Do("GET", "/v1/admin/organizations", owner, nil), p.Do("GET", "/v1/admin/branding", owner, nil),
	} {
		sut.Expect(t, a, http.StatusForbidden, "forbidden")
	}
	// No filter shows others, nor does the cursor of somebody who sees more.
	whole := sut.Want[struct{ Next string }](t, http.StatusOK, p.Do("GET", "/v1/admin/users?limit=1", master, nil))
	acme := []string{clara, olga, tomas}
	for _, query := range []string{
		"", "limit=200", "organization=Globex", "organization=", "audience=internal", "audience=organization", "query=a", "query=%40", "query=" + greta, "standing=enrolled", "standing=exempt",
		"organization=Acme&organization=Globex", "organization=%25", "organization=Acme%00Globex", "cursor=" + url.QueryEscape(whole.Next), "query=.*", "query[$ne]=x", "organization[$ne]=Acme", "audience=internal&query=admin",
	} {
		a := p.Do("GET", "/v1/admin/users?"+query, owner, nil)
		for _, i := range sut.Want[struct{ Items []listed }](t, a.Status, a).Items {
			if !slices.Contains(acme, i.Email) {
				t.Errorf("?%s shows %s", query, i.Email)
			}
		}
		// The filter itself is shown again, and the name of whom to ask.
		if body := string(page.get("/admin/users?" + query).Body); strings.Contains(body, gretaID) || strings.Contains(body, adaID) || strings.Contains(body, amirID) {
			t.Errorf("the page ?%s shows others", query)
		}
	}
	for _, id := range ids {
		if now := look(t, p, master, id); fmt.Sprint(now) != fmt.Sprint(before[id]) {
			t.Errorf("%s became %+v, was %+v", id, now, before[id])
		}
	}
	for _, session := range []string{gretas, amirs, owner} {
		lives(t, p, session)
	}
	// What is hers to do, she can.
	if got := all(t, p.Client, owner, ""); !slices.Equal(got, acme) {
		t.Errorf("she sees %q", got)
	}
	sut.Expect(t, p.Do("POST", "/v1/admin/users/"+claraID+"/reset-second-factor", owner, because), http.StatusNoContent, "")
	if a := page.post("/admin/users/"+tomasID+"/reset", "reason", "he asked"); a.Status != http.StatusSeeOther {
		t.Errorf("the form for her own: status %d", a.Status)
	}
}

// TestRule14NobodyWritesWhatIsNotAsked sends fields that a route does not name (mass assignment), to the API and in forms:
// the first are refused, the others are nothing.
func TestRule14NobodyWritesWhatIsNotAsked(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	key, master := p.EnrolTOTP(ada)
	amirs, session := p.EnrolTOTP(amir)
	half := p.BeginSignIn(amir)
	was, wasAda := look(t, p, master, amirID), look(t, p, master, adaID)
	extra := map[string]any{
		"id": adaID, "user": adaID, "portal": "south", "password": "x", "password_hash": "x", "link": map[string]any{"hash": "x"}, "audience": "organization", "federated": true, "subject": "x",
		"provider": "x", "standing": "exempt", "factors": []any{}, "generation": 9, "_id": "demo/admin-demo", "$set": map[string]any{"master_admin": true}, "master_admin ": true, "Master_Admin": true,
		"masterAdmin": true, "who": map[string]any{"master_admin": true}, "amr": []string{"otp"}, "step_up_at": "2030-01-01T00:00:00Z", "session": map[string]any{}, "status": "complete", "can_skip": true,
	}
	for name, value := range extra {
		with := func(body map[string]any) map[string]any {
			body[name] = value
			return body
		}
		for _, a := range []sut.Answer{
			p.Do("PATCH", "/v1/admin/users/"+amirID, master, with(map[string]any{"name": "Amir Changed"})),
			p.Do("PATCH", "/v1/account/factors/totp", session, with(map[string]any{"label": "Changed"})),
			p.Do("POST", half.Path("/verify"), half.Token, with(map[string]any{"code": p.Code(amirs)})),
			p.Do("POST", "/v1/session/step-up", session, withBut(name, "password", with(map[string]any{"password": sut.DemoPassword, "code": "123456"}))),
			p.Do("POST", "/v1/admin/users", master, withBut(name, "federated", withBut(name, "audience", with(map[string]any{"email": "new@demo.test", "name": "New", "organization": 1})))),
			p.Do("POST", "/v1/admin/users/"+amirID+"/reset-second-factor", master, with(map[string]any{"reason": "x"})),
		} {
			if !a.Is(http.StatusUnprocessableEntity, "invalid_request") && !a.Is(http.StatusBadRequest, "invalid_request") {
				t.Errorf("with %q: %s", name, a)
			}
		}
	}
	// A user's own forms, with what an admin's have.
	g := as(t, p, session)
	for _, path := range []string{"/account/factors/totp/rename", "/account/sessions/end", "/account/recovery-codes"} {
		g.post(path, "label", "Pixel", "master_admin", "1", "email", ada, "id", adaID, "user", adaID, "portal", "south", "step_up_at", "2030-01-01T00:00:00Z")
	}
	for _, path := range []string{"/admin/users/" + amirID + "/edit", "/admin/users/new", "/admin/settings", "/admin/branding"} {
		if a := g.post(path, "master_admin", "1", "email", "x@demo.test", "name", "x", "audience", "internal"); a.Status != http.StatusForbidden {
			t.Errorf("a user's form to %s: status %d", path, a.Status)
		}
	}
	for _, route := range [][2]string{{"PATCH", "/v1/admin/users/" + amirID}, {"DELETE", "/v1/admin/users/" + adaID}, {"POST", "/v1/admin/users/" + amirID + "/password-link"}} {
		sut.Expect(t, p.Do(route[0], route[1], session, map[string]any{"master_admin": true}), http.StatusForbidden, "forbidden")
	}
	// A Master Admin's form about somebody, with fields that the page does not have.
	p.StepUp(master, key)
	a := as(t, p, master)
	if got := a.post("/admin/users/"+amirID+"/edit", "name", was.Name, "email", was.Email, "audience", "organization", "organization", "Acme", "federated", "1", "password", "x", "id", adaID, "portal", "south", "disabled", "1"); got.Status != http.StatusSeeOther {
		t.Errorf("the form: status %d", got.Status)
	}
	for id, want := range map[string]listed{amirID: was, adaID: wasAda} {
		now := look(t, p, master, id)
		now.Factors, want.Factors = nil, nil // the device's name was theirs to change
		if fmt.Sprint(now) != fmt.Sprint(want) {
			t.Errorf("%s became %+v, was %+v", id, now, want)
		}
	}
	if got := sut.Want[listed](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/"+amirID, master, map[string]any{"name": "Amir Changed"})); got.Name != "Amir Changed" {
		t.Errorf("what may be changed was not: %+v", got)
	}
}

// withBut takes a field that the route has after all out of what should be refused, so that only others are extra.
func withBut(name, own string, body map[string]any) map[string]any {
	if name == own {
		body["is_"+name] = true
	}
	return body
}

// TestRule14AnotherPortalsAdminHasThatPortal is the Master Admin of a second portal, who tries everything on the first
// one's people, in each spelling of their ids; and sign-ins and sessions that are taken from one portal to the other.
func TestRule14AnotherPortalsAdminHasThatPortal(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	key, master := p.EnrolTOTP(ada)
	p.EnrolSMS(clara, claraPhone)
	south, session := openSouth(t, p)
	before := look(t, p, master, amirID)
	seen := len(p.Messages(""))
	for _, id := range []string{amirID, adaID, "demo%2F" + amirID, "demo/" + amirID, "..%2Fdemo%2F" + amirID, "%2e%2e%2fdemo%2f" + amirID, "demo%252F" + amirID, strings.ToUpper(amirID), amirID + "%00", "%20" + amirID} {
		for _, try := range []struct {
			method, more string
			body         any
		}{
			{"GET", "", nil},
			{"PATCH", "", map[string]any{"name": "Mine"}},
			{"DELETE", "", nil},
			{"POST", "/reset-second-factor", map[string]string{"reason": "x"}},
			{"POST", "/unlock", map[string]string{"reason": "x"}},
			{"POST", "/password-link", nil},
			{"GET", "/sessions", nil},
			{"DELETE", "/sessions", nil},
		} {
			a := south.Do(try.method, "/v1/admin/users/"+id+try.more, session, try.body)
			refused := a.Status == http.StatusNotFound || a.Status == http.StatusMethodNotAllowed || a.Is(http.StatusForbidden, "step_up_required")
			if !refused {
				t.Errorf("%s", a)
			}
		}
	}
	if got := all(t, south, session, "limit=200"); !slices.Equal(got, []string{ada}) {
		t.Errorf("in the other portal there are %q", got)
	}
	whole := sut.Want[struct{ Next string }](t, http.StatusOK, p.Do("GET", "/v1/admin/users?limit=1", master, nil))
	if a := south.Do("GET", "/v1/admin/users?cursor="+url.QueryEscape(whole.Next), session, nil); strings.Contains(string(a.Body), "demo.test") && strings.Contains(string(a.Body), amir) {
		t.Errorf("with the first one's cursor: %s", a)
	}
	for _, path := range []string{"/v1/admin/audit?user=" + amirID, "/v1/admin/deliveries?user=" + claraID, "/v1/admin/deliveries", "/v1/admin/organizations"} {
		if a := south.Do("GET", path, session, nil); strings.Contains(string(a.Body), "-demo") || strings.Contains(string(a.Body), "Acme") || strings.Contains(string(a.Body), "9443") {
			t.Errorf("the other portal is shown %s", a)
		}
	}
	if now := look(t, p, master, amirID); fmt.Sprint(now.User) != fmt.Sprint(before.User) {
		t.Errorf("%s became %+v", amir, now)
	}
	// A sign-in belongs to the portal where it was begun: at the other one it is nobody's, and sends no text in its name.
	p.Advance(3e11)
	for _, email := range []string{clara, ada} {
		s := p.BeginSignIn(email)
		for _, try := range []struct {
			method, more string
			body         any
		}{
			{"GET", "", nil},
			{"POST", "/resend", nil},
			{"POST", "/verify", map[string]string{"code": p.Code(key)}},
			{"POST", "/recover", map[string]string{"recovery_code": "AAAA-AAAA-AAAA-AAAA"}},
			{"POST", "/enrollment", map[string]string{"factor": "totp"}},
			{"POST", "/enrollment/skip", nil},
			{"POST", "/enrollment/confirm", map[string]string{"code": "123456"}},
		} {
			sut.Expect(t, south.Do(try.method, s.Path(try.more), s.Token, try.body), http.StatusNotFound, "not_found")
		}
		g := newGuest(t, p)
		g.host, g.cookies["sallyport_sign_in"] = southHost, s.Token
		if a := g.get("/sign-in/code"); a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/sign-in" {
			t.Errorf("the page of %s's sign-in at the other portal: status %d, to %q", email, a.Status, a.Header.Get("Location"))
		}
		sut.Want[sut.SignIn](t, http.StatusOK, p.Do("GET", s.Path(""), s.Token, nil))
	}
	p.CodeAfter(claraPhone, seen) // the one of her own portal
	for _, m := range p.Messages("") {
		if strings.Contains(m.Body, "South") || strings.Contains(m.Body, southHost) {
			t.Errorf("a text in the name of the other portal: %q", m.Body)
		}
	}
	lives(t, p, master)
	sut.Want[sut.Session](t, http.StatusOK, south.Who(session))
}

package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// person is somebody as admins see them.
type person struct {
	sut.User
	Disabled     bool       `json:"disabled"`
	Locked       bool       `json:"locked"`
	LockedUntil  *time.Time `json:"locked_until"`
	LastSignInAt *time.Time `json:"last_sign_in_at"`
	CodesLeft    *int       `json:"recovery_codes_left"`
	Recovery     *struct {
		LockedUntil *time.Time `json:"locked_until"`
	} `json:"recovery_lock"`
	PasswordLink *struct {
		URL       string    `json:"url"`
		ExpiresAt time.Time `json:"expires_at"`
	} `json:"password_link"`
}

type personPage struct {
	Items []person `json:"items"`
	Next  string   `json:"next"`
}

type auditEntry struct {
	Seq    int64             `json:"seq"`
	Action string            `json:"action"`
	Actor  string            `json:"actor"`
	User   string            `json:"user"`
	Reason string            `json:"reason"`
	Detail map[string]string `json:"detail"`
}

// people asks for a list; the query is that of the address.
func people(t *testing.T, p *sut.Product, token, query string) []person {
	t.Helper()
	return sut.Want[personPage](t, http.StatusOK, p.Do("GET", "/v1/admin/users?"+query, token, nil)).Items
}

func emails(list []person) []string {
	out := []string{}
	for _, u := range list {
		out = append(out, u.Email)
	}
	return out
}

// see looks at one person, by the address.
func see(t *testing.T, p *sut.Product, token, email string) person {
	t.Helper()
	for _, u := range people(t, p, token, "query="+url.QueryEscape(email)) {
		if u.Email == email {
			return sut.Want[person](t, http.StatusOK, p.Do("GET", "/v1/admin/users/"+u.ID, token, nil))
		}
	}
	t.Fatalf("%s is on no list", email)
	return person{}
}

// eventually asks until something is so: what one service tells another takes a moment.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	sut.Eventually(t, 15*time.Second, what, ok)
}

// history reads the audit log, newest first.
func history(t *testing.T, p *sut.Product, token, query string) []auditEntry {
	t.Helper()
	return sut.Want[struct{ Items []auditEntry }](t, http.StatusOK, p.Do("GET", "/v1/admin/audit?"+query, token, nil)).Items
}

func because(why string) map[string]string { return map[string]string{"reason": why} }

func TestB06OnlyAMasterAdminSeesTheSettingsAndOthersAreToldWhoCan(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	_, ordinary := p.EnrolTOTP(agent)
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/v1/admin/settings", nil},
		{"POST", "/v1/admin/settings/preview", map[string]any{"internal": map[string]string{"mode": "off"}, "organizations": map[string]any{"mode": "off", "allow_opt_out": false}, "version": 1}},
		{"GET", "/v1/admin/users", nil},
		{"GET", "/v1/admin/audit", nil},
		{"GET", "/v1/admin/deliveries", nil},
		{"GET", "/v1/admin/branding", nil},
	} {
		a := p.Do(r.method, r.path, ordinary, r.body)
		sut.Expect(t, a, http.StatusForbidden, "forbidden")
		if want := "Ask Ada Moreau or Sven Lindqvist."; !strings.Contains(a.Problem().Detail, want) {
			t.Errorf("%s says %q, not who can", a, a.Problem().Detail)
		}
		if a := p.Do(r.method, r.path, master, r.body); a.Status != http.StatusOK {
			t.Errorf("the Master Admin: %s", a)
		}
	}
}

func settings(internal, organizations string, optOut bool, version int64) map[string]any {
	return map[string]any{
		"internal": map[string]any{"mode": internal}, "organizations": map[string]any{"mode": organizations, "allow_opt_out": optOut}, "version": version,
	}
}

func TestB07ChangingTheSettingsNeedsAStepUp(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	change := settings("required", "optional", false, 1)
	sut.Expect(t, p.Do("PUT", "/v1/admin/settings", master, change), http.StatusForbidden, "step_up_required")
	p.StepUp(master, key)
	p.Advance(5*time.Minute + time.Second)
	sut.Expect(t, p.Do("PUT", "/v1/admin/settings", master, change), http.StatusForbidden, "step_up_required")
	p.StepUp(master, key)
	now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", master, change))
	if now.Organizations.Mode != "optional" || now.Version != 2 {
		t.Errorf("the settings are %+v", now)
	}
	sut.Expect(t, p.Do("PUT", "/v1/admin/settings", master, change), http.StatusConflict, "conflict")
	if log := history(t, p, master, "action=settings_changed"); len(log) == 0 || log[0].Actor != "admin-demo" {
		t.Errorf("the change is not in the audit log: %+v", log)
	}
}

func TestB10APreviewSaysWhomAChangeHits(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	p.EnrolTOTP(agent)
	skipped := p.BeginSignIn(clerk)
	sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", skipped.Path("/enrollment/skip"), skipped.Token, nil))
	type figures struct {
		InScope    int64 `json:"in_scope"`
		WillEnroll int64 `json:"will_enroll"`
		Skipped    int64 `json:"skipped"`
	}
	type preview struct {
		Internal, Organizations figures
		Warnings                []struct{ Code, Text string }
	}
	ask := func(body map[string]any) preview {
		t.Helper()
		return sut.Want[preview](t, http.StatusOK, p.Do("POST", "/v1/admin/settings/preview", master, body))
	}
	var got preview
	eventually(t, "the directory has heard of two enrolments and a skip", func() bool {
		got = ask(settings("required", "required", true, 1))
		return got.Internal.WillEnroll == 1 && got.Organizations.Skipped == 1
	})
	if want := (figures{3, 1, 0}); got.Internal != want {
		t.Errorf("internal users: %+v, want %+v", got.Internal, want)
	}
	if want := (figures{4, 3, 1}); got.Organizations != want {
		t.Errorf("contacts: %+v, want %+v", got.Organizations, want)
	}
	codes := func(v preview) (out []string) {
		for _, w := range v.Warnings {
			out = append(out, w.Code)
			if w.Text == "" {
				t.Errorf("%s says nothing", w.Code)
			}
		}
		return out
	}
	equal(t, "warnings of no change", codes(got), []string{"admins_enroll"})
	got = ask(settings("off", "required", false, 1))
	equal(t, "warnings of switching off and withdrawing opt-out", codes(got), []string{"switched_off", "skips_forgotten"})
	if want := (figures{4, 4, 0}); got.Organizations != want {
		t.Errorf("contacts after opt-out is withdrawn: %+v, want %+v", got.Organizations, want)
	}
	if got.Internal.WillEnroll != 0 {
		t.Errorf("%d enrol where it is off", got.Internal.WillEnroll)
	}
}

func TestB10APreviewWarnsThatEverybodyEnrolsAgain(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	p.StepUp(master, key)
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", master, settings("off", "required", true, 1)))
	eventually(t, "the preview knows of the dead enrolment", func() bool {
		v := sut.Want[struct {
			Internal struct {
				WillEnroll int64 `json:"will_enroll"`
			}
			Warnings []struct{ Code string }
		}](t, http.StatusOK, p.Do("POST", "/v1/admin/settings/preview", master, settings("required", "required", true, 2)))
		var codes []string
		for _, w := range v.Warnings {
			codes = append(codes, w.Code)
		}
		return v.Internal.WillEnroll == 3 && slices.Contains(codes, "re_enrol") && slices.Contains(codes, "you_enroll") && slices.Contains(codes, "admins_enroll")
	})
}

func TestB28AResetHitsOnePersonAlone(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	_, theirs := p.EnrolTOTP(agent)
	p.EnrolSMS(owner, ownerPhone)
	companyAdmin := p.SignInSMS(owner, ownerPhone)
	p.EnrolSMS(globex, globexPhone)

	target := see(t, p, master, agent)
	sut.Expect(t, p.Do("POST", "/v1/admin/users/"+target.ID+"/reset-second-factor", master, because("")), http.StatusUnprocessableEntity, "invalid_request")
	sut.Expect(t, p.Do("POST", "/v1/admin/users/"+target.ID+"/reset-second-factor", master, because("lost the phone")), http.StatusNoContent, "")
	dead(t, p, theirs)
	who(t, p, master)
	if s := p.BeginSignIn(agent); s.Status != "enroll" {
		t.Errorf("after the reset the sign-in is %q; want enroll", s.Status)
	}
	if s := p.BeginSignIn(globex); s.Status != "challenge" {
		t.Errorf("somebody else's sign-in is %q; want challenge", s.Status)
	}
	if u := see(t, p, master, agent); u.Standing != "not_enrolled" || len(u.Factors) != 0 {
		t.Errorf("after the reset they stand as %+v", u)
	}
	me := see(t, p, master, admin)
	sut.Expect(t, p.Do("POST", "/v1/admin/users/"+me.ID+"/reset-second-factor", master, because("mine")), http.StatusForbidden, "forbidden")

	t.Run("an organization's admin for that organization only", func(t *testing.T) {
		equal(t, "whom they see", emails(people(t, p, companyAdmin, "")), []string{clerk, owner, temp})
		if got := people(t, p, companyAdmin, "organization=Globex"); len(got) != 0 {
			t.Errorf("another organization is shown: %v", emails(got))
		}
		if got := people(t, p, companyAdmin, "audience=internal"); len(got) != 0 {
			t.Errorf("internal users are shown: %v", emails(got))
		}
		for _, id := range []string{"owner-globex", "agent-demo", "nobody"} {
			sut.Expect(t, p.Do("GET", "/v1/admin/users/"+id, companyAdmin, nil), http.StatusNotFound, "not_found")
			sut.Expect(t, p.Do("POST", "/v1/admin/users/"+id+"/reset-second-factor", companyAdmin, because("x")), http.StatusNotFound, "not_found")
			sut.Expect(t, p.Do("POST", "/v1/admin/users/"+id+"/unlock", companyAdmin, because("x")), http.StatusNotFound, "not_found")
		}
		for _, r := range [][2]string{{"GET", "/v1/admin/settings"}, {"GET", "/v1/admin/audit"}, {"GET", "/v1/admin/organizations"}, {"GET", "/v1/admin/users/clerk-acme/sessions"}, {"DELETE", "/v1/admin/users/clerk-acme"}} {
			sut.Expect(t, p.Do(r[0], r[1], companyAdmin, nil), http.StatusForbidden, "forbidden")
		}
		p.EnrolSMS(clerk, clerkPhone)
		sut.Expect(t, p.Do("POST", "/v1/admin/users/clerk-acme/reset-second-factor", companyAdmin, because("new number")), http.StatusNoContent, "")
		if s := p.BeginSignIn(clerk); s.Status != "enroll" {
			t.Errorf("after the reset the sign-in is %q; want enroll", s.Status)
		}
		sut.Expect(t, p.Do("POST", "/v1/admin/users/owner-acme/reset-second-factor", companyAdmin, because("mine")), http.StatusForbidden, "forbidden")
	})
}

func TestB29AResetForgetsTheSkipAndIsAudited(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	s := p.BeginSignIn(clerk)
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil))
	eventually(t, "the list shows the skip", func() bool {
		return slices.Contains(emails(people(t, p, master, "standing=skipped")), clerk)
	})
	sut.Expect(t, p.Do("POST", "/v1/admin/users/clerk-acme/reset-second-factor", master, because("must enrol now")), http.StatusNoContent, "")
	dead(t, p, done.Session.Token)
	if s := p.BeginSignIn(clerk); s.Status != "enroll" {
		t.Errorf("after the reset the sign-in is %q; want enroll", s.Status)
	}
	if got := people(t, p, master, "standing=skipped"); len(got) != 0 {
		t.Errorf("the list still shows the skip of %v", emails(got))
	}
	log := history(t, p, master, "user=clerk-acme&action=enrolment_reset")
	if len(log) != 1 || log[0].Actor != "admin-demo" || log[0].Reason != "must enrol now" {
		t.Errorf("the audit log says %+v", log)
	}
}

func TestB32NoChangeLeavesAPortalWithoutAnAdmin(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	p.StepUp(master, key)
	no := map[string]any{"master_admin": false}
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/second-demo", master, no))
	for _, body := range []map[string]any{no, {"master_admin": false, "name": "Else"}} {
		sut.Expect(t, p.Do("PATCH", "/v1/admin/users/admin-demo", master, body), http.StatusConflict, "conflict")
	}
	for _, r := range [][2]string{{"DELETE", ""}, {"PATCH", ""}} {
		sut.Expect(t, p.Do(r[0], "/v1/admin/users/admin-demo", master, map[string]any{"disabled": true}), http.StatusConflict, "conflict")
	}
	p.StepUp(master, key)
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/second-demo", master, map[string]any{"master_admin": true}))
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/admin-demo", master, no))
	dead(t, p, master) // what the session said they may do is no longer so
}

func TestB35ListsShowWhoStandsWhere(t *testing.T) {
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	equal(t, "everybody, by address", emails(people(t, p, master, "")), []string{admin, agent, clerk, entra, owner, globex, second, temp})
	equal(t, "internal users", emails(people(t, p, master, "audience=internal")), []string{admin, agent, entra, second})
	equal(t, "contacts of Acme", emails(people(t, p, master, "organization=Acme")), []string{clerk, owner, temp})
	equal(t, "by last name", emails(people(t, p, master, "query=lind")), []string{second})
	equal(t, "by name", emails(people(t, p, master, "query=greta+o")), []string{globex})
	equal(t, "exempt", emails(people(t, p, master, "standing=exempt")), []string{entra})
	eventually(t, "the list shows the enrolment and the sign-in", func() bool {
		got := people(t, p, master, "standing=enrolled")
		return len(got) == 1 && got[0].Email == admin && len(got[0].Factors) == 1 && got[0].Factors[0].Label == "Pixel 9" && got[0].LastSignInAt != nil
	})
	equal(t, "never signed in", emails(people(t, p, master, "standing=never_signed_in")), []string{agent, clerk, entra, owner, globex, second, temp})
	var walked []string
	next := ""
	for {
		page := sut.Want[personPage](t, http.StatusOK, p.Do("GET", "/v1/admin/users?limit=3&cursor="+next, master, nil))
		walked = append(walked, emails(page.Items)...)
		if next = page.Next; next == "" {
			break
		}
	}
	equal(t, "page by page", walked, []string{admin, agent, clerk, entra, owner, globex, second, temp})
	for _, bad := range []string{"cursor=nonsense", "limit=0", "limit=201", "audience=x", "standing=x"} {
		sut.Expect(t, p.Do("GET", "/v1/admin/users?"+bad, master, nil), http.StatusUnprocessableEntity, "invalid_request")
	}

	t.Run("a lock is shown, and opened with a reason", func(t *testing.T) {
		key, _ := p.EnrolTOTP(agent)
		s := p.BeginSignIn(agent)
		for range 5 {
			p.Do("POST", s.Path("/verify"), s.Token, code("000000"))
		}
		eventually(t, "the list shows the lock", func() bool {
			got := people(t, p, master, "standing=locked")
			return len(got) == 1 && got[0].Email == agent && got[0].LockedUntil != nil
		})
		if u := see(t, p, master, agent); !u.Locked || u.LockedUntil == nil {
			t.Errorf("the person's page says nothing of the lock: %+v", u)
		}
		sut.Expect(t, p.Do("POST", "/v1/admin/users/agent-demo/unlock", master, because("called the desk")), http.StatusNoContent, "")
		if got := people(t, p, master, "standing=locked"); len(got) != 0 {
			t.Errorf("still locked: %v", emails(got))
		}
		p.SignInTOTP(agent, key)
		eventually(t, "the audit log has the unlock", func() bool {
			log := history(t, p, master, "action=factor_unlocked")
			return len(log) == 1 && log[0].User == "agent-demo" && log[0].Actor == "admin-demo" && log[0].Reason == "called the desk"
		})
	})
}

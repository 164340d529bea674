package e2e

import (
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB08AMasterAdminEnrolsWhereTheSecondFactorIsOff: or a portal could be switched off for good.
func TestB08AMasterAdminEnrolsWhereTheSecondFactorIsOff(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	modes(t, p, master, key, func(s *sut.Settings) { s.Internal.Mode = "off" })
	other := p.BeginSignIn(second).Session.Token
	if a := p.Do("POST", "/v1/admin/users/admin-demo/reset-second-factor", other, map[string]string{"reason": "lost the telephone"}); a.Status != http.StatusNoContent {
		t.Fatal(a)
	}
	dead(t, p, master)
	// Nobody of this portal has a second factor now.
	settings := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", other, nil))
	settings.Internal.Mode = "required"
	if a := p.Do("POST", "/v1/session/step-up", other, map[string]string{"password": sut.DemoPassword, "code": ""}); a.Status != http.StatusNoContent {
		t.Fatal(a)
	}
	sut.Expect(t, p.Do("PUT", "/v1/admin/settings", other, settings), http.StatusForbidden, "forbidden")
	if !account(t, p, other).MayEnroll {
		t.Error("the account says that they may not enrol")
	}
	e := newTOTP(t, p, other)
	done := sut.Want[sut.Account](t, http.StatusOK, confirmTOTP(p, other, p.Code(e.Key), ""))
	p.StepUp(done.Session.Token, e.Key)
	// For everybody else it is off.
	sut.Expect(t, p.Do("POST", "/v1/account/factors/totp", p.BeginSignIn(agent).Session.Token, nil), http.StatusForbidden, "forbidden")
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", done.Session.Token, settings))
}

// TestB28ANewPasswordEndsWhatTheOldOneBegan: nobody enrols with a password that is another by now.
func TestB28ANewPasswordEndsWhatTheOldOneBegan(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	begun := p.BeginSignIn(agent)
	e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", begun.Path("/enrollment"), begun.Token, map[string]string{"factor": "totp"}))
	link := sut.Want[struct{ URL string }](t, http.StatusCreated, p.Do("POST", "/v1/admin/users/agent-demo/password-link", master, nil)).URL
	p.Advance(time.Second)
	if a := welcome(t, p, link, chosen, chosen); a.Status != http.StatusSeeOther {
		t.Fatal(a)
	}
	sut.Expect(t, p.Do("POST", begun.Path("/enrollment/confirm"), begun.Token, code(p.Code(e.Key))), http.StatusGone, "expired")
	now := sut.Want[sut.SignIn](t, http.StatusCreated, p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": agent, "password": chosen}))
	stands(t, now, "enroll")
}

// TestB28AnotherAddressKillsThePasswordLink: it may have gone to the wrong one.
func TestB28AnotherAddressKillsThePasswordLink(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	made := sut.Want[person](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, newcomer("wrong@demo.test", "Nora Comer")))
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/"+made.ID, master, map[string]string{"email": "right@demo.test"}))
	if a := welcome(t, p, made.PasswordLink.URL, chosen, chosen); a.Status != http.StatusGone {
		t.Errorf("the link that went to the wrong address: %d", a.Status)
	}
	// Nor may a name be read backwards.
	sut.Expect(t, p.Do("PATCH", "/v1/admin/users/"+made.ID, master, map[string]string{"name": "Nora \u202eremoC"}), http.StatusUnprocessableEntity, "invalid_request")
}

// TestB28AnOrganizationsAdminWhoMovesNeedsAFreshProof: it makes them another organization's admin.
func TestB28AnOrganizationsAdminWhoMovesNeedsAFreshProof(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	p.Advance(6 * time.Minute)
	move := map[string]string{"organization": "Globex"}
	sut.Expect(t, p.Do("PATCH", "/v1/admin/users/owner-acme", master, move), http.StatusForbidden, "step_up_required")
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/clerk-acme", master, move))
	p.StepUp(master, key)
	sut.Want[person](t, http.StatusOK, p.Do("PATCH", "/v1/admin/users/owner-acme", master, move))
}

// TestB39NewRecoveryCodesAreInTheAuditLog when they are shown.
func TestB39NewRecoveryCodesAreInTheAuditLog(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	sut.Want[struct{ Codes []string }](t, http.StatusOK, p.Do("POST", "/v1/account/recovery-codes", master, nil))
	page := sut.Want[struct{ Items []auditEntry }](t, http.StatusOK, p.Do("GET", "/v1/admin/audit?action=recovery_codes_made", master, nil))
	if len(page.Items) != 1 || page.Items[0].Actor != "admin-demo" || page.Items[0].User != "admin-demo" {
		t.Errorf("the log has %+v", page.Items)
	}
}

// TestADeletedDemoAccountStaysDeleted: the ids of the demo are always the same, and one that was deleted must not live
// again.
func TestADeletedDemoAccountStaysDeleted(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, master := p.EnrolTOTP(admin)
	if a := p.Do("DELETE", "/v1/admin/users/temp-acme", master, nil); a.Status != http.StatusNoContent {
		t.Fatal(a)
	}
	p.Restart()
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "temp@acme.test", "password": sut.DemoPassword}), http.StatusUnauthorized, "invalid_credentials")
	stands(t, p.BeginSignIn(agent), "enroll")
}

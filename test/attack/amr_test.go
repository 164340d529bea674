package attack

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestRule13WhatASessionMayDoIsItsOwn: a session that was opened with the password alone stays one, whatever the person
// proves, gains or sets up elsewhere.
func TestRule13WhatASessionMayDoIsItsOwn(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	key, master := p.EnrolTOTP(ada)
	change := func(mode string) {
		p.StepUp(master, key)
		now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", master, nil))
		now.Internal.Mode = mode
		sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", master, now))
	}
	change("optional")
	plain := tokenOf(t, p.BeginSignIn(amir))
	began := lives(t, p, plain)
	if !slices.Equal(began.AMR, []string{"pwd"}) {
		t.Fatalf("amr is %q", began.AMR)
	}
	svens := tokenOf(t, p.BeginSignIn(sven)) // a Master Admin with the password alone
	other := p.SignInTOTP(ada, key)
	p.StepUp(other, key)

	// Amir becomes Master Admin: his open session gains nothing.
	if a := p.Do("PATCH", "/v1/admin/users/"+amirID, master, map[string]any{"master_admin": true}); a.Status != http.StatusOK {
		t.Fatal(a)
	}
	for _, path := range []string{"/v1/admin/users", "/v1/admin/settings", "/v1/admin/audit"} {
		sut.Expect(t, p.Do("GET", path, plain, nil), http.StatusForbidden, "forbidden")
	}
	if a := as(t, p, plain).get("/admin/settings"); a.Status != http.StatusForbidden {
		t.Errorf("the page: %d", a.Status)
	}
	// Ada proves herself in one session: her other one has proved nothing, nor has that of another admin.
	p.Advance(5*time.Minute + time.Second)
	p.StepUp(other, key)
	now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", master, nil))
	for _, session := range []string{master, svens} {
		sut.Expect(t, p.Do("PUT", "/v1/admin/settings", session, now), http.StatusForbidden, "step_up_required")
		sut.Expect(t, p.Do("POST", "/v1/admin/users/"+amirID+"/password-link", session, nil), http.StatusForbidden, "step_up_required")
		sut.Expect(t, p.Do("PATCH", "/v1/admin/users/"+claraID, session, map[string]any{"organization_admin": true}), http.StatusForbidden, "step_up_required")
	}
	sut.Expect(t, p.Do("POST", "/v1/account/recovery-codes", master, nil), http.StatusForbidden, "step_up_required")
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", other, now))
	// The password alone is no second factor, and a step-up with it makes none of the session.
	sut.Expect(t, p.Do("POST", "/v1/session/step-up", svens, map[string]string{"password": sut.DemoPassword}), http.StatusNoContent, "")
	now.Version++
	sut.Expect(t, p.Do("PUT", "/v1/admin/settings", svens, now), http.StatusForbidden, "forbidden")
	// How and when a session was opened stays as it was.
	for _, session := range []string{plain, svens, other, master} {
		was := lives(t, p, session)
		as(t, p, session).get("/account")
		if is := lives(t, p, session); !slices.Equal(is.AMR, was.AMR) || !is.AuthTime.Equal(was.AuthTime) || !is.ExpiresAt.Equal(was.ExpiresAt) {
			t.Errorf("a session that was %+v is %+v", was, is)
		}
	}
	if is := lives(t, p, plain); !slices.Equal(is.AMR, []string{"pwd"}) || !is.AuthTime.Equal(began.AuthTime) || is.User.MasterAdmin {
		t.Errorf("the session opened with a password became %+v", is)
	}
	// A second factor set up elsewhere is not that session's either: it is dead.
	e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", "/v1/account/factors/totp", tokenOf(t, p.BeginSignIn(amir)), nil))
	if e.Key == "" {
		t.Error("no key")
	}
	again := tokenOf(t, p.BeginSignIn(amir))
	e = sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", "/v1/account/factors/totp", again, nil))
	done := sut.Want[sut.Account](t, http.StatusOK, p.Do("POST", "/v1/account/factors/totp/confirm", again, map[string]string{"code": p.Code(e.Key)}))
	if s := lives(t, p, done.Session.Token); !slices.Equal(s.AMR, []string{"pwd", "otp"}) {
		t.Errorf("the session that set up a second factor has amr %q", s.AMR)
	}
	ended(t, p, plain)
	// Required from now on: who has the password alone gets no session at all.
	strict := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", other, nil))
	strict.Internal.Mode = "required"
	p.StepUp(other, key)
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", other, strict))
	if s := p.BeginSignIn(sven); s.Status != "enroll" || s.Session != nil {
		t.Errorf("%s gets %q", sven, s.Status)
	}
}

package e2e

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
	"sallyport/services/auth-gateway/gateway"
	policy "sallyport/services/policy-svc/policy"
	"sallyport/test/sut"
)

// documents opens the database of a service that runs, and its keys, as an operator's command does.
func documents(t *testing.T, p *sut.Product, name contract.Service) (*store.DB, *seal.Keys) {
	t.Helper()
	db, err := store.Connect(t.Context(), store.Options{
		URI: p.StoreURI(), Database: "sallyport_" + strings.ReplaceAll(string(name), "-", "_"), Name: "operator", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	keys, err := seal.Load(filepath.Join(p.Data, "keys", string(name)+".json"), name)
	if err != nil {
		t.Fatal(err)
	}
	return db, keys
}

func TestB36PortalsAreKeptApart(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)

	// An operator adds a second portal, whose admin has the address of the first one's.
	db, keys := documents(t, p, contract.AuthGateway)
	office, err := gateway.OpenOffice(t.Context(), db, keys)
	if err != nil {
		t.Fatal(err)
	}
	db, keys = documents(t, p, contract.Policy)
	rules, err := policy.OpenOffice(t.Context(), db, keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := office.CreatePortal(t.Context(), gateway.NewPortal{ID: "other", Name: "Other Portal", PublicURL: "https://other.test"}); err != nil {
		t.Fatal(err)
	}
	if err := office.CreatePortal(t.Context(), gateway.NewPortal{ID: "third", Name: "Third", PublicURL: "https://OTHER.test"}); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("two portals at one address: %v", err)
	}
	if _, err := rules.CreateSettings(t.Context(), "other", contract.Settings{
		Internal: contract.PopulationSettings{Mode: contract.ModeOff}, Organizations: contract.OrganizationSettings{Mode: contract.ModeOff},
	}, "operator:test"); err != nil {
		t.Fatal(err)
	}
	id, link, err := office.CreateAdmin(t.Context(), "other", admin, "Olaf Other")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(link.URL.Reveal(), "https://other.test/welcome/") {
		t.Errorf("the link does not lead to the portal's own address")
	}

	there := *p
	there.Client = p.At("other.test")
	eventually(t, "the gateway sees the new portal", func() bool {
		return strings.Contains(string(there.Do("GET", "/sign-in", "", nil).Body), "Other Portal")
	})
	if a := welcome(t, p, link.URL.Reveal(), chosen, chosen); a.Status != http.StatusGone {
		t.Errorf("the link of another portal: %d", a.Status)
	}
	if a := welcome(t, &there, link.URL.Reveal(), chosen, chosen); a.Status != http.StatusSeeOther {
		t.Fatalf("setting the password: %s", a)
	}
	with := map[string]string{"email": admin, "password": chosen}
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", with), http.StatusUnauthorized, "invalid_credentials")
	sut.Expect(t, there.Do("POST", "/v1/sign-ins", "", sut.Credentials(admin)), http.StatusUnauthorized, "invalid_credentials")
	s := sut.Want[sut.SignIn](t, http.StatusCreated, there.Do("POST", "/v1/sign-ins", "", with))
	stands(t, s, "complete")
	other := s.Session.Token

	for _, path := range []string{"/v1/session", "/v1/account", "/v1/admin/users", "/v1/admin/settings", "/v1/admin/audit", "/v1/admin/branding"} {
		sut.Expect(t, there.Do("GET", path, master, nil), http.StatusUnauthorized, "unauthenticated")
		sut.Expect(t, p.Do("GET", path, other, nil), http.StatusUnauthorized, "unauthenticated")
		if a := there.Do("GET", path, other, nil); a.Status != http.StatusOK {
			t.Errorf("at home: %s", a)
		}
	}
	equal(t, "whom the other portal's admin sees", emails(people(t, &there, other, "")), []string{admin})
	for _, r := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"POST", "/reset-second-factor"}, {"POST", "/unlock"}} {
		body := any(because("x"))
		if r[0] == "GET" {
			body = nil
		}
		sut.Expect(t, there.Do(r[0], "/v1/admin/users/agent-demo"+r[1], other, body), http.StatusNotFound, "not_found")
		sut.Expect(t, p.Do(r[0], "/v1/admin/users/"+id+r[1], master, body), http.StatusNotFound, "not_found")
	}
	eventually(t, "what the operator did is in that portal's audit log", func() bool {
		log := history(t, &there, other, "")
		for _, e := range log {
			if e.Actor == "admin-demo" || e.User == "agent-demo" {
				t.Fatalf("the audit log of another portal: %+v", e)
			}
		}
		return len(history(t, &there, other, "action=portal_created")) == 1 && len(history(t, &there, other, "action=user_created")) == 1
	})
	for _, e := range history(t, p, master, "") {
		if e.User == id {
			t.Errorf("the audit log of another portal: %+v", e)
		}
	}
	p.StepUp(master, key)
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", master, settings("required", "off", false, 1)))
	if now := sut.Want[sut.Settings](t, http.StatusOK, there.Do("GET", "/v1/admin/settings", other, nil)); now.Internal.Mode != "off" || now.Version != 1 {
		t.Errorf("the other portal's settings became %+v", now)
	}
	// The only Master Admin there is counted as such.
	sut.Expect(t, there.Do("PATCH", "/v1/admin/users/"+id, other, map[string]any{"master_admin": false}), http.StatusConflict, "conflict")
}

func TestB08WhoHasNoSecondFactorSwitchesItForNobody(t *testing.T) {
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	p.StepUp(master, key)
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", master, settings("off", "off", false, 1)))
	// The other Master Admin has none: they sign in with the password alone and cannot step up.
	s := p.BeginSignIn(second)
	stands(t, s, "complete")
	bare := s.Session.Token
	a := p.Do("PUT", "/v1/admin/settings", bare, settings("required", "off", false, 2))
	if a.Status != http.StatusForbidden {
		t.Errorf("without a factor: %s", a)
	}
	if now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", bare, nil)); now.Version != 2 {
		t.Errorf("the settings were changed: %+v", now)
	}
}

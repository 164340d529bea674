package gateway

import (
	"context"
	"strings"
	"testing"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service/servicetest"
)

// TestB40ImportUpdates: what an import changes in an account that is there, what it leaves, and what it refuses.
func TestB40ImportUpdates(t *testing.T) {
	w := servicetest.New(t)
	db := w.DB(contract.AuthGateway)
	a, now := newAccounts(db), w.Clock.Now()
	office, err := OpenOffice(t.Context(), db, w.Clock, "https://p.test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := office.CreatePortal(t.Context(), NewPortal{ID: "p", Name: "P", PublicURL: "https://p.test", Actor: "operator:x"}); err != nil {
		t.Fatal(err)
	}
	for _, u := range []user{
		{Portal: "p", User: "INT", Email: "ada@x.test", Name: "Ada", Audience: contract.Internal, MasterAdmin: true, Password: "kept"},
		{Portal: "p", User: "NEW", Email: "bo@x.test", Name: "Bo", Audience: contract.Internal},
		{Portal: "p", User: "CON", Email: "cleo@x.test", Name: "Cleo", Audience: contract.Organization, Organization: "Acme", OrganizationAdmin: true},
		{Portal: "p", User: "LNK", Email: "link@x.test", Name: "Lin", Audience: contract.Internal, Link: &linkHash{}},
		{Portal: "p", User: "FED", Email: "fed@x.test", Name: "Fed", Audience: contract.Internal, Federated: true},
	} {
		if err := a.add(t.Context(), u, now); err != nil {
			t.Fatal(err)
		}
	}
	register, err := office.Register(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	yes, no, hash := true, false, secret.New(imported(t)["bcrypt-4"])
	find := func(r PersonRecord) (Arrival, error) {
		if refusal := register.Learn(r); refusal != nil {
			t.Fatal(refusal)
		}
		return register.Find(context.Background(), r)
	}
	for what, c := range map[string]struct {
		record PersonRecord
		state  string
		why    contract.Reason // of [Arrival.Updatable], or of Find
		fields string
	}{
		"as it is":                        {PersonRecord{Email: "ada@x.test", Name: "Ada", Audience: contract.Internal}, Same, "", ""},
		"as it is, with another password": {PersonRecord{Email: "ada@x.test", Name: "Ada", Audience: contract.Internal, Password: hash}, Same, "", ""},
		"another name":                    {PersonRecord{Email: "ada@x.test", Name: "Ada Moreau", Audience: contract.Internal}, Differs, "", "name"},
		"a first password":                {PersonRecord{Email: "bo@x.test", Name: "Bo", Audience: contract.Internal, Password: hash}, Differs, "", "password"},
		"a password where a link is out":  {PersonRecord{Email: "link@x.test", Name: "Lin", Audience: contract.Internal, Password: hash}, Same, "", ""},
		"another right":                   {PersonRecord{Email: "bo@x.test", Name: "Bo", Audience: contract.Internal, MasterAdmin: &yes}, Differs, "", "master_admin"},
		"no right any more":               {PersonRecord{Email: "ada@x.test", Name: "Ada", Audience: contract.Internal, MasterAdmin: &no}, Differs, reasonSessions, "master_admin"},
		"disabled":                        {PersonRecord{Email: "bo@x.test", Name: "Bo", Audience: contract.Internal, Disabled: &yes}, Differs, reasonSessions, "disabled"},
		"another company":                 {PersonRecord{Email: "cleo@x.test", Name: "Cleo", Audience: contract.Organization, Organization: "Globex"}, Differs, reasonSessions, "organization"},
		"the same company, spelt so":      {PersonRecord{Email: "cleo@x.test", Name: "Cleo", Audience: contract.Organization, Organization: "ÁCME"}, Same, "", ""},
		"another kind":                    {PersonRecord{Email: "cleo@x.test", Name: "Cleo", Audience: contract.Internal}, Differs, reasonKind, "audience"},
		"federated no more":               {PersonRecord{Email: "fed@x.test", Name: "Fed", Audience: contract.Internal, Federated: &no}, Differs, reasonKind, "audience"},
		"the id of somebody else":         {PersonRecord{ID: "INT", Email: "new@x.test", Name: "New", Audience: contract.Internal}, "", reasonTaken, ""},
		"another id":                      {PersonRecord{ID: "XYZ", Email: "ada@x.test", Name: "Ada", Audience: contract.Internal}, "", reasonTaken, ""},
		"an unknown provider":             {PersonRecord{Email: "z@x.test", Name: "Z", Audience: contract.Internal, Federated: &yes, Provider: "other", Subject: "1"}, "", reasonProvider, ""},
		"somebody new":                    {PersonRecord{ID: "crm-1", Email: "z@x.test", Name: "Z", Audience: contract.Internal}, Absent, "", ""},
	} {
		found, err := find(c.record)
		if c.state == "" {
			if e := contract.AsError(err); e.Reason != c.why {
				t.Errorf("%s: %v, want %s", what, err, c.why)
			}
			continue
		}
		why := contract.Reason("")
		if e := found.Updatable(); e != nil {
			why = e.Reason
		}
		if err != nil || found.State != c.state || why != c.why || strings.Join(found.Fields, ",") != c.fields {
			t.Errorf("%s: %+v, %q, %v", what, found.State, why, err)
		}
	}
	found, err := find(PersonRecord{Email: "bo@x.test", Name: "Bo", Audience: contract.Internal, MasterAdmin: &yes, Password: hash})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := register.Update(t.Context(), found, "operator:x", "why"); err != nil {
		t.Fatal(err)
	}
	u, err := a.byID(t.Context(), contract.Account{Portal: "p", User: "NEW"})
	if err != nil || !u.MasterAdmin || u.Password != hash.Reveal() || u.HashForm != "bcrypt-4" || u.Name != "Bo" {
		t.Errorf("%+v, %v", u, err)
	}
	if p, err := a.portals.Get(t.Context(), "p"); err != nil || !p.Admins["NEW"] {
		t.Errorf("the new Master Admin is not counted: %+v, %v", p.Admins, err)
	}
	// What was found out before somebody else changed the account is not written.
	if _, err := register.Update(t.Context(), found, "operator:x", "why"); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("an update of what is another by now: %v", err)
	}
}

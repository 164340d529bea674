package policy

import (
	"testing"

	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

// TestB40ImportOfAnEnrolment: it counts at once, is in the log by the operator, and is written over nothing that counts.
func TestB40ImportOfAnEnrolment(t *testing.T) {
	w := servicetest.New(t)
	office, err := OpenOffice(t.Context(), w.DB(contract.Policy), w.Keys(contract.Policy))
	if err != nil {
		t.Fatal(err)
	}
	office.At(w.Clock)
	if _, err := office.CreateSettings(t.Context(), "p", contract.Settings{
		Internal: contract.PopulationSettings{Mode: contract.ModeRequired}, Organizations: contract.OrganizationSettings{Mode: contract.ModeOff},
	}, "operator:x"); err != nil {
		t.Fatal(err)
	}
	ask := contract.DecideRequest{Account: contract.Account{Portal: "p", User: "u1"}, Audience: contract.Internal}
	before, err := office.Standing(t.Context(), ask)
	if err != nil || before.Decision.Action != contract.Enroll {
		t.Fatalf("%+v, %v", before, err)
	}
	c := contract.Confirmation{
		FactorInfo: contract.FactorInfo{Factor: contract.FactorTOTP, Enrolment: "en1", Label: "Pixel 9", Since: since}, Epoch: before.Decision.Epoch,
	}
	for range 2 {
		got, err := office.Import(t.Context(), ask, c, "operator:x", "the merger")
		if err != nil || got.Decision.Action != contract.Challenge || got.Revision != 1 || got.EnrolledIn != c.Epoch.Population || got.Info == nil || *got.Info != c.FactorInfo {
			t.Errorf("%+v, %v", got, err)
		}
	}
	other := c
	other.Enrolment = "en2"
	if got, err := office.Import(t.Context(), ask, other, "operator:x", ""); err != nil || got.Info.Enrolment != "en1" {
		t.Errorf("over one that counts: %+v, %v", got.Info, err)
	}
	page, err := office.Audit().list(t.Context(), contract.AuditListRequest{Portal: "p", User: "u1"})
	if err != nil || len(page.Items) != 1 || page.Items[0].Actor != "operator:x" || page.Items[0].Reason != "the merger" || page.Items[0].Action != contract.AuditEnrolmentConfirmed {
		t.Errorf("the log: %+v, %v", page.Items, err)
	}
	// A reset kills it; what was begun before the reset is dead, and says so.
	if err := office.Reset(t.Context(), contract.ResetRequest{Account: ask.Account, Reset: "r1", Actor: "operator:x", Cause: contract.ResetByOperator}); err != nil {
		t.Fatal(err)
	}
	other.Enrolment = "en3"
	if _, err := office.Import(t.Context(), ask, other, "operator:x", ""); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("under a generation that is over: %v", err)
	}
	other.Enrolment, other.Epoch.Person = "en4", 1
	if got, err := office.Import(t.Context(), ask, other, "operator:x", ""); err != nil || got.Info.Enrolment != "en4" {
		t.Errorf("after a reset: %+v, %v", got.Info, err)
	}
	gone := contract.Account{Portal: "p", User: "u9"}
	if is, err := office.Gone(t.Context(), gone); is || err != nil {
		t.Errorf("nobody was deleted yet: %t, %v", is, err)
	}
	if err := office.Reset(t.Context(), contract.ResetRequest{Account: gone, Reset: "deleted-u9", Actor: "u2", Cause: contract.ResetByAdmin}); err != nil {
		t.Fatal(err)
	}
	if is, err := office.Gone(t.Context(), gone); !is || err != nil {
		t.Errorf("an id that was deleted: %t, %v", is, err)
	}
}

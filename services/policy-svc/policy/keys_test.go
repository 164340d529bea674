package policy_test

import (
	"testing"

	"sallyport/pkg/contract"
	"sallyport/services/policy-svc/policy"
)

// B40: the audit log goes on under the new key, and what was written before the rotation still proves right, for a
// service that is started afterwards, too.
func TestB40TheAuditLogOutlivesARotation(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, false))
	f.enrol(staff, "before")
	was := f.world.Rotate(contract.Policy)
	if err := f.svc.Keys.Reload(); err != nil {
		t.Fatal(err)
	}
	f.world.Resealed(contract.Policy, was)
	f.enrol(guest, "after")
	office, err := policy.OpenOffice(t.Context(), f.world.DB(contract.Policy), f.world.Keys(contract.Policy))
	if err != nil {
		t.Fatal(err)
	}
	defer office.Close(t.Context()) //nolint:errcheck // it told nothing
	if report, err := office.Audit().Verify(t.Context(), portal, nil); err != nil || report.BrokenAt != 0 || report.Entries < 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

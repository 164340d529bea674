package policy_test

import (
	"fmt"
	"sync"
	"testing"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
	"sallyport/services/policy-svc/policy"
)

// resets are the resets that services have counted, by who made them, and of how many of one admin each was: the count
// and the sum.
func resets(t *testing.T, services ...*service.Service) (by map[string]float64, n uint64, sum float64) {
	t.Helper()
	by = make(map[string]float64)
	for _, svc := range services {
		families, err := svc.Metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				switch f.GetName() {
				case "sallyport_policy_resets_total":
					by[m.GetLabel()[0].GetValue()] += m.GetCounter().GetValue()
				case "sallyport_policy_resets_of_one_admin":
					n += m.GetHistogram().GetSampleCount()
					sum += m.GetHistogram().GetSampleSum()
				}
			}
		}
	}
	return by, n, sum
}

// Six people whom one admin resets at once, at two replicas, are counted as 1, 2, … 6: none twice, none left out.
// What is asked or told again counts no more; a reset by an operator is counted when the service hears of it.
func TestResetsAreCountedExactly(t *testing.T) {
	f := start(t)
	other := f.world.Start(contract.Policy, policy.Start, nil)
	f.change(settings(0, required, required, true))
	const people = 6
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			req := contract.ResetRequest{
				Account: contract.Account{Portal: portal, User: fmt.Sprintf("v%d", i)}, Reset: fmt.Sprintf("rs%d", i), Actor: "u9", Cause: contract.ResetByAdmin, Reason: "lost phone",
			}
			for range 2 {
				if _, err := request(t.Context(), f.gateway, contract.PolicyReset, req); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, req := range []contract.ResetRequest{
		{Account: kim, Reset: "o1", Actor: "u8", Cause: contract.ResetByAdmin, OfOrganization: true},
		{Account: kim, Reset: "o2", Actor: "recovery", Cause: contract.ResetByRecovery},
		{Account: dana, Reset: "o3", Actor: dana.User, Cause: contract.ResetByRemoval},
	} {
		if _, err := request(t.Context(), f.gateway, contract.PolicyReset, req); err != nil {
			t.Fatal(err)
		}
	}
	office, err := policy.OpenOffice(t.Context(), f.world.DB(contract.Policy), f.world.Keys(contract.Policy))
	if err != nil {
		t.Fatal(err)
	}
	if err := office.Reset(t.Context(), contract.ResetRequest{Account: dana, Reset: "o4", Actor: "operator:root", Cause: contract.ResetByOperator}); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"master_admin": people, "organization_admin": 1, "recovery": 1, "person": 1, "operator": 1}
	servicetest.Eventually(t, "all resets are counted", func() bool {
		by, _, _ := resets(t, f.svc, other)
		return by["master_admin"] >= people && by["operator"] >= 1 && by["person"] >= 1
	})
	// Told again: the stream's own word for a reset that happened long ago.
	again := contract.ResetFact{Account: kim, Reset: "o1", Actor: "u8", Cause: contract.ResetByAdmin, OfOrganization: true, At: f.world.Clock.Now()}
	if err := bus.Publish(t.Context(), f.world.Bus(contract.Policy), contract.EnrolmentReset, "reset-again", again); err != nil {
		t.Fatal(err)
	}
	f.has(contract.AuditEnrolmentReset, kim.User)
	by, n, sum := resets(t, f.svc, other)
	for who, count := range want {
		if by[who] != count {
			t.Errorf("%v by %s, want %v", by[who], who, count)
		}
	}
	if n != people+1 || sum != people*(people+1)/2+1 {
		t.Errorf("%d observations, together %v", n, sum)
	}
}

package attack

import (
	"net/http"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// TestRule12AResetEndsSessionsWhoeverAskedForIt: a gateway asks for a reset and is no more when the answer comes. The
// sessions of before are dead all the same, on every gateway; those of others live.
func TestRule12AResetEndsSessionsWhoeverAskedForIt(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	stolen, theirs := people[0].enrol(t), people[1].enrol(t)
	h.known(t, stolen)
	h.known(t, theirs)
	h.Clock.Add(time.Second)
	reset := contract.ResetRequest{Account: people[0].account(), Reset: "half-done", Actor: "recovery", Cause: contract.ResetByRecovery, Reason: "recovery code used"}
	if _, err := bus.Request(t.Context(), h.Bus(contract.AuthGateway), contract.PolicyReset, reset); err != nil {
		t.Fatal(err)
	}
	for n, door := range h.doors {
		sut.Eventually(t, hearsWithin, "the session of before is dead", func() bool { return door.Who(stolen).Status == http.StatusUnauthorized })
		if a := door.Who(theirs); a.Status != http.StatusOK {
			t.Errorf("gateway %d: somebody else's session: %s", n+1, a)
		}
	}
}

// TestRule12ANewFactorEndsTheOtherSessions: who replaces the app goes on in a new session, and a copy of an older one is
// worth nothing, on every gateway.
func TestRule12ANewFactorEndsTheOtherSessions(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	stolen := p.enrol(t)
	own := p.signIn(t)
	h.known(t, stolen)
	h.known(t, own)
	p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", own, nil)).Key
	h.known(t, stolen) // until the first code of the new app
	after := sut.Want[sut.Account](t, http.StatusOK, h.post(t, "/v1/account/factors/totp/confirm", own, typed(p.code(t)))).Session.Token
	for _, door := range h.doors {
		for _, old := range []string{stolen, own} {
			sut.Eventually(t, hearsWithin, "the session of before is dead", func() bool { return door.Who(old).Status == http.StatusUnauthorized })
		}
	}
	h.known(t, after)
}

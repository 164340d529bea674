package gateway

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/pkg/contract"
)

var (
	allStatuses = []Status{statusNone, StatusEnroll, StatusChallenge, StatusRelogin, StatusComplete}
	allSteps    = []step{stepAllowed, stepEnroll, stepChallenge, stepConfirmed, stepReenter, stepSkipped, stepVerified, stepRecovered, stepNothing}
)

// The whole table, every combination: what is not listed is refused.
func TestEveryTransition(t *testing.T) {
	type way struct {
		from Status
		by   step
	}
	want := map[way]Status{
		{statusNone, stepAllowed}:        StatusComplete,
		{statusNone, stepEnroll}:         StatusEnroll,
		{statusNone, stepChallenge}:      StatusChallenge,
		{StatusEnroll, stepConfirmed}:    StatusComplete,
		{StatusEnroll, stepReenter}:      StatusRelogin,
		{StatusEnroll, stepSkipped}:      StatusComplete,
		{StatusEnroll, stepNothing}:      StatusEnroll,
		{StatusChallenge, stepVerified}:  StatusComplete,
		{StatusChallenge, stepRecovered}: StatusEnroll,
		{StatusChallenge, stepNothing}:   StatusChallenge,
	}
	for _, from := range allStatuses {
		for _, by := range allSteps {
			to, ok := next(from, by)
			wantTo, wantOK := want[way{from, by}]
			if ok != wantOK || to != wantTo {
				t.Errorf("%q by %q leads to %q, %v; want %q, %v", from, by, to, ok, wantTo, wantOK)
			}
		}
	}
}

// Whatever the order of steps: nobody is in without being allowed, skipping, confirming or verifying, and nothing
// follows an end.
func TestNoWayAroundTheSecondFactor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := statusNone
		proved := false
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			by := rapid.SampledFrom(allSteps).Draw(t, "step")
			to, ok := next(at, by)
			if !ok {
				continue
			}
			if at == StatusComplete || at == StatusRelogin {
				t.Fatalf("%q went on to %q", at, to)
			}
			proved = proved || by == stepAllowed || by == stepConfirmed || by == stepSkipped || by == stepVerified
			if to == StatusComplete && !proved {
				t.Fatalf("complete by %q without proof", by)
			}
			at = to
		}
	})
}

func TestAnUnknownActionLetsNobodyIn(t *testing.T) {
	for _, a := range []contract.Action{"", "ALLOW", "let in"} {
		if _, ok := firstStep(a); ok {
			t.Errorf("action %q was taken", a)
		}
	}
}

func TestUsable(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status  Status
		expires time.Time
		want    contract.Code
	}{
		{StatusEnroll, now.Add(time.Millisecond), ""},
		{StatusChallenge, now.Add(time.Millisecond), ""},
		{StatusChallenge, now, contract.Expired},
		{StatusEnroll, now.Add(-time.Hour), contract.Expired},
		{StatusComplete, now.Add(time.Hour), contract.Conflict},
		{StatusRelogin, now.Add(time.Hour), contract.Conflict},
	} {
		got := contract.Code("")
		if e := usable(c.status, c.expires, now); e != nil {
			got = e.Code
		}
		if got != c.want {
			t.Errorf("%s that ends %v: %q, want %q", c.status, c.expires.Sub(now), got, c.want)
		}
	}
}

package gateway

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
	"sallyport/pkg/store"
)

// staffed makes a portal with Master Admins A0, A1, …, whom nobody has counted yet.
func staffed(t *testing.T, a accounts, admins int, now time.Time) portal {
	t.Helper()
	p := portal{ID: "p", Name: "P"}
	if err := a.portals.Insert(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for i := range admins {
		u := user{Portal: "p", User: fmt.Sprintf("A%d", i), Email: fmt.Sprintf("a%d@x.test", i), Name: fmt.Sprintf("Admin %d", i), Audience: contract.Internal, MasterAdmin: true, Password: "hash"}
		if err := a.add(t.Context(), u, now); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func adminCount(t *testing.T, a accounts) int {
	t.Helper()
	p, err := a.portals.Get(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	if p.AdminCount != len(p.Admins) {
		t.Fatalf("the count says %d, the list %v", p.AdminCount, p.Admins)
	}
	return p.AdminCount
}

func TestB32AdminsWhoDemoteEachOtherAtOnceLeaveOne(t *testing.T) {
	w := servicetest.New(t)
	a := directoryOf(t, w)
	p := staffed(t, a, 5, w.Clock.Now())
	if err := a.repair(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if n := adminCount(t, a); n != 5 {
		t.Fatalf("%d admins counted, want 5", n)
	}
	var (
		work    sync.WaitGroup
		mu      sync.Mutex
		refused int
	)
	for i := range 5 {
		work.Go(func() {
			switch err := a.release(t.Context(), contract.Account{Portal: "p", User: fmt.Sprintf("A%d", i)}); {
			case errors.Is(err, errLastAdmin):
				mu.Lock()
				refused++
				mu.Unlock()
			case err != nil:
				t.Error(err)
			}
		})
	}
	work.Wait()
	if n := adminCount(t, a); n != 1 || refused != 1 {
		t.Errorf("%d admins are left and %d changes were refused; want 1 and 1", n, refused)
	}
}

func TestB32WhatACrashLeftIsCountedAgainAndNeverTooMuch(t *testing.T) {
	w := servicetest.New(t)
	a := directoryOf(t, w)
	p := staffed(t, a, 3, w.Clock.Now())
	// A2 may sign in no more, yet somebody who read the account before counts it.
	if _, err := a.users.Update(t.Context(), "p/A2", store.Change{Update: bson.D{{Key: "$set", Value: bson.D{{Key: "disabled", Value: true}}}}}); err != nil {
		t.Fatal(err)
	}
	if err := a.count(t.Context(), contract.Account{Portal: "p", User: "A2"}); err != nil {
		t.Fatal(err)
	}
	if n := adminCount(t, a); n != 0 {
		t.Errorf("a disabled admin counts: %d", n)
	}
	for range 2 {
		if err := a.repair(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if n := adminCount(t, a); n != 2 {
			t.Errorf("%d admins after a repair, want 2", n)
		}
	}
	// A change that crashed after its first half is made again.
	who := contract.Account{Portal: "p", User: "A0"}
	for range 2 {
		if err := a.release(t.Context(), who); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.release(t.Context(), contract.Account{Portal: "p", User: "A1"}); !errors.Is(err, errLastAdmin) {
		t.Errorf("the last admin was released: %v", err)
	}
	names, err := a.masterNames(t.Context(), "p", 3)
	if err != nil || len(names) != 2 {
		t.Errorf("admins to ask: %q, %v", names, err)
	}
}

func TestTheMirrorKeepsTheNewestAndALockGoesWithItsEnrolment(t *testing.T) {
	w := servicetest.New(t)
	a, now := directoryOf(t, w), w.Clock.Now()
	who := contract.Account{Portal: "p", User: "U"}
	if err := a.add(t.Context(), user{Portal: "p", User: "U", Email: "u@x.test", Audience: contract.Organization, Organization: "Acme"}, now); err != nil {
		t.Fatal(err)
	}
	read := func() mirror {
		t.Helper()
		u, err := a.byID(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return u.Mirror
	}
	say := func(rev, enrolled, skipped int64, enrolment string) {
		t.Helper()
		r := contract.StandingReply{Revision: rev, EnrolledIn: enrolled, SkippedIn: skipped}
		if enrolment != "" {
			r.Info = &contract.FactorInfo{Factor: contract.FactorSMS, Enrolment: enrolment, Since: now}
		}
		if err := a.reflect(t.Context(), who, r); err != nil {
			t.Fatal(err)
		}
	}
	lock := func(at time.Time) {
		t.Helper()
		until := at.Add(time.Minute)
		if err := a.locked(t.Context(), contract.LockFact{Account: who, Until: &until, At: at}); err != nil {
			t.Fatal(err)
		}
	}
	say(2, 1, 0, "E1")
	say(1, 0, 0, "")
	if m := read(); m.EnrolledIn != 1 || m.Enrolment != "E1" || m.Rev != 2 {
		t.Errorf("something older was taken over: %+v", m)
	}
	lock(now.Add(time.Second))
	say(3, 1, 0, "E1") // a new label
	if m := read(); !m.Locked || m.Rev != 3 {
		t.Errorf("the lock is gone with another label: %+v", m)
	}
	say(4, 2, 1, "E2")
	if m := read(); m.Locked || m.SkippedIn != 0 || m.EnrolledIn != 2 {
		t.Errorf("after another enrolment: %+v", m)
	}
	say(5, 2, 3, "E2")
	if m := read(); m.EnrolledIn != 0 || m.SkippedIn != 3 {
		t.Errorf("a skip in a later generation: %+v", m)
	}
	lock(now.Add(-time.Second)) // told late: it was the lock of an older enrolment
	if m := read(); m.Locked {
		t.Errorf("an old lock was taken over: %+v", m)
	}
	if err := a.opened(t.Context(), who, now.Add(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	lock(now.Add(2 * time.Second))
	if m := read(); m.Locked {
		t.Errorf("a lock from before the unlock was taken over: %+v", m)
	}
	lock(now.Add(4 * time.Second))
	if m := read(); !m.Locked {
		t.Errorf("a new lock was not taken over: %+v", m)
	}
}

func TestArrivalsAreNotedOnceAndWhatIsLeftAtTheEnd(t *testing.T) {
	w := servicetest.New(t)
	a, now := directoryOf(t, w), w.Clock.Now()
	if err := a.add(t.Context(), user{Portal: "p", User: "U", Email: "u@x.test", Audience: contract.Internal}, now); err != nil {
		t.Fatal(err)
	}
	who := contract.Account{Portal: "p", User: "U"}
	all := newArrivals(a, w.Env(contract.AuthGateway, nil).Log)
	for i := range 50 {
		all.note(who, now.Add(time.Duration(i%7)*time.Second), i == 3)
	}
	if len(all.pending) != 1 {
		t.Errorf("%d writes are pending for one person", len(all.pending))
	}
	all.flush(t.Context())
	all.note(who, now, false)
	all.flush(t.Context())
	u, err := a.byID(t.Context(), who)
	if err != nil || !u.SignedIn {
		t.Errorf("signed in: %v, %v", u.SignedIn, err)
	}
	if last, err := a.lastArrival(t.Context(), u); err != nil || last == nil || !last.Equal(now.Add(6*time.Second)) {
		t.Errorf("last sign-in %v, %v; want %v", last, err, now.Add(6*time.Second))
	}
}

func TestWhatIsLeftOfADeletedAccountHoldsNoAddress(t *testing.T) {
	w := servicetest.New(t)
	a := directoryOf(t, w)
	now := w.Clock.Now()
	gone := user{Portal: "p", User: "gone", Email: "one@x.test", Name: "One", Audience: contract.Internal}
	if err := a.add(t.Context(), gone, now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.users.Update(t.Context(), "p/gone", deleting(gone)); err != nil { // and then a crash
		t.Fatal(err)
	}
	next := gone
	next.User = "next"
	if err := a.add(t.Context(), next, now.Add(claimSettles)); err != nil {
		t.Fatal(err)
	}
	if u, err := a.byEmail(t.Context(), "p", "one@x.test"); err != nil || u.User != "next" {
		t.Errorf("the address finds %q, %v", u.User, err)
	}
}

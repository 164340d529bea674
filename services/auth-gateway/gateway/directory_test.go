package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
	"sallyport/pkg/store"
)

// town fills a directory with people of every kind, the same ones in every run, and returns them.
func town(t *testing.T, a accounts, size int, now time.Time) []user {
	t.Helper()
	pick := rand.New(rand.NewPCG(7, 7))
	first := []string{"Ada", "Zoë", "Ángel", "Li", "Maria", "Olga", "Per-Åke", "sven"}
	last := []string{"Moreau", "van Dyck", "O'Neil", "Östlund", "Şahin", "Li", "Adams"}
	var people []user
	for i := range size {
		u := user{Portal: "p", User: fmt.Sprintf("U%05d", i), Audience: contract.Internal}
		if pick.IntN(4) > 0 {
			u.Audience, u.Organization = contract.Organization, fmt.Sprintf("Company %d", pick.IntN(size/40+1))
		}
		u.Name = first[pick.IntN(len(first))] + " " + last[pick.IntN(len(last))]
		u.Email = fmt.Sprintf("%s.%d@%c.test", strings.ToLower(u.Name[:1]), i, 'a'+rune(pick.IntN(4)))
		if u.Name[0] >= 0x80 {
			u.Email = fmt.Sprintf("angel+%d!x@c.test", i)
		}
		u.Federated, u.Disabled = pick.IntN(12) == 0, pick.IntN(15) == 0
		m := &u.Mirror
		m.Rev = 1
		switch pick.IntN(5) {
		case 0, 1:
			m.EnrolledIn, m.Factor, m.Enrolment = int64(1+pick.IntN(2)), factorOf(u.Audience), "E"+u.User
			switch pick.IntN(8) {
			case 0:
				m.Locked = true
			case 1:
				until := now.Add(time.Duration(pick.IntN(3)-1) * time.Minute)
				m.Locked, m.LockedUntil = true, &until
			}
		case 2:
			m.SkippedIn, m.SkippedOptOut = int64(1+pick.IntN(2)), int64(pick.IntN(2))
		}
		u.SignedIn = pick.IntN(3) > 0
		u.index()
		people = append(people, u)
	}
	var work sync.WaitGroup
	for part := range 4 {
		work.Go(func() {
			for i := part; i < size; i += 4 {
				u := people[i]
				u.ID = u.Portal + "/" + u.User
				if err := a.users.Insert(t.Context(), u); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	return people
}

// walk pages through a list to its end and returns the addresses in the order in which they came. between runs after
// each page.
func walk(t *testing.T, a accounts, s sight, l listing, between func()) []string {
	t.Helper()
	var got []string
	for range 10000 {
		page, err := a.list(t.Context(), s, l)
		if err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		if len(page.Items) > l.Limit {
			t.Fatalf("%+v: a page of %d", l, len(page.Items))
		}
		for _, c := range page.Items {
			got = append(got, c.Email)
		}
		if page.Next == "" {
			return got
		}
		l.Cursor = page.Next
		if between != nil {
			between()
		}
	}
	t.Fatalf("%+v never ends", l)
	return nil
}

// expected are the addresses that a list must show, by looking at everybody.
func expected(people []user, s sight, l listing) []string {
	var found []user
	for _, u := range people {
		if s.matches(u, l) {
			found = append(found, u)
		}
	}
	phase := func(u user) int {
		if l.phasesOf() == 1 {
			return 0
		}
		return l.first(u)
	}
	slices.SortFunc(found, func(a, b user) int {
		if d := phase(a) - phase(b); d != 0 {
			return d
		}
		return byKey(phase(a))(a, b)
	})
	var out []string
	for _, u := range found {
		out = append(out, u.Email)
	}
	return out
}

func testSight(now time.Time) sight {
	return sight{portal: "p", now: now, rules: contract.PortalRules{
		Internal:      contract.CountingRule{Mode: contract.ModeRequired, Generation: 2},
		Organizations: contract.CountingRule{Mode: contract.ModeRequired, Generation: 2, SkipsCount: true, OptOutGeneration: 1},
	}}
}

func directoryOf(t *testing.T, w *servicetest.World) accounts {
	t.Helper()
	db := w.DB(contract.AuthGateway)
	if err := db.EnsureIndexes(t.Context(), directoryIndexes()); err != nil {
		t.Fatal(err)
	}
	return newAccounts(db)
}

func TestB35EveryListShowsEveryMatchOnceInOrder(t *testing.T) {
	w := servicetest.New(t)
	a, now := directoryOf(t, w), w.Clock.Now()
	people := town(t, a, 1500, now)
	s := testSight(now)
	lists, shown := 0, 0
	for _, query := range []string{"", "a", "angel", "mor", "LI", "nobody", "@"} {
		for _, audience := range []contract.Audience{"", contract.Internal, contract.Organization} {
			for _, company := range []string{"", "Company 7"} {
				if company != "" && (audience == contract.Internal || query == "mor") {
					continue
				}
				for _, standing := range []string{"", "not_enrolled", "enrolled", "skipped", "exempt", standingLocked, standingNever} {
					l := listing{Query: query, Audience: audience, Organization: company, Standing: standing, Limit: []int{7, 50, 200}[lists%3]}
					want := expected(people, s, l)
					if len(want) > 60 {
						l.Limit = max(l.Limit, 50)
					}
					if got := walk(t, a, s, l, nil); !slices.Equal(got, want) {
						t.Fatalf("%+v shows %d, want %d\n got %q\nwant %q", l, len(got), len(want), first(got, 20), first(want, 20))
					}
					lists, shown = lists+1, shown+len(want)
				}
			}
		}
	}
	if shown < 5*len(people) {
		t.Errorf("%d lists showed %d people: hardly a test", lists, shown)
	}
	t.Run("figures", func(t *testing.T) {
		for _, audience := range audiences("") {
			var want figures
			for _, u := range people {
				if u.Audience != audience || u.Federated || u.Disabled {
					continue
				}
				want.inScope++
				switch s.standing(u) { //nolint:exhaustive // the others have no figure
				case contract.Enrolled:
					want.enrolled++
				case contract.Skipped:
					want.skipped++
				}
			}
			got, err := a.figures(t.Context(), "p", audience, s.rules.Of(audience))
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s: %+v, want %+v", audience, got, want)
			}
		}
	})
	t.Run("while people are added", func(t *testing.T) {
		added := 0
		between := func() {
			for range 3 {
				added++
				u := user{Portal: "p", User: fmt.Sprintf("N%05d", added), Audience: contract.Internal, Name: "New Comer", Email: fmt.Sprintf("%c.new%d@a.test", 'a'+rune(added%26), added)}
				if err := a.add(t.Context(), u, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, l := range []listing{{Limit: 200}, {Query: "m", Limit: 40}, {Standing: "not_enrolled", Limit: 120}} {
			want := expected(people, s, l)
			got := walk(t, a, s, l, between)
			seen := make(map[string]int)
			for _, e := range got {
				if seen[e]++; seen[e] > 1 {
					t.Errorf("%+v shows %s twice", l, e)
				}
			}
			old := slices.DeleteFunc(got, func(e string) bool { return strings.Contains(e, ".new") })
			if !slices.Equal(old, want) {
				t.Errorf("%+v: those who were there before: %d, want %d", l, len(old), len(want))
			}
		}
	})
}

func first(s []string, n int) []string { return s[:min(n, len(s))] }

func TestACursorOfNoListIsRefused(t *testing.T) {
	good := cursor{Phase: 1, Key: "moreau-ada~U1"}
	if c, err := parseCursor(good.String(), phases); err != nil || c != good {
		t.Errorf("a cursor of ours came back as %+v, %v", c, err)
	}
	for _, bad := range []string{"x", "!!", "bm9uc2Vuc2U", cursor{Phase: 7, Key: "a"}.String(), cursor{Phase: -1}.String(), good.String() + "=", strings.Repeat("A", 3000), "eyJrIjoiYSIsInoiOjF9"} {
		l := listing{Query: "a", Cursor: bad}
		if err := l.check(); contract.CodeOf(err) != contract.InvalidRequest {
			t.Errorf("cursor %.40q: %v", bad, err)
		}
	}
	l := listing{Cursor: good.String()}
	if err := l.check(); contract.CodeOf(err) != contract.InvalidRequest {
		t.Errorf("a cursor of another list: %v", err)
	}
}

func TestNamesAreFoundWithoutCaseAndAccents(t *testing.T) {
	for name, want := range map[string][2]string{
		"Ada Moreau": {"ada-moreau~1", "moreau-ada~1"}, "Zoë  O'Neil": {"zoe-oneil~1", "oneil-zoe~1"}, "Ángel": {"angel~1", "angel~1"},
		"Per-Åke von Östlund": {"per-ake-von-ostlund~1", "ostlund-per-ake-von~1"}, "李 雷": {"李-雷~1", "雷-李~1"}, " !": {"~1", "~1"},
	} {
		full, last := nameKeys(name, "1")
		if full != want[0] || last != want[1] {
			t.Errorf("%q: %q, %q; want %q", name, full, last, want)
		}
	}
}

func TestOneAddressIsOneAccountWhateverCrashes(t *testing.T) {
	w := servicetest.New(t)
	a, now := directoryOf(t, w), w.Clock.Now()
	someone := func(id, email string) user {
		return user{Portal: "p", User: id, Email: email, Name: "Some One", Audience: contract.Internal}
	}
	if err := a.add(t.Context(), someone("A", "a@x.test"), now); err != nil {
		t.Fatal(err)
	}
	if err := a.add(t.Context(), someone("B", "a@x.test"), now.Add(time.Hour)); !errors.Is(err, store.ErrExists) {
		t.Errorf("a second account of an address: %v", err)
	}
	// A claim whose account never came.
	if err := a.claim(t.Context(), "p", "c@x.test", "gone", now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.byEmail(t.Context(), "p", "c@x.test"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a claim without an account: %v", err)
	}
	if err := a.add(t.Context(), someone("C", "c@x.test"), now.Add(time.Second)); !errors.Is(err, store.ErrExists) {
		t.Errorf("a claim that somebody may be at work on was taken: %v", err)
	}
	if err := a.add(t.Context(), someone("C", "c@x.test"), now.Add(claimSettles)); err != nil {
		t.Errorf("a claim that a crash left over stays for ever: %v", err)
	}
	if u, err := a.byEmail(t.Context(), "p", "c@x.test"); err != nil || u.User != "C" {
		t.Errorf("the address leads to %q, %v", u.User, err)
	}
	// A claim on an address that the account does not have (a change of address that crashed half way) lets nobody in.
	if err := a.claim(t.Context(), "p", "new@x.test", "A", now); err != nil {
		t.Fatal(err)
	}
	if _, err := a.byEmail(t.Context(), "p", "new@x.test"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an address that was never taken signs in: %v", err)
	}
	if err := a.disclaim(t.Context(), "p", "a@x.test", "B"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.byEmail(t.Context(), "p", "a@x.test"); err != nil {
		t.Errorf("somebody else gave the address up: %v", err)
	}
}

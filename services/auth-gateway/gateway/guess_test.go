package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/service/servicetest"
)

// from is a request from an address.
func from(t *testing.T, address string) context.Context {
	t.Helper()
	return context.WithValue(t.Context(), callerKey{}, caller{address: netip.MustParseAddr(address)})
}

// doors are so many gateways on one store, without their background work: [settled] does it.
func doors(t *testing.T, w *servicetest.World, l guessLimits, n int) []*guesses {
	t.Helper()
	var out []*guesses
	db := w.DB(contract.AuthGateway)
	if err := db.EnsureIndexes(t.Context(), guessIndexes()); err != nil {
		t.Fatal(err)
	}
	for range n {
		out = append(out, newGuesses(newGuessRecords(db), l, newAccounts(db), w.Bus(contract.AuthGateway), w.Clock.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry()))
	}
	return out
}

// settled does what waits behind people's backs.
func settled(t *testing.T, doors ...*guesses) {
	t.Helper()
	for _, g := range doors {
		g.chores.flush(t.Context())
	}
}

// says is a password that is right or wrong.
func says(right bool) func() (bool, error) { return func() (bool, error) { return right, nil } }

// refusalOf is which limit refuses, "" for none.
func refusalOf(t *testing.T, err error) contract.Reason {
	t.Helper()
	var e *contract.Error
	if err == nil {
		return ""
	}
	if !errors.As(err, &e) || e.Code != contract.RateLimited || e.RetryAfter < 1 {
		t.Fatalf("no limit: %v", err)
	}
	return e.Reason
}

var fewGuesses = guessLimits{Account: meter.Limits{{Most: 3, Window: 10 * time.Minute}}, Network: meter.Limits{{Most: 8, Window: 10 * time.Minute}}}

func TestLimitsOnPasswordsAreRead(t *testing.T) {
	s := Settings{PasswordLimitAccount: "10/10m,20/1h", PasswordLimitNetwork: "off"}
	l, problems := s.limits()
	if problems != nil || len(l.Account) != 2 || l.Network != nil {
		t.Errorf("%+v, %v", l, problems)
	}
	s = Settings{PasswordLimitAccount: "10", PasswordLimitNetwork: ""}
	if _, problems := s.limits(); len(problems) != 2 || !strings.HasPrefix(problems[0], "PASSWORD_LIMIT_ACCOUNT: ") || !strings.HasPrefix(problems[1], "PASSWORD_LIMIT_NETWORK: ") {
		t.Errorf("%v", problems)
	}
}

// The owner comes in from home whatever is tried elsewhere, and even while the limit of home is all that is left.
func TestAnAttackElsewhereKeepsNobodyOutAtHome(t *testing.T) {
	w := servicetest.New(t)
	g := doors(t, w, fewGuesses, 1)[0]
	home, office, away := from(t, "203.0.113.7"), from(t, "2001:db8:1:2::7"), from(t, "198.51.100.7")
	for _, ctx := range []context.Context{home, office} {
		if _, err := g.try(ctx, "p", "a@x.test", says(true)); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, g)
	for i := range 20 {
		ctx := from(t, fmt.Sprintf("192.0.%d.1", i))
		_, err := g.try(ctx, "p", "a@x.test", says(false))
		if want := i >= 3; (refusalOf(t, err) == contract.LimitPassword) != want {
			t.Fatalf("guess %d: %v", i, err)
		}
		settled(t, g)
	}
	for range 10 { // as often as they like, while it is right
		if right, err := g.try(home, "p", "a@x.test", says(true)); !right || err != nil {
			t.Fatalf("the owner at home: %v", err)
		}
		settled(t, g)
	}
	// Somewhere new, the owner is one of the strangers, until the window is over.
	_, err := g.try(away, "p", "a@x.test", says(true))
	if refusalOf(t, err) != contract.LimitPassword {
		t.Errorf("the owner elsewhere: %v", err)
	}
	settled(t, g)
	w.Clock.Add(time.Duration(contract.AsError(err).RetryAfter) * time.Second)
	if right, err := g.try(away, "p", "a@x.test", says(true)); !right || err != nil {
		t.Errorf("at the time that they were told: %v", err)
	}
	settled(t, g)
	// What is tried at one home neither closes the other nor anything elsewhere, and is limited there.
	for i := range 5 {
		_, err := g.try(home, "p", "a@x.test", says(false))
		if want := i >= 3; (refusalOf(t, err) == contract.LimitPassword) != want {
			t.Fatalf("guess %d at home: %v", i, err)
		}
		settled(t, g)
	}
	for _, ctx := range []context.Context{office, away, from(t, "192.0.2.200")} {
		if _, err := g.try(ctx, "p", "a@x.test", says(false)); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
	}
	// A neighbour in the same /24 is at home, too; another one is not.
	if _, err := g.try(from(t, "203.0.113.200"), "p", "a@x.test", says(true)); refusalOf(t, err) != contract.LimitPassword {
		t.Errorf("a neighbour: %v", err)
	}
}

// The network's limit is about addresses that it is no home of: who has been there before comes in.
func TestAFloodFromANetworkRefusesItsStrangersOnly(t *testing.T) {
	w := servicetest.New(t)
	g := doors(t, w, fewGuesses, 1)[0]
	here := from(t, "203.0.113.7")
	if _, err := g.try(here, "p", "known@x.test", says(true)); err != nil {
		t.Fatal(err)
	}
	settled(t, g)
	for i := range 100 {
		_, err := g.try(here, "p", fmt.Sprintf("%d@x.test", i), says(false))
		if want := i >= 8; (refusalOf(t, err) == contract.LimitPasswordNetwork) != want {
			t.Fatalf("address %d: %v", i, err)
		}
	}
	settled(t, g)
	if right, err := g.try(here, "p", "known@x.test", says(true)); !right || err != nil {
		t.Errorf("who has been there: %v", err)
	}
	if _, err := g.try(here, "p", "new@x.test", says(true)); refusalOf(t, err) != contract.LimitPasswordNetwork {
		t.Errorf("who is new there: %v", err)
	}
	if _, err := g.try(from(t, "203.0.114.7"), "p", "new@x.test", says(true)); err != nil {
		t.Errorf("next door: %v", err)
	}
	// Refused addresses leave nothing behind.
	if _, err := g.records.meters.Docs.Get(t.Context(), guess{portal: "p", address: "50@x.test"}.accountID()); err == nil {
		t.Error("a refused address has a document")
	}
	if n := testutil.ToFloat64(g.tried.WithLabelValues(string(triedNetworkLimited))); n != 93 {
		t.Errorf("the metric counts %v", n)
	}
}

// Of as many wrong guesses at once as you like, over two gateways, no more are judged than the limit allows; right ones
// are given back, and what is not judged, too.
func TestParallelPasswordsAreNeverJudgedBeyondTheLimit(t *testing.T) {
	w := servicetest.New(t)
	l := guessLimits{Account: meter.Limits{{Most: 5, Window: 10 * time.Minute}, {Most: 7, Window: meter.Day}}, Network: meter.Limits{{Most: 30, Window: time.Hour}}}
	gates := doors(t, w, l, 2)
	flood := func(ctx context.Context, address func(i int) string, n int) int64 {
		var judged atomic.Int64
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				_, err := gates[i%2].try(ctx, "p", address(i), func() (bool, error) { judged.Add(1); return false, nil })
				refusalOf(t, err)
			})
		}
		wg.Wait()
		settled(t, gates...)
		return judged.Load()
	}
	one := func(int) string { return "a@x.test" }
	if n := flood(from(t, "203.0.113.7"), one, 60); n != 5 {
		t.Errorf("%d of 60 were judged, the limit is 5", n)
	}
	if n := flood(from(t, "203.0.114.7"), one, 60); n != 0 {
		t.Errorf("%d more were judged from elsewhere", n)
	}
	w.Clock.Add(11 * time.Minute)
	if n := flood(from(t, "203.0.115.7"), one, 60); n != 2 {
		t.Errorf("%d were judged in the second window, 2 were left of the day", n)
	}
	many := func(i int) string { return fmt.Sprintf("%d@x.test", i) }
	if n := flood(from(t, "203.0.116.7"), many, 120); n != 30 {
		t.Errorf("%d of 120 addresses were judged, the limit of the network is 30", n)
	}
	// Of a home, the same.
	for i, g := range gates {
		if right, err := g.try(from(t, fmt.Sprintf("203.0.%d.7", 120+i)), "p", "b@x.test", says(true)); !right || err != nil {
			t.Fatal(err)
		}
	}
	settled(t, gates...)
	if n := flood(from(t, "203.0.120.7"), func(int) string { return "b@x.test" }, 60); n != 5 {
		t.Errorf("%d of 60 were judged at a home, the limit is 5", n)
	}
	for range 20 {
		for _, judge := range []func() (bool, error){says(true), func() (bool, error) { return false, contract.NotAnswering() }} {
			if _, err := gates[0].try(from(t, "203.0.121.7"), "p", "b@x.test", judge); contract.CodeOf(err) == contract.RateLimited {
				t.Fatal("what was right, or not judged, counts")
			}
			settled(t, gates...)
		}
	}
}

// Random histories equal the model: counts in memory, by the rules as they are told.
func TestPasswordsAreCountedAsTheModelSays(t *testing.T) {
	w := servicetest.New(t)
	l := guessLimits{
		Account: meter.Limits{{Most: 3, Window: 10 * time.Minute}, {Most: 6, Window: 2 * time.Hour}}, Network: meter.Limits{{Most: 6, Window: 10 * time.Minute}},
	}
	gates := doors(t, w, l, 2)
	pick := rand.New(rand.NewPCG(5, 8))
	counts := make(map[string]meter.Counts)
	homesOf := make(map[string]map[string]bool)
	of := func(name string) meter.Counts {
		if counts[name] == nil {
			counts[name] = make(meter.Counts)
		}
		return counts[name]
	}
	seen := make(map[contract.Reason]int)
	for step := range 700 {
		w.Clock.Add(time.Duration(pick.IntN(25)) * time.Second)
		now := w.Clock.Now()
		address, network := fmt.Sprintf("%d@x.test", pick.IntN(12)), fmt.Sprintf("203.0.%d.7", pick.IntN(5))
		right := pick.IntN(12) == 0
		var counted []func(n int)
		var want contract.Reason
		count := func(name string, limits meter.Limits, reason contract.Reason) {
			if want != "" {
				return
			}
			if _, _, reached := of(name).Reached(limits, now); reached {
				want = reason
				return
			}
			counted = append(counted, func(n int) { of(name).Add(limits, now, n) })
		}
		if homesOf[address][network] {
			count("home "+address+network, l.Account, contract.LimitPassword)
		} else {
			count("network "+network, l.Network, contract.LimitPasswordNetwork)
			count("account "+address, l.Account, contract.LimitPassword)
		}
		if want == "" && !right {
			for _, f := range counted {
				f(1)
			}
		}
		got, err := gates[step%2].try(from(t, network), "p", address, says(right))
		settled(t, gates...)
		if reason := refusalOf(t, err); reason != want || got != (right && want == "") {
			t.Fatalf("step %d, %s from %s: %q, the model says %q", step, address, network, reason, want)
		}
		seen[want]++
		if got {
			if homesOf[address] == nil {
				homesOf[address] = make(map[string]bool)
			}
			homesOf[address][network] = true
		}
	}
	for _, reason := range []contract.Reason{"", contract.LimitPassword, contract.LimitPasswordNetwork} {
		if seen[reason] < 20 {
			t.Errorf("%q was met %d times only", reason, seen[reason])
		}
	}
}

// Fifty right passwords of one person at once are right, all of them, though each counts while it is under way.
func TestACrowdOfRightPasswordsIsLetIn(t *testing.T) {
	w := servicetest.New(t)
	l := guessLimits{Account: meter.Limits{{Most: 10, Window: 10 * time.Minute}}, Network: meter.Limits{{Most: 400, Window: 10 * time.Minute}}}
	gates := doors(t, w, l, 2)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if right, err := gates[i%2].try(from(t, "203.0.113.7"), "p", "a@x.test", says(true)); !right || err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	group.Wait()
	for _, g := range gates {
		if len(g.lines.at) > 0 {
			t.Errorf("%d lines are left", len(g.lines.at))
		}
	}
	// Who has waited too long is not judged.
	ctx, give := context.WithCancel(from(t, "203.0.113.7"))
	for range lineHeads {
		if err := gates[0].lines.enter(ctx, "x"); err != nil {
			t.Fatal(err)
		}
	}
	give()
	if err := gates[0].lines.enter(ctx, "x"); contract.CodeOf(err) != contract.Unavailable {
		t.Errorf("after the patience is over: %v", err)
	}
}

func TestTheNewestHomesAreKept(t *testing.T) {
	w := servicetest.New(t)
	g := doors(t, w, fewGuesses, 1)[0]
	one := guess{portal: "p", address: "a@x.test"}
	come := func(i int) {
		t.Helper()
		w.Clock.Add(time.Hour)
		if _, err := g.try(from(t, fmt.Sprintf("203.0.%d.7", i)), "p", one.address, says(true)); err != nil {
			t.Fatal(err)
		}
		settled(t, g)
	}
	for i := range homesMost {
		come(i)
	}
	come(0)
	come(homesMost)
	h, err := g.records.homes.Get(t.Context(), one.homesID())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]bool{0: true, 1: false, 2: true, homesMost: true} {
		if _, kept := h.Homes[markOf(fmt.Sprintf("203.0.%d.0/24", i))]; kept != want {
			t.Errorf("network %d is kept: %v", i, kept)
		}
	}
	if len(h.Homes) != homesMost {
		t.Errorf("%d are kept", len(h.Homes))
	}
	// They outlive the counts, and go after a year without any use.
	if err := g.records.sweep(t.Context(), w.Clock.Now().Add(homesIdle)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.records.homes.Get(t.Context(), one.homesID()); err != nil {
		t.Errorf("within a year: %v", err)
	}
	if err := g.records.sweep(t.Context(), w.Clock.Now().Add(homesIdle+time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.records.homes.Get(t.Context(), one.homesID()); err == nil {
		t.Error("after a year without use homes are kept")
	}
}

// An office of three hundred who come at nine, one in ten of them with a slip of the hand, meets no refusal, be it
// their first day or not; whoever tries ten thousand addresses from one network does.
func TestAnOfficeAtNineMeetsNoRefusal(t *testing.T) {
	w := servicetest.New(t)
	s := Settings{PasswordLimitAccount: "10/10m,20/1h,50/24h", PasswordLimitNetwork: "400/10m,600/1h,1000/24h"}
	l, _ := s.limits()
	g := doors(t, w, l, 1)[0]
	office := from(t, "203.0.113.7")
	for day := range 2 {
		var queue errgroup.Group
		queue.SetLimit(8)
		for i := range 300 {
			queue.Go(func() error {
				address := fmt.Sprintf("%d@office.test", i)
				if i%10 == day {
					if _, err := g.try(office, "p", address, says(false)); err != nil {
						t.Error(err)
					}
				}
				_, err := g.try(office, "p", address, says(true))
				return err
			})
		}
		if err := queue.Wait(); err != nil {
			t.Error(err)
		}
		// Nothing was given back meanwhile: the worst case.
		settled(t, g)
		w.Clock.Add(meter.Day)
	}
	// The first thousand of ten thousand at once, and a thousand more over four hours: they are all the day holds.
	judged := 0
	for i := range 2200 {
		_, err := g.try(from(t, "198.51.100.7"), "p", fmt.Sprintf("%d@stolen.test", i), says(false))
		if refusalOf(t, err) == "" {
			judged++
		}
		if i%50 == 0 {
			settled(t, g)
		}
		if i == 999 && judged != 400 {
			t.Errorf("%d of 1,000 addresses at once were judged", judged)
		}
		if i >= 1000 {
			w.Clock.Add(12 * time.Second)
		}
	}
	if judged != 1000 {
		t.Errorf("%d addresses were judged in a day", judged)
	}
}

func TestClearingOpensAnAccountAndKeepsItsHomes(t *testing.T) {
	w := servicetest.New(t)
	g := doors(t, w, fewGuesses, 1)[0]
	home, away := from(t, "203.0.113.7"), from(t, "198.51.100.7")
	if _, err := g.try(home, "p", "a@x.test", says(true)); err != nil {
		t.Fatal(err)
	}
	settled(t, g)
	for range 4 {
		for _, ctx := range []context.Context{home, away} {
			_, _ = g.try(ctx, "p", "a@x.test", says(false))
		}
		settled(t, g)
	}
	noted := 0
	for n, unwritten := range []error{contract.NotAnswering(), nil, contract.NotAnswering()} {
		cleared, err := g.records.clear(t.Context(), guess{portal: "p", address: "a@x.test"}, w.Clock.Now(), func(context.Context) error {
			noted++
			return unwritten
		})
		if want := n == 1; cleared != want || (err != nil) != (n == 0) || noted != min(n+1, 2) {
			t.Errorf("cleared: %v, %v, noted %d times", cleared, err, noted)
		}
	}
	for range 3 {
		for _, ctx := range []context.Context{home, away} {
			if _, err := g.try(ctx, "p", "a@x.test", says(false)); err != nil {
				t.Errorf("after it was cleared: %v", err)
			}
		}
	}
	if _, err := g.try(home, "p", "a@x.test", says(false)); refusalOf(t, err) != contract.LimitPassword {
		t.Errorf("the limit is gone: %v", err)
	}
}

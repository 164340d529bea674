package cluster

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// kept is how many streams and buckets there are.
var kept = len(contract.Streams()) + len(contract.Buckets())

// long tells whether faults take as long as they do in the night.
var long = os.Getenv("FAULT_LONG") != ""

// perSecond is how many sign-ins begin in a second; less where the machine does not carry them. make test has fuzzers at
// work beside this.
var perSecond = short(10, 20)

// backWithin is how soon sign-ins must go well again while a server is away, and every service be ready, on a machine that
// does other work too.
const backWithin = 30 * time.Second

// healedWithin is how soon after the end of a fault sign-ins must go well again: ten seconds are promised, and held in the
// long rounds, which want a quiet machine.
var healedWithin = short(backWithin, 10*time.Second)

// short is a measure of make test, or its long form.
func short[T any](now, night T) T {
	if long {
		return night
	}
	return now
}

// round is one fault: what is done, and what is undone after a while.
type round struct {
	name  string
	lasts time.Duration
	fall  func(t *testing.T)
	heal  func(t *testing.T)
}

// TestSignInsWhileTheClusterFails takes servers of the cluster away, one way after the other, while people sign in.
func TestSignInsWhileTheClusterFails(t *testing.T) {
	begun := time.Now()
	h := newHouse(t)
	t.Logf("everything runs after %v", time.Since(begun).Round(time.Second))
	c := newCrowd(h)
	t.Logf("set up in %v; not ready: %v", time.Since(begun).Round(time.Second), h.unready())
	stop := c.carried(t)
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	t.Run("all-are-restarted", c.restarted)
	for _, r := range rounds(h) {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) { c.round(t, r) })
	}
	t.Run("disks-are-full", c.fullDisks)
	stop()
	stopped = true
	c.prove(t)
}

// rounds are the servers that are taken away, one way after the other.
func rounds(h *house) []round {
	var away []*node
	restart := func(*testing.T) {
		for _, n := range away {
			n.start()
		}
		away = nil
	}
	kill := func(n *node) {
		n.kill()
		away = append(away, n)
	}
	all := []round{
		{"the leader is killed", short(12*time.Second, 60*time.Second), func(t *testing.T) {
			n := h.ring.leader("")
			if n == nil {
				t.Fatal("nobody leads")
			}
			kill(n)
		}, restart},
		{"two are killed", short(8*time.Second, 60*time.Second), func(*testing.T) {
			kill(h.ring.nodes[0])
			kill(h.ring.nodes[1])
		}, restart},
	}
	if !long {
		return all
	}
	return append(all,
		round{"a follower is killed", 60 * time.Second, func(t *testing.T) {
			meta, sessions := h.ring.leader(""), h.ring.leader("KV_"+contract.Sessions.Name)
			for _, n := range h.ring.nodes {
				if n != meta && n != sessions {
					kill(n)
					return
				}
			}
			t.Fatal("everybody leads")
		}, restart},
		round{"two hang", 60 * time.Second, func(*testing.T) {
			h.ring.nodes[1].process.Suspend()
			h.ring.nodes[2].process.Suspend()
		}, func(*testing.T) {
			h.ring.nodes[1].process.Continue()
			h.ring.nodes[2].process.Continue()
		}},
	)
}

// restarted restarts every server in order, as a new version is rolled out: one after the other, each when the cluster is
// whole. Whoever tries a request once more that was answered 503, when the answer says so, notices nothing.
func (c *crowd) restarted(t *testing.T) {
	c.h.ring.awaitWhole(t, time.Minute)
	c.patient.Store(true)
	defer c.patient.Store(false)
	began := time.Now()
	var took []string
	for _, n := range c.h.ring.nodes {
		stopped := n.process.Terminate()
		n.start()
		c.h.ring.awaitWhole(t, time.Minute)
		took = append(took, stopped.Round(10*time.Millisecond).String())
	}
	pass(t, 2*time.Second)
	over := time.Now()
	pass(t, aText) // whoever began by then is through
	all := c.ledger.between(began, over)
	t.Logf("every server restarted in %v, stopped in %s\n  sign-ins          %s\n  requests tried again, once each %d", over.Sub(began).Round(100*time.Millisecond), strings.Join(took, ", "), summary(all), c.again.Load())
	for _, s := range all {
		if s.Refused == unavailable {
			t.Errorf("a sign-in of %v was refused, though its request was tried once more", s.At.Format("15:04:05.000"))
		}
	}
	c.h.ready(t)
}

// round plays one fault, and fails the test unless all is well again in time, by itself.
func (c *crowd) round(t *testing.T, r round) {
	c.h.ring.awaitWhole(t, time.Minute)
	before := time.Now()
	pass(t, 3*time.Second)
	fell := time.Now()
	r.fall(t)
	pass(t, r.lasts)
	unready := c.h.unready()
	// What the dashboard's figure is made of names them.
	for _, n := range c.h.ring.nodes {
		if n.down {
			sut.Eventually(t, backWithin, "the gateway's figures name "+n.name, func() bool { return c.h.lacking(t)[n.name] })
		}
	}
	healed := time.Now()
	r.heal(t)
	back, ok := c.well(t, healed)
	now := time.Now()
	over, alone := recovery(c.ledger.between(fell, healed), fell, c.expected)
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %v\n", r.name, healed.Sub(fell).Round(100*time.Millisecond))
	fmt.Fprintf(&b, "  sign-ins before  %s\n", summary(c.ledger.between(before, fell)))
	fmt.Fprintf(&b, "  sign-ins during  %s\n", summary(c.ledger.between(fell, healed)))
	fmt.Fprintf(&b, "  sign-ins after   %s\n", summary(c.ledger.between(healed, now)))
	fmt.Fprintf(&b, "  visits during    %s\n", summary(c.ledger.visitsBetween(fell, healed)))
	fmt.Fprintf(&b, "  visits after     %s\n", summary(c.ledger.visitsBetween(healed, now)))
	if alone {
		fmt.Fprintf(&b, "  well all the same %v after the fault began\n", over.Round(100*time.Millisecond))
	}
	fmt.Fprintf(&b, "  well again       %v after the fault ended\n", back)
	fmt.Fprintf(&b, "  not ready at the end of the fault: %d of %d services\n", len(unready), len(c.h.services))
	t.Log("\n" + b.String())
	if !ok || back.back > healedWithin {
		t.Errorf("sign-ins do not go well again within %v", healedWithin)
		for _, r := range c.h.services {
			t.Logf("%s:\n%s", r.name, troubles(r.process.Output()))
		}
	}
	c.h.ready(t)
}

// carried begins the load, at a rate at which sign-ins go well while nothing fails, and takes down what is to be expected of
// them later: in the night what is promised, in make test nine of ten within three times what they take now. So a fault
// is held against the product, and a busy machine is not.
func (c *crowd) carried(t *testing.T) (stop func()) {
	t.Helper()
	for rate := perSecond; ; rate /= 2 {
		begun := time.Now()
		stop = c.load(rate)
		pass(t, calm+time.Second)
		stop()
		all := c.ledger.between(begun, time.Now())
		_, ok := recovery(all, begun, promised)
		t.Logf("%d sign-ins a second, while nothing fails: %s", rate, summary(all))
		if !ok && rate > perSecond/4 {
			continue
		}
		c.expected = promised
		if !long {
			c.expected = expectation{within: min(max(time.Second, 3*quantile(durations(all), 99)), aText), slow: 10}
		} else if !ok {
			t.Skipf("this machine does not carry %d sign-ins a second even while nothing fails: what it does when something fails says nothing", rate)
		}
		return c.load(rate)
	}
}

// pace is when sign-ins went well again: as is expected here, and as is promised.
type pace struct {
	back, promised time.Duration
	strictly       bool
	expected       expectation
}

func (p pace) String() string {
	said := fmt.Sprint("not yet ", promised)
	if p.strictly {
		said = fmt.Sprintf("%v %s", p.promised.Round(100*time.Millisecond), promised)
	}
	if p.expected == promised {
		return said
	}
	return fmt.Sprintf("%s; %v %s", said, p.back.Round(100*time.Millisecond), p.expected)
}

// well waits until sign-ins go well again after a moment, as is expected here, and tells how long that took.
func (c *crowd) well(t *testing.T, since time.Time) (p pace, ok bool) {
	p.expected = c.expected
	for late := since.Add(backWithin + calm + aText); !ok && time.Now().Before(late); {
		pass(t, 200*time.Millisecond)
		// Whoever began lately may not be through.
		through := c.ledger.between(since, time.Now().Add(-max(2*time.Second, c.expected.within)))
		p.back, ok = recovery(through, since, c.expected)
		p.promised, p.strictly = recovery(through, since, promised)
	}
	return p, ok
}

// pass lets time go by.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

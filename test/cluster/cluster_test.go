package cluster

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

// kept is how many streams and buckets there are.
var kept = len(contract.Streams()) + len(contract.Buckets())

// long tells whether faults take as long as they do in the night.
var long = os.Getenv("FAULT_LONG") != ""

const (
	// perSecond is how many sign-ins begin in a second.
	perSecond = 10
	contacts  = 200
	// backWithin is how soon after a fault has ended sign-ins must go well again, on a machine that does other work too.
	backWithin = 30 * time.Second
)

// short is a time of make test, or its long form.
func short(now, night time.Duration) time.Duration {
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
	h := newHouse(t, contacts)
	t.Logf("everything runs after %v", time.Since(begun).Round(time.Second))
	c := newCrowd(h, contacts)
	t.Logf("set up in %v; not ready: %v", time.Since(begun).Round(time.Second), h.unready())
	stop := c.load(perSecond)
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
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
	sessions := "KV_" + contract.Sessions.Name
	rounds := []round{
		{"a follower is killed", short(4*time.Second, 30*time.Second), func(t *testing.T) {
			leader := h.ring.leader(sessions)
			for _, n := range h.ring.nodes {
				if n != leader && n != h.ring.leader("") {
					kill(n)
					return
				}
			}
			t.Fatal("no follower")
		}, restart},
		{"the leader is killed", short(4*time.Second, 30*time.Second), func(t *testing.T) {
			n := h.ring.leader("")
			if n == nil {
				t.Fatal("no leader")
			}
			kill(n)
		}, restart},
		{"two are killed", short(8*time.Second, 60*time.Second), func(*testing.T) {
			kill(h.ring.nodes[0])
			kill(h.ring.nodes[1])
		}, restart},
		{"two hang", short(8*time.Second, 60*time.Second), func(*testing.T) {
			h.ring.nodes[1].process.Suspend()
			h.ring.nodes[2].process.Suspend()
		}, func(*testing.T) {
			h.ring.nodes[1].process.Continue()
			h.ring.nodes[2].process.Continue()
		}},
	}
	for _, r := range rounds {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			h.ring.awaitWhole(t, time.Minute)
			before := time.Now()
			pass(t, 3*time.Second)
			fell := time.Now()
			r.fall(t)
			pass(t, r.lasts)
			t.Logf("unready at the end of the fault: %v", h.unready())
			healed := time.Now()
			r.heal(t)
			back, ok := time.Duration(0), false
			for late := healed.Add(backWithin + calm + aText); !ok && time.Now().Before(late); {
				pass(t, 200*time.Millisecond)
				back, ok = recovery(c.ledger.between(healed, time.Now().Add(-2*time.Second)), healed)
			}
			now := time.Now()
			var b strings.Builder
			fmt.Fprintf(&b, "%s for %v\n", r.name, healed.Sub(fell).Round(100*time.Millisecond))
			fmt.Fprintf(&b, "  sign-ins before  %s\n", summary(c.ledger.between(before, fell)))
			fmt.Fprintf(&b, "  sign-ins during  %s\n", summary(c.ledger.between(fell, healed)))
			fmt.Fprintf(&b, "  sign-ins after   %s\n", summary(c.ledger.between(healed, now)))
			fmt.Fprintf(&b, "  visits during    %s\n", summary(c.ledger.visitsBetween(fell, healed)))
			fmt.Fprintf(&b, "  visits after     %s\n", summary(c.ledger.visitsBetween(healed, now)))
			fmt.Fprintf(&b, "  all well again   %v after the fault ended\n", back.Round(100*time.Millisecond))
			t.Log("\n" + b.String())
			if !ok {
				t.Errorf("sign-ins do not go well again within %v", backWithin)
			}
		})
	}
	stop()
	stopped = true
	c.prove(t)
}

// pass lets time go by.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

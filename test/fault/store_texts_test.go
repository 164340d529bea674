package fault

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestI2I3TheStoreAndItsNetwork has texts asked for and sent while the way of the dispatchers to their store fails. Every
// challenge ends once, and no text goes out more often than its attempts were reserved and their outcomes unknown.
func TestI2I3TheStoreAndItsNetwork(t *testing.T) {
	t.Parallel()
	var f *front
	h := newHouseBehind(t, 2, nil, func(store string) string {
		if f == nil {
			f = startFront(t, store)
		}
		return f.at
	})
	h.plans.others(slowly(50 * time.Millisecond))
	var asking sync.WaitGroup
	some := func(n int) {
		for range n {
			asking.Go(func() { h.person().askFor(t, newID(), patience) })
			h.goOn(40 * time.Millisecond)
		}
	}
	var notes []string
	f.cutReplies(either(6, 40))
	some(either(40, 250))
	asking.Wait()
	f.cutReplies(0)
	for _, fall := range []struct {
		name string
		away func()
	}{
		{"gone", func() { f.turn(refusing) }},
		{"slow by 3 s", func() { f.delay(3 * time.Second) }},
	} {
		some(either(8, 30)) // some are in the middle of it
		from := time.Now()
		fall.away()
		some(4)
		h.goOn(either(8*time.Second, 60*time.Second))
		f.turn(open)
		f.delay(0)
		for _, d := range h.dispatchers { // what they knew they could not write down
			h.book.happens(Incident{By: d.current().name, From: from, To: time.Now()})
		}
		asking.Wait()
		notes = append(notes, fmt.Sprintf("%-34s %v", "store "+fall.name, time.Since(from).Round(time.Second)))
	}
	notes = append(notes, fmt.Sprintf("%-34s %s", "replies cut off after the write", counts(f.cuts())))
	h.proves(h.settle(leaseOver), notes...)
}

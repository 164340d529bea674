package fault

import (
	"fmt"
	"testing"
	"time"
)

// caught is a trap and who is in it.
type caught struct {
	*trap
	by *life
}

// TestI3PausedPastItsLease stops a dispatcher in the middle of its work for longer than the lease (20 s) and the wait for
// its acknowledgement (30 s). The other takes over; then the first goes on where it was.
func TestI3PausedPastItsLease(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, nil)
	from := time.Now()
	catches := make(chan caught, 100)
	for n := range 48 {
		id := newID()
		trap := newTrap(id, []stage{callStage, answeredStage, reservedStage}[n%3])
		h.traps.add(trap)
		t.Cleanup(trap.drop)
		go func() {
			select {
			case l := <-trap.held:
				catches <- caught{trap, l}
			case <-t.Context().Done():
			}
		}()
		go h.person().ask(t, id)
	}
	// Who is caught first is the one to stop; the other goes on. Not for long: nobody is held who would give up by himself.
	var victim *life
	held, counts := []*trap{}, map[stage]int{}
	enough := time.After(springs)
	for full := false; !full; {
		select {
		case c := <-catches:
			if victim == nil {
				victim, enough = c.by, time.After(time.Second)
			}
			if c.by != victim {
				c.release()
				continue
			}
			held = append(held, c.trap)
			counts[c.stage]++
		case <-enough:
			full = true
		}
	}
	if victim == nil {
		t.Fatal("nobody was caught")
	}
	p := victim.process()
	p.Suspend()
	// Half of what is held is let go now, and found when the process goes on; the rest then.
	for i, trap := range held {
		if i%2 == 0 {
			trap.release()
		}
	}
	over := time.After(35 * time.Second)
	for waiting := true; waiting; {
		select {
		case c := <-catches:
			if c.by != victim {
				c.release()
			}
		case <-over:
			waiting = false
		}
	}
	before := h.settle(leaseOver).Records
	for _, trap := range held {
		trap.release()
	}
	p.Continue()
	h.book.happens(Incident{By: victim.name, From: from, To: time.Now()})
	h.goOn(12 * time.Second) // as long as a process insists on what it was about to write
	if !p.Running() {
		t.Errorf("the process did not survive its pause:\n%s", p.Output())
	}
	l := h.settle(leaseOver)
	for id, r := range before {
		if !r.ended() || l.Records[id].State != r.State {
			t.Errorf("%s was %s at the end of the pause, and is %s after it", id, r.State, l.Records[id].State)
		}
	}
	h.proves(l,
		fmt.Sprintf("%-34s %v", "paused for", time.Since(from).Round(time.Second)),
		fmt.Sprintf("%-34s between reservation and call: %d, during the call: %d, after the answer: %d", "paused in", counts[reservedStage], counts[callStage], counts[answeredStage]))
}

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// rounds is how often a dispatcher is killed at each stage.
func rounds(tb testing.TB) int {
	tb.Helper()
	s := os.Getenv("FAULT_ROUNDS")
	if s == "" {
		return 50
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		tb.Fatalf("FAULT_ROUNDS=%s is no number of rounds", s)
	}
	return n
}

// moments are the four stages of the promise, each with the ways in which it is caught.
var moments = []struct {
	name   string
	stages []stage
}{
	{"before the call", []stage{reservedStage, unreadStage}},
	{"during the call", []stage{callStage}},
	{"after the answer", []stage{answeredStage}},
	{"before the ack", []stage{writtenStage, ackStage}},
}

const (
	// springs is how long a trap waits: longer than a job that was lost with a process takes to be found.
	springs = 20 * time.Second
	// leaseOver is how long it takes from a kill to the end of what it left behind: the lease, a sweep, and time to do it.
	leaseOver = 75 * time.Second
)

// round lets somebody ask for a text and kills who works on it, at that stage. It returns the process that died, or nil.
func (h *house) round(tb testing.TB, at stage) *life {
	tb.Helper()
	id := newID()
	t := newTrap(id, at)
	h.traps.add(t)
	defer h.traps.remove(t)
	defer t.drop()
	h.person().ask(tb, id)
	wait := time.NewTimer(springs)
	defer wait.Stop()
	select {
	case l := <-t.held:
		l.kill()
		return l
	case <-wait.C:
		return nil
	}
}

// TestI2I3KilledAndTakenOver kills one of two dispatchers at every stage; the other goes on, and takes over.
func TestI2I3KilledAndTakenOver(t *testing.T) {
	t.Parallel()
	killed(t, 2, (rounds(t)+1)/2)
}

// TestI2I3KilledAndRestarted kills the only dispatcher at every stage and starts it again.
func TestI2I3KilledAndRestarted(t *testing.T) {
	t.Parallel()
	killed(t, 1, rounds(t)-(rounds(t)+1)/2)
}

func killed(t *testing.T, dispatchers, each int) {
	h := newHouse(t, dispatchers, nil)
	var starting sync.WaitGroup
	began := time.Now()
	var notes []string
	for _, m := range moments {
		kills, missed := 0, 0
		for n := 0; kills < each && missed < 3 && !t.Failed(); n++ {
			l := h.round(t, m.stages[n%len(m.stages)])
			if l == nil {
				missed++
				continue
			}
			kills++
			starting.Wait() // the one before; while this one starts, the other has the next round to itself
			starting.Go(l.d.start)
			if dispatchers == 1 {
				starting.Wait()
			}
		}
		if kills < each {
			t.Errorf("%s: %d kills; want %d", m.name, kills, each)
		}
		notes = append(notes, fmt.Sprintf("%-34s %d kills, %d missed", m.name, kills, missed))
	}
	starting.Wait()
	notes = append(notes, fmt.Sprintf("%-34s %v", "rounds took", time.Since(began).Round(time.Millisecond)))
	h.proves(h.settle(leaseOver), notes...)
}

// TestI2I3KilledAnywhere kills dispatchers at moments that nobody has chosen, while people ask for texts.
func TestI2I3KilledAnywhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, nil)
	h.plans.others(func(ctx context.Context) Answer { return slowly(rand.N(80 * time.Millisecond))(ctx) })
	var asking, killing sync.WaitGroup
	over := make(chan struct{})
	kills := rounds(t)
	killing.Go(func() {
		defer close(over)
		for n := range kills {
			h.goOn(200*time.Millisecond + rand.N(100*time.Millisecond))
			d := h.dispatchers[n%2]
			d.current().kill()
			d.start()
		}
	})
	slots := make(chan struct{}, 6)
	for open := true; open; {
		slots <- struct{}{}
		asking.Go(func() {
			h.person().ask(t, newID())
			<-slots
		})
		select {
		case <-over:
			open = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	asking.Wait()
	killing.Wait()
	h.proves(h.settle(leaseOver))
}

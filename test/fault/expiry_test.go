package fault

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// TestI2I4NobodyTypes lets codes expire: texts that were never handed over end as expired and are not sent any more, and
// what a process had not told when it was killed is told by then. Codes live for five minutes of the host's clock.
func TestI2I4NobodyTypes(t *testing.T) {
	if os.Getenv("FAULT_LONG") == "" {
		t.Skip("takes six minutes: make fault runs it")
	}
	t.Parallel()
	h := newHouse(t, 2, nil)
	h.patient = true
	var starting sync.WaitGroup
	for range 10 {
		if l := h.round(t, writtenStage); l != nil {
			starting.Wait()
			starting.Go(l.d.start)
		}
	}
	starting.Wait()
	for n := range 20 {
		id := newID()
		if n%2 == 0 {
			h.plans.set(id, always(Throttled))
		} else {
			h.plans.set(id, always(Error503), always(Throttled))
		}
		h.person().ask(t, id)
	}
	const codeLife = 5 * time.Minute
	from := time.Now()
	l := h.settle(codeLife + overdue)
	h.goOn(time.Until(from.Add(codeLife + overdue))) // long enough for a text that comes too late
	expired := 0
	for _, r := range l.Records {
		if r.State == string(Expired) {
			expired++
		}
	}
	if expired != 20 {
		t.Errorf("%d challenges expired; want 20", expired)
	}
	h.proves(h.settle(leaseOver), fmt.Sprintf("%-34s %d", "expired unsent", expired))
}

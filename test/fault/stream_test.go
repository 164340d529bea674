package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/bus/bustest"
	"sallyport/pkg/contract"
)

// slowly accepts after a while.
func slowly(d time.Duration) plan {
	return func(ctx context.Context) Answer {
		wait := time.NewTimer(d)
		defer wait.Stop()
		select {
		case <-ctx.Done():
			return Cut
		case <-wait.C:
			return Accepted
		}
	}
}

// TestI2StreamDeleted deletes the stream of jobs three times while texts are asked for faster than they are sent: every
// job in it is lost, and not one challenge.
func TestI2StreamDeleted(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, map[string]string{"SMS_WORKERS": "4"})
	h.plans.others(slowly(300 * time.Millisecond))
	var asking sync.WaitGroup
	var lost uint64
	const challenges = 150
	for n := range challenges {
		if n%(challenges/3) == challenges/3-1 {
			lost += bustest.DeleteStream(t, h.natsURL(), h.password(contract.SMSDispatcher), contract.StreamJobs)
		}
		asking.Go(func() { h.person().ask(t, newID()) })
		if n%10 == 9 {
			asking.Wait()
		}
	}
	asking.Wait()
	if lost == 0 {
		t.Error("no job was in the stream when it was deleted: nothing was tried")
	}
	h.proves(h.settle(leaseOver), fmt.Sprintf("%-34s %d", "jobs lost with the stream", lost))
}

// TestI3FiveTimesOutOfOrder publishes every job five times, shuffled, to two dispatchers at once; some of the challenges
// were superseded before.
func TestI3FiveTimesOutOfOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, nil)
	h.plans.others(slowly(30 * time.Millisecond))
	ctx := t.Context()
	var letters []func()
	stale := map[string]bool{}
	for n := range 120 {
		p, id := h.person(), newID()
		rep, err := p.open(ctx, id, contract.ForEnrolment)
		if err != nil {
			t.Fatal(err)
		}
		if n%6 == 0 {
			stale[id] = true
			if err := p.supersede(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		for copies := range 5 {
			letters = append(letters, func() { p.publish(ctx, id, fmt.Sprintf("requested-%s-%d", id, copies), rep.ExpiresAt) })
		}
	}
	rand.Shuffle(len(letters), func(i, j int) { letters[i], letters[j] = letters[j], letters[i] })
	var publishing sync.WaitGroup
	next := make(chan func())
	for range 16 {
		publishing.Go(func() {
			for send := range next {
				send()
			}
		})
	}
	for _, send := range letters {
		next <- send
	}
	close(next)
	publishing.Wait()
	l := h.settle(leaseOver)
	for _, told := range l.Told {
		want := 1
		if stale[told.Challenge] {
			want = 0
		}
		if n := len(h.book.handed(told.Challenge)); n != want {
			t.Errorf("%s was handed over %d times; want %d", told.Challenge, n, want)
		}
	}
	h.proves(l, fmt.Sprintf("%-34s %d for %d challenges, %d of them superseded", "jobs published", len(letters), len(l.Told), len(stale)))
}

package fault

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestI4NothingStale ends challenges while their texts are under way or wait for another try: nothing follows.
func TestI4NothingStale(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, nil)
	verify := func(ctx context.Context, p *person, id string) error {
		return p.confirm(ctx, id, h.book.handed(id)[0].Code) // it is on the phone, whatever the caller hears
	}
	supersede := func(ctx context.Context, p *person, id string) error { return p.supersede(ctx, id) }
	var asking sync.WaitGroup
	slots := make(chan struct{}, 4)
	want := map[string]string{}
	requests := map[string]int{}
	for _, c := range []struct {
		name     string
		finish   func(context.Context, *person, string) error
		first    Answer // what comes before
		then     Answer // the answer to the request in which the challenge is ended
		outcome  string
		requests int
	}{
		{"verified during a call that fails", verify, "", Error500, "sent", 1},
		{"verified during a call that is cut", verify, "", Reset, "sent", 1},
		{"verified during a second call", verify, Error503, Error500, "sent", 2},
		{"superseded during a call that fails", supersede, "", Error500, "superseded", 1},
		{"superseded during a call that is cut", supersede, "", Reset, "superseded", 1},
		{"superseded while it waits to be tried again", supersede, Throttled, Throttled, "superseded", 2},
	} {
		for range 10 {
			p, id := h.person(), newID()
			want[id], requests[id] = c.outcome, c.requests
			last := func(context.Context) Answer {
				ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
				defer cancel()
				if err := c.finish(ctx, p, id); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				return c.then
			}
			plans := []plan{last, always(Accepted)}
			if c.first != "" {
				plans = append([]plan{always(c.first)}, plans...)
			}
			h.plans.set(id, plans...)
			slots <- struct{}{}
			asking.Go(func() {
				defer func() { <-slots }()
				h.person().ask(t, newID()) // all is well with most: no breaker opens
				p.ask(t, id)
			})
		}
	}
	asking.Wait()
	l := h.settle(leaseOver)
	for id, state := range want {
		n := 0
		for _, r := range l.Handoffs {
			if r.Challenge == id {
				n++
			}
		}
		if l.Records[id].State != state || n != requests[id] {
			t.Errorf("%s is %s after %d requests; want %s after %d\n%s", id, l.Records[id].State, n, state, requests[id], l.story(id))
		}
	}
	h.proves(l, fmt.Sprintf("%-34s %d", "ended while under way", len(want)))
}

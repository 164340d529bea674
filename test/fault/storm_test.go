package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// weather is how an endpoint in trouble answers: of a hundred requests, so many each.
var weather = []struct {
	answer Answer
	of100  int
}{
	{Accepted, 40}, {Throttled, 14}, {Error500, 10}, {Error503, 8}, {Hang, 5}, {Reset, 10}, {OptedOut, 5}, {Credentials, 4}, {SpendLimit, 4},
}

func stormy(context.Context) Answer {
	n := rand.IntN(100)
	for _, w := range weather {
		if n -= w.of100; n < 0 {
			return w.answer
		}
	}
	return Accepted
}

// TestI2I3I4Storm sends 300 people's texts through an endpoint that fails in every way it can, while they type their
// codes, start again and ask for another text; then the weather clears.
func TestI2I3I4Storm(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, map[string]string{"SMS_SEND_TIMEOUT": "1s"})
	var storm atomic.Bool
	storm.Store(true)
	answer := func(ctx context.Context) Answer {
		if storm.Load() {
			return stormy(ctx)
		}
		return Accepted
	}
	h.plans.others(answer)
	var all sync.WaitGroup
	slots := make(chan struct{}, 12)
	for n := range 300 {
		p, id := h.person(), newID()
		if n%20 == 0 {
			h.plans.set(id, always(Throttled)) // it waits for as long as it may
		}
		slots <- struct{}{}
		all.Go(func() {
			rep := p.ask(t, id)
			<-slots
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			switch {
			case n%20 == 0:
				h.another(ctx, t, p, id, rep)
			case n%3 == 1:
				if code := h.arrival(ctx, id); code != "" {
					if err := p.confirm(ctx, id, code); err != nil {
						t.Errorf("the code of %s: %v", id, err)
					}
				}
			case n%6 == 2:
				if err := p.supersede(ctx, id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	clears := time.After(40 * time.Second)
	select {
	case <-clears:
	case <-t.Context().Done():
	}
	storm.Store(false)
	all.Wait()
	h.proves(h.settle(2*time.Minute), fmt.Sprintf("%-34s %s", "paused now", strings.Join(h.paused(), " ")))
}

// another asks for a second text as soon as that is allowed.
func (h *house) another(ctx context.Context, tb testing.TB, p *person, id string, rep contract.SMSOpenReply) {
	tb.Helper()
	wait := time.NewTimer(time.Until(rep.ResendAt) + 100*time.Millisecond)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return
	case <-wait.C:
	}
	if err := p.resend(ctx, id, newID()); err != nil {
		tb.Errorf("another text after %s: %v", id, err)
	}
}

// arrival waits for a text and returns its code; "" if none came.
func (h *house) arrival(ctx context.Context, id string) string {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, r := range h.book.handed(id) {
			if r.Answer.handed() {
				return r.Code
			}
		}
		select {
		case <-ctx.Done():
			return ""
		case <-tick.C:
		}
	}
}

// paused is the metric of each dispatcher that says whether its queue rests.
func (h *house) paused() []string {
	h.tb.Helper()
	var out []string
	for _, d := range h.dispatchers {
		a := sut.NewClient(h.tb, d.ops).Do(http.MethodGet, "/metrics", "", nil)
		for line := range strings.Lines(string(a.Body)) {
			if strings.HasPrefix(line, "sallyport_sms_queue_paused") {
				out = append(out, strings.TrimSpace(line[strings.LastIndex(line, " "):]))
			}
		}
	}
	return out
}

// TestI2RefusedForGood has the carrier refuse numbers for good: each is asked about once, and its challenge fails at once.
func TestI2RefusedForGood(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, nil)
	h.plans.others(always(OptedOut))
	for range 20 {
		h.person().ask(t, newID())
	}
	l := h.settle(20 * time.Second)
	asked := map[string]int{}
	for _, r := range l.Handoffs {
		asked[r.Challenge]++
	}
	for _, told := range l.Told {
		r := l.Records[told.Challenge]
		if r.State != string(contract.OutcomeFailed) || r.Reason != contract.ReasonOptedOut || asked[told.Challenge] != 1 || r.EndedAt.Sub(told.At) > 5*time.Second {
			t.Errorf("%s is %s (%s) after %d requests, %v after it was told; want failed (opted_out) after one, at once",
				told.Challenge, r.State, r.Reason, asked[told.Challenge], r.EndedAt.Sub(told.At))
		}
	}
	h.proves(l)
}

// TestI3OurOwnFault has the account refused, for its credentials and for its spend limit: the queue rests and says so, no
// attempt is burnt, and it goes on by itself.
func TestI3OurOwnFault(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, nil)
	for _, refusal := range []Answer{Credentials, SpendLimit} {
		h.plans.others(always(refusal))
		for range 20 {
			h.person().ask(t, newID())
		}
		sut.Eventually(t, 20*time.Second, "both queues rest: "+string(refusal), func() bool { return strings.Join(h.paused(), " ") == "1 1" })
		h.plans.others(nil)
		l := h.settle(leaseOver)
		for _, told := range l.Told {
			if r := l.Records[told.Challenge]; r.State != string(contract.OutcomeSent) || r.Attempts != 1 || r.Ambiguous != 0 {
				t.Errorf("%s is %s after %d attempts, %d of them ambiguous; want sent after one", told.Challenge, r.State, r.Attempts, r.Ambiguous)
			}
		}
		// Who has nothing more to send finds out with the next text.
		sut.Eventually(t, time.Minute, "both queues go on: "+string(refusal), func() bool {
			if strings.Join(h.paused(), " ") == "0 0" {
				return true
			}
			h.person().ask(t, newID())
			return false
		})
	}
	h.proves(h.settle(leaseOver))
}

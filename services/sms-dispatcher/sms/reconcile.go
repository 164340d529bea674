package sms

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

const (
	// grace is how long a challenge belongs to the job that was published for it. After that it is the reconciler's, and
	// a job that comes later is laid aside.
	grace = 10 * time.Second
	// tellAgain is how long after its outcome a challenge whose code was not typed is looked at: most codes are typed by
	// then, and it is told again only where they were not.
	tellAgain = 30 * time.Second
	// sweepEvery is how often the reconciler looks, in real time, when there is little to do.
	sweepEvery = 2 * time.Second
	// keepFor is how long a challenge that is over stays in the list of deliveries.
	keepFor = 90 * 24 * time.Hour
)

// reconcile does what is due: it ends challenges that nobody works on, so that the stream may lose every job without
// losing a challenge; it erases codes that have expired, tells outcomes that were not told, and removes challenges of
// long ago. It begins with the youngest: of a backlog that grew while nothing could be sent, those are the codes that
// somebody still waits for. The oldest have their turn beside them, a page at a time.
func (d *dispatcher) reconcile(ctx context.Context) {
	s := sweep{d: d, slots: make(chan struct{}, d.settings.Workers), page: max(64, 4*d.settings.Workers)}
	defer s.work.Wait()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		more, err := s.once(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("reconciler failed", slog.Any("error", err))
		}
		if more && err == nil && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep is the reconciler's work in hand.
type sweep struct {
	d     *dispatcher
	slots chan struct{}
	page  int
	work  sync.WaitGroup
}

// once looks at what is due now, and returns true if there is more that can be done at once.
func (s *sweep) once(ctx context.Context) (more bool, err error) {
	now := s.d.now()
	young, err := s.d.records.due(ctx, now, s.page, true)
	if err != nil {
		return false, err
	}
	all := young
	if len(young) == s.page {
		old, err := s.d.records.due(ctx, now, s.page, false)
		if err != nil {
			return false, err
		}
		all = append(all, old...)
	}
	s.measure(all, now)
	// Replicas look at the same page: among as many as are sent at once, each takes them as they come.
	for some := range slices.Chunk(young, s.d.settings.Workers) {
		rand.Shuffle(len(some), func(i, k int) { some[i], some[k] = some[k], some[i] }) //nolint:gosec // spreading load needs no secret
	}
	begun := 0
	for _, c := range all {
		if !s.d.sendable(c, now) || !s.d.hands.take(c.ID) {
			continue
		}
		select {
		case <-ctx.Done():
			s.d.hands.give(c.ID)
			return false, ctx.Err()
		case s.slots <- struct{}{}:
		}
		begun++
		s.work.Go(func() {
			defer func() { <-s.slots; s.d.hands.give(c.ID) }()
			if err := s.d.look(ctx, c); err != nil && ctx.Err() == nil {
				s.d.log.Warn("challenge left over", slog.String("challenge", c.ID), slog.Any("error", err))
			}
		})
	}
	return len(young) == s.page && begun > 0, nil
}

// measure shows how much waits, and how long the oldest of it has.
func (s *sweep) measure(due []challenge, now time.Time) {
	waiting, oldest := 0, time.Duration(0)
	for _, c := range due {
		if step, _ := next(c, "", now); step == stepSend {
			waiting++
			oldest = max(oldest, now.Sub(c.CreatedAt))
		}
	}
	s.d.gate.show(waiting == 0 && s.d.hands.none())
	s.d.metrics.waiting.saw(float64(waiting))
	s.d.metrics.oldest.saw(oldest.Seconds())
}

// sendable is false for what only needs a call of SNS while no call can be made: it is looked at again later.
func (d *dispatcher) sendable(c challenge, now time.Time) bool {
	step, _ := next(c, "", now)
	return step != stepSend || d.gate.open()
}

// look does what a challenge is due for.
func (d *dispatcher) look(ctx context.Context, c challenge) error {
	now := d.now()
	what, end := next(c, "", now)
	switch {
	case what == stepSend:
		ctx, span := d.trace.Root(ctx, "sms left over")
		err := d.dispatch(ctx, c.account(), c.ID)
		span.End(cmp.Or(string(contract.CodeOf(err)), trace.OK), err != nil)
		return err
	case what == stepEnd:
		_, err := d.end(ctx, c, end, now)
		return err
	case !c.ended(): // in good hands
		return d.records.lookAgain(ctx, c, c.LeaseUntil)
	case c.Settled:
		return d.records.challenges.Delete(ctx, c.ID) // of long ago
	}
	// The outcome was told when it was written, or the process died just then: told once more, under the same id, it is
	// stored once.
	if err := d.announce(ctx, factOf(c)); err != nil {
		return err
	}
	if c.Closed == stillOpen {
		if now.Before(c.ExpiresAt) {
			return d.records.lookAgain(ctx, c, c.ExpiresAt)
		}
		c.Closed = closedExpired
	}
	settled, err := d.records.settle(ctx, c)
	if err != nil || !settled {
		return err // changed meanwhile: the next sweep sees it
	}
	return d.settle(ctx, c)
}

// factOf is the outcome of a challenge, as it is told.
func factOf(c challenge) contract.ChallengeFact {
	return contract.ChallengeFact{
		Account: c.account(), Challenge: c.ID, Outcome: contract.Outcome(c.State), Reason: c.Reason, Attempts: c.Attempts, At: c.EndedAt.UTC(),
	}
}

// hands are the challenges that this process works on, so that its job and its reconciler do not work on the same one.
// What keeps replicas apart is the lease in the record.
type hands struct {
	mu  sync.Mutex
	ids map[string]struct{}
}

func (h *hands) take(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.ids[id]; ok {
		return false
	}
	if h.ids == nil {
		h.ids = make(map[string]struct{})
	}
	h.ids[id] = struct{}{}
	return true
}

func (h *hands) none() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids) == 0
}

func (h *hands) give(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ids, id)
}

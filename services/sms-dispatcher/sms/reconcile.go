package sms

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sallyport/pkg/store"
)

const (
	// grace is how long a new challenge is left to the job that was published for it.
	grace = 10 * time.Second
	// sweepEvery is how often the reconciler looks, in real time.
	sweepEvery = 2 * time.Second
	// sweepMost bounds one sweep; the rest comes with the next.
	sweepMost = 500
	// keepFor is how long a challenge that is over stays in the list of deliveries.
	keepFor = 90 * 24 * time.Hour
	// forgetEvery is after how many sweeps old challenges are looked for; while there are more of them than forgetMost,
	// after each.
	forgetEvery = 30
	forgetMost  = 100
)

// reconcile finds challenges that nobody works on, and ends them: the stream may lose every job without losing a
// challenge. It also erases codes that have expired, and removes challenges of long ago.
func (d *dispatcher) reconcile(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, d.settings.Workers)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	more := false
	for n := 0; ; n++ {
		if err := d.sweep(ctx, &work, slots); err != nil && ctx.Err() == nil {
			d.log.Warn("reconciler failed", slog.Any("error", err))
		}
		if more || n%forgetEvery == 0 {
			var err error
			if more, err = d.forgetOld(ctx); err != nil && ctx.Err() == nil {
				d.log.Warn("old challenges not removed", slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *dispatcher) sweep(ctx context.Context, work *sync.WaitGroup, slots chan struct{}) error {
	notes, err := d.records.due(ctx, d.now(), sweepMost)
	if err != nil {
		return err
	}
	waiting := 0
	for _, n := range notes {
		idle, err := d.look(ctx, n)
		if err != nil {
			return err
		}
		if idle {
			waiting++
		}
		if !idle || !d.gate.open() {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			continue // enough in hand; the next sweep finds it again
		}
		work.Go(func() {
			defer func() { <-slots }()
			if err := d.dispatch(ctx, n.ID); err != nil && ctx.Err() == nil {
				d.log.Warn("challenge left over", slog.String("challenge", n.ID), slog.Any("error", err))
			}
		})
	}
	d.metrics.waiting.Set(float64(waiting))
	return nil
}

// look does what a note is due for. It returns true if the challenge should be sent and nobody is at it.
func (d *dispatcher) look(ctx context.Context, n openNote) (idle bool, err error) {
	c, err := d.records.challenges.Get(ctx, n.ID)
	if errors.Is(err, store.ErrNotFound) {
		if n.Missing > 0 {
			return false, d.records.notes.Delete(ctx, n.ID) // it was never written
		}
		return false, d.records.lookAgain(ctx, n.ID, d.now().Add(grace), 1)
	}
	if err != nil {
		return false, err
	}
	now := d.now()
	what, end := next(c, "", now)
	switch {
	case what == stepSend:
		return true, nil
	case what == stepEnd:
		_, err = d.end(ctx, c, end, now)
		return false, err
	case !c.ended(): // in good hands
		return false, d.records.lookAgain(ctx, n.ID, c.LeaseUntil, 0)
	case c.Closed != stillOpen:
		return false, d.records.notes.Delete(ctx, n.ID)
	case now.Before(c.ExpiresAt):
		return false, d.records.lookAgain(ctx, n.ID, c.ExpiresAt, 0)
	default:
		if err := d.records.closeCode(ctx, n.ID, closedExpired); err != nil {
			return false, err
		}
		d.settled(ctx, c)
		return false, d.records.notes.Delete(ctx, n.ID)
	}
}

// forgetOld removes some of the challenges that are older than lists go back, the oldest first, so that the collection
// does not grow for ever. It returns true if there may be more. One that is not over, or has something to tell, stays
// whatever its age: its note, or its letter's, brings somebody who ends it.
func (d *dispatcher) forgetOld(ctx context.Context) (more bool, err error) {
	old, err := d.records.old(ctx, orderFrom(d.now().Add(-keepFor)), forgetMost)
	if err != nil {
		return false, err
	}
	removed := 0
	for _, c := range old {
		if !c.over() {
			continue
		}
		if err := d.records.challenges.Delete(ctx, c.ID); err != nil {
			return false, err
		}
		removed++
	}
	return removed > 0 && len(old) == forgetMost, nil
}

package sms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/store"
	"sallyport/pkg/trace"
)

var (
	errAgain     = errors.New("the message was not handed over yet")
	errUnwritten = errors.New("what became of a call was not written")
	errNoRecord  = errors.New("no such challenge")
	errNotOpened = errors.New("the challenge's sealed values do not open")
)

// requested consumes the job of a challenge. The record decides what is done: a job without its record sends nothing,
// and of any number of deliveries, in any order, one works. A job that has waited too long is laid aside unread: its
// record is due by now, and the reconciler takes the youngest first, while this queue is as old as its oldest job.
func (d *dispatcher) requested(ctx context.Context, ev bus.Delivery[contract.ChallengeRequest]) error {
	if why := tooLate(ev.Message.ExpiresAt, d.now()); why != "" {
		d.metrics.laidAside.WithLabelValues(string(why)).Inc()
		return nil
	}
	if !d.hands.take(ev.Message.Challenge) {
		return nil // the reconciler, or another delivery of it, has it in hand
	}
	defer d.hands.give(ev.Message.Challenge)
	stop := beat(ctx, ev.InProgress)
	defer stop()
	err := d.dispatch(ctx, ev.Message.Account, ev.Message.Challenge)
	if errors.Is(err, errNotOpened) || errors.Is(err, errNoRecord) {
		return bus.Dead(err)
	}
	return err
}

// beat tells the stream that the work goes on, until stop is called.
func beat(ctx context.Context, inProgress func() error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(bus.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = inProgress() // a lost one only means that somebody else looks at the record, too
			}
		}
	}()
	return cancel
}

// dispatch works on a challenge until it has its outcome, is in somebody else's hands, or ctx ends.
func (d *dispatcher) dispatch(ctx context.Context, who contract.Account, id string) error {
	worker := bus.NewID()
	fresh := true
	err := backoff.Retry(func() error {
		done, err := d.attempt(ctx, who, id, worker, fresh)
		fresh = false
		switch {
		case contract.CodeOf(err) == contract.Unavailable:
			// The store was away before the call. An attempt that it may have reserved is taken over as ambiguous.
			return err
		case err != nil:
			return backoff.Permanent(err)
		case !done:
			return errAgain
		default:
			return nil
		}
	}, backoff.WithContext(&fullJitter{}, ctx))
	if err != nil && ctx.Err() != nil {
		// Stopped between two attempts: whoever starts next need not wait for the lease.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), store.OpTimeout)
		defer cancel()
		return errors.Join(err, d.records.release(bound, id, worker, d.now()))
	}
	return err
}

// attempt makes one call of SNS, if there is one to make; done means that there is nothing left to do for this worker.
// A fresh challenge is reserved without being read first: nearly all of them are sent by their first attempt.
func (d *dispatcher) attempt(ctx context.Context, who contract.Account, id, worker string, fresh bool) (done bool, err error) {
	for {
		now := d.now()
		c := challenge{ID: id, Portal: who.Portal, User: who.User, State: queued, ExpiresAt: now.Add(codeLife)}
		if !fresh {
			if c, err = d.records.challenges.Get(ctx, id); errors.Is(err, store.ErrNotFound) || err == nil && c.account() != who {
				return false, errNoRecord
			} else if err != nil {
				return false, err
			}
		}
		what, end := next(c, worker, now)
		switch what {
		case stepNothing:
			return true, nil
		case stepEnd:
			if ended, err := d.end(ctx, c, end, now); ended || err != nil {
				return ended, err
			}
			continue // somebody else was faster: look again
		case stepSend:
		}
		done, made, wait, err := d.tryCall(ctx, c, worker, fresh)
		if made || err != nil {
			return done, err
		}
		fresh = false // it may be superseded or expired meanwhile
		if err := pause(ctx, wait); err != nil {
			return false, err
		}
	}
}

// tryCall calls SNS where the gate is open, as one of at most as many as there are workers: the queue's and the
// reconciler's together. Otherwise it says how long to wait before asking again.
func (d *dispatcher) tryCall(ctx context.Context, c challenge, worker string, fresh bool) (done, made bool, wait time.Duration, err error) {
	select {
	case <-ctx.Done():
		return false, false, 0, ctx.Err()
	case d.calls <- struct{}{}:
	}
	leave, wait := d.gate.enter()
	if wait > 0 {
		<-d.calls
		return false, false, wait, nil
	}
	done, made, err = d.call(ctx, c, worker, fresh, func(became class) { leave(became); <-d.calls })
	return done, made, 0, err
}

// call reserves an attempt and makes it. Without an attempt that counts (the record was no longer the one that was read,
// or our account was refused) made is false: look at the record again. leave is called exactly once: when SNS has answered,
// so that the next text goes out while what became of this one is written.
func (d *dispatcher) call(ctx context.Context, c challenge, worker string, fresh bool, leave func(class)) (done, made bool, err error) {
	became := class("")
	over := sync.OnceFunc(func() { leave(became) })
	defer over()

	now := d.now()
	day := now.Format(time.DateOnly)
	if ok, err := d.spend(ctx, day); err != nil {
		return false, true, err
	} else if !ok {
		d.log.Error("daily budget is spent", slog.String("challenge", c.ID), slog.Int("budget", d.settings.DailyBudget))
		became = ours
		return false, false, nil
	}
	reserved, ok, err := d.records.reserve(ctx, c, worker, fresh, now)
	if err != nil || !ok {
		d.refund(ctx, day)
		return false, false, err
	}
	// From here on the attempt is ours: it is finished, and its outcome written, even if the service is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), service.StopTimeout)
	defer cancel()
	phone, code, err := d.material(reserved)
	if err != nil {
		// Not our key, or not our record: no retry can mend it, and it must not be silent.
		d.refund(ctx, day)
		_, endErr := d.end(ctx, reserved, ending{outcome: contract.OutcomeFailed, reason: contract.ReasonUnsendable}, now)
		return false, true, errors.Join(err, endErr)
	}
	if d.held(reserved, now) {
		// Its country was stopped since it was let through: the person is told at once that nothing comes.
		d.refund(ctx, day)
		_, err := d.end(ctx, reserved, ending{outcome: contract.OutcomeFailed, reason: contract.ReasonStopped}, now)
		return true, true, err
	}
	// The last look. A process that was held up here for long would send what somebody else has sent by now, or what
	// nobody waits for any more.
	if now := d.now(); !now.Add(d.settings.SendTimeout).Before(reserved.LeaseUntil) || !now.Before(reserved.ExpiresAt) {
		d.refund(ctx, day)
		return false, false, insist(ctx, func() error { return d.records.requeue(ctx, reserved, false, now) })
	}
	d.metrics.calling.Inc()
	began := time.Now() // real time: how long AWS takes
	calling, span := trace.Start(ctx, trace.Client, "SNS", "Publish")
	messageID, a := d.sender.send(calling, phone, d.settings.Templates.text(regionOf(phone.Reveal()), reserved.PortalName, reserved.Host, code))
	d.metrics.took.Observe(time.Since(began).Seconds()) // real time: of the same call
	d.metrics.calling.Dec()
	var reason contract.FailureReason
	became, reason = classify(a)
	span.End(string(became), became != wasSent && became != permanent)
	over()
	d.metrics.attempts.WithLabelValues(string(became)).Inc()
	if became != wasSent {
		d.log.Warn("text message not handed over", slog.String("challenge", c.ID), slog.String("class", string(became)),
			slog.String("code", a.Code), slog.Int("status", a.Status), slog.Int("attempts", reserved.Attempts))
	}
	after := d.now()
	switch became {
	case wasSent:
		d.handedOver(reserved)
		return true, true, insist(ctx, func() error {
			_, err := d.end(ctx, reserved, ending{outcome: contract.OutcomeSent, messageID: messageID}, after)
			return err
		})
	case permanent:
		d.refund(ctx, day)
		return true, true, insist(ctx, func() error {
			_, err := d.end(ctx, reserved, ending{outcome: contract.OutcomeFailed, reason: reason}, after)
			return err
		})
	case ambiguous:
		return false, true, insist(ctx, func() error { return d.records.requeue(ctx, reserved, true, after.Add(lease)) })
	case ours:
		// The gate is closed for a while now, which is wait enough.
		d.refund(ctx, day)
		return false, false, insist(ctx, func() error { return d.records.requeue(ctx, reserved, false, after) })
	default:
		d.refund(ctx, day)
		return false, true, insist(ctx, func() error { return d.records.requeue(ctx, reserved, false, after.Add(lease)) })
	}
}

// insist writes what became of a call, again and again until ctx ends: a store that is away for a moment must not make
// a text that was sent look like one that may have been. What it gives up on counts as ambiguous when the lease is over.
func insist(ctx context.Context, write func() error) error {
	err := backoff.Retry(write, backoff.WithContext(&fullJitter{}, ctx))
	if err != nil {
		// Told by its text only: this worker must not take it for a store that was away before the call.
		return fmt.Errorf("%w: %s", errUnwritten, err.Error())
	}
	return nil
}

// material opens what a text is made of.
func (d *dispatcher) material(c challenge) (phone, code secret.String, err error) {
	number, err := d.keys.Store.Open(c.Phone, placeOfPhone(c.account(), c.ID))
	if err != nil {
		return phone, code, fmt.Errorf("%w: phone", errNotOpened)
	}
	digits, err := d.keys.Store.Open(c.Code, placeOfCode(c.account(), c.ID))
	if err != nil {
		return phone, code, fmt.Errorf("%w: code", errNotOpened)
	}
	return secret.New(string(number)), secret.New(string(digits)), nil
}

// refund gives a text back to the day's budget. A lost refund makes the budget smaller, never larger.
func (d *dispatcher) refund(ctx context.Context, day string) {
	if d.settings.DailyBudget == 0 {
		return
	}
	if err := d.records.refund(ctx, day); err != nil {
		d.log.Warn("budget not refunded", slog.Any("error", err))
	}
}

// end writes an outcome and tells it. What cannot be told now, the reconciler tells.
func (d *dispatcher) end(ctx context.Context, c challenge, e ending, now time.Time) (bool, error) {
	ended, err := d.records.end(ctx, c, e, now)
	if err != nil || !ended {
		return false, err
	}
	d.metrics.ended.WithLabelValues(string(e.outcome)).Inc()
	if e.outcome == contract.OutcomeSent {
		d.metrics.handover.Observe(now.Sub(c.CreatedAt).Seconds())
	} else {
		d.metrics.failed.WithLabelValues(string(e.reason)).Inc()
	}
	c.State, c.Reason, c.EndedAt = state(e.outcome), e.reason, now
	if err := d.announce(ctx, factOf(c)); err != nil {
		d.log.Warn("outcome not told yet", slog.String("challenge", c.ID), slog.Any("error", err))
	}
	return true, nil
}

// pause waits for d of real time, or until ctx ends; no time is no wait.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

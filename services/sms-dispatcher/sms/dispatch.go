package sms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/store"
)

// ackWait is how long a job may be silent before the stream gives it to somebody else.
const ackWait = 30 * time.Second

var (
	errAgain     = errors.New("the message was not handed over yet")
	errUnwritten = errors.New("what became of a call was not written")
	errNoRecord  = errors.New("no such challenge")
	errNotOpened = errors.New("the challenge's sealed values do not open")
)

// requested consumes the job of a challenge. The record decides what is done: a job without its record sends nothing,
// and of any number of deliveries, in any order, one works.
func (d *dispatcher) requested(ctx context.Context, ev bus.Delivery[contract.ChallengeRequest]) error {
	c, err := d.records.challenges.Get(ctx, ev.Message.Challenge)
	if errors.Is(err, store.ErrNotFound) || err == nil && c.account() != ev.Message.Account {
		return bus.Dead(errNoRecord)
	}
	if err != nil {
		return err
	}
	stop := beat(ctx, ev.InProgress)
	defer stop()
	err = d.dispatch(ctx, c.ID)
	if errors.Is(err, errNotOpened) {
		return bus.Dead(err)
	}
	return err
}

// beat tells the stream that the work goes on, until stop is called.
func beat(ctx context.Context, inProgress func() error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(ackWait / 3)
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
func (d *dispatcher) dispatch(ctx context.Context, id string) error {
	worker := bus.NewID()
	err := backoff.Retry(func() error {
		done, err := d.attempt(ctx, id, worker)
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
func (d *dispatcher) attempt(ctx context.Context, id, worker string) (done bool, err error) {
	for {
		c, err := d.records.challenges.Get(ctx, id)
		if err != nil {
			return false, err
		}
		now := d.now()
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
			if d.held(c, now) {
				// Its country was stopped since: the person is told at once that nothing comes.
				if ended, err := d.end(ctx, c, ending{outcome: contract.OutcomeFailed, reason: contract.ReasonCarrier}, now); ended || err != nil {
					return ended, err
				}
				continue
			}
		}
		leave, wait := d.gate.enter()
		if wait > 0 {
			if err := pause(ctx, wait); err != nil {
				return false, err
			}
			continue // it may have expired meanwhile
		}
		done, made, err := d.call(ctx, c, worker, now, leave)
		if made || err != nil {
			return done, err
		}
	}
}

// call reserves an attempt and makes it. Without an attempt that counts (the record was no longer the one that was read,
// or our account was refused) made is false: look at the record again. leave is called exactly once.
func (d *dispatcher) call(ctx context.Context, c challenge, worker string, now time.Time, leave func(class)) (done, made bool, err error) {
	became := class("")
	defer func() { leave(became) }()

	phone, code, sealed, err := d.material(c)
	if err != nil {
		// Not our key, or not our record: no retry can mend it, and it must not be silent.
		_, endErr := d.end(ctx, c, ending{outcome: contract.OutcomeFailed, reason: contract.ReasonCarrier}, now)
		return false, true, errors.Join(err, endErr)
	}
	day := now.Format(time.DateOnly)
	if ok, err := d.spend(ctx, day); err != nil {
		return false, true, err
	} else if !ok {
		d.log.Error("daily budget is spent", slog.String("challenge", c.ID), slog.Int("budget", d.settings.DailyBudget))
		became = ours
		return false, false, nil
	}
	reserved, ok, err := d.records.reserve(ctx, c, worker, sealed, now)
	if err != nil || !ok {
		d.refund(ctx, day)
		return false, false, err
	}

	// A call that is under way is finished and its outcome written even if the service is stopping.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), service.StopTimeout)
	defer cancel()
	messageID, a := d.sender.send(ctx, phone, text(reserved.PortalName, reserved.Host, code))
	var reason contract.FailureReason
	became, reason = classify(a)
	d.metrics.attempts.WithLabelValues(string(became)).Inc()
	if became != wasSent {
		d.log.Warn("text message not handed over", slog.String("challenge", c.ID), slog.String("class", string(became)),
			slog.String("code", a.Code), slog.Int("status", a.Status), slog.Int("attempts", reserved.Attempts))
	}
	after := d.now()
	switch became {
	case wasSent:
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

// material opens what a text is made of. The code is the one that the challenge has, or a new one, sealed, that the
// reservation will give it.
func (d *dispatcher) material(c challenge) (phone, code secret.String, sealed []byte, err error) {
	raw, err := d.keys.Store.Open(c.Phone, placeOfPhone(c.account(), c.ID))
	if err != nil {
		return phone, code, nil, fmt.Errorf("%w: phone", errNotOpened)
	}
	phone = secret.New(string(raw))
	if len(c.Code) > 0 {
		raw, err := d.keys.Store.Open(c.Code, placeOfCode(c.account(), c.ID))
		if err != nil {
			return phone, code, nil, fmt.Errorf("%w: code", errNotOpened)
		}
		return phone, secret.New(string(raw)), nil, nil
	}
	if code, err = d.code(); err != nil {
		return phone, code, nil, err
	}
	sealed, err = d.keys.Store.Seal([]byte(code.Reveal()), placeOfCode(c.account(), c.ID))
	return phone, code, sealed, err
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

// end writes an outcome, and says when the reconciler need look next: when the code expires, or never.
func (d *dispatcher) end(ctx context.Context, c challenge, e ending, now time.Time) (bool, error) {
	ended, err := d.records.end(ctx, c, e, now)
	if err != nil || !ended {
		return false, err
	}
	d.metrics.ended.WithLabelValues(string(e.outcome)).Inc()
	if e.outcome == contract.OutcomeSent {
		d.handedOver(c)
		d.metrics.handover.Observe(now.Sub(c.CreatedAt).Seconds())
	}
	if e.closed == closedExpired {
		d.settled(ctx, c)
	}
	if e.closed != stillOpen || c.Closed != stillOpen {
		err = d.records.notes.Delete(ctx, c.ID)
	} else {
		err = d.records.lookAgain(ctx, c.ID, c.ExpiresAt, 0)
	}
	if err != nil {
		d.log.Warn("note not updated", slog.String("challenge", c.ID), slog.Any("error", err)) // looked at once more
	}
	return true, nil
}

// pause waits for d of real time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

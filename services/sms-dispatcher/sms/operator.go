package sms

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
	"sallyport/pkg/trace"
)

// Office is what an admin does, and an operator also while the service is down: look, and open what wrong codes have
// locked. It needs the store alone. What it has to tell lies in the outbox with the change, and is told by the service:
// at once where that runs, otherwise when it runs again.
type Office struct {
	records *records
	clock   clock.Clock
	guards  guards
	// relay tells letters at once; nil leaves them to the service's sweep.
	relay func(collection, document string, letters ...bus.Letter)
}

// OpenOffice opens the service's database for an operator. It fails when the store does not answer.
func OpenOffice(ctx context.Context, db *store.DB, c clock.Clock) (*Office, error) {
	r, err := newRecords(ctx, db, store.NewOutbox(db, slog.New(slog.DiscardHandler), nil))
	if err != nil {
		return nil, err
	}
	return &Office{records: r, clock: c, guards: usualGuards()}, nil
}

func (o *Office) now() time.Time { return asKept(o.clock.Now()) }

// Status tells what an account page shows.
func (o *Office) Status(ctx context.Context, who contract.Account) (contract.SMSStatusReply, error) {
	return o.status(ctx, contract.SMSStatusRequest{Account: who})
}

// Unlock starts a person's count of wrong codes again, where it has locked the telephone, and tells whether it had.
// One unlock does so once, however often it is asked for, and is told once. A disabled telephone is refused (conflict):
// so many wrong codes in a row are somebody else's.
func (o *Office) Unlock(ctx context.Context, req contract.UnlockRequest) (bool, error) {
	if err := checkUnlock(req); err != nil {
		return false, err
	}
	for range 5 { // a guess may be counted, or prove right, between the look and the write
		p, err := o.records.people.Get(ctx, personID(req.Account))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		now := o.now()
		switch _, closed := p.Guess.LockedUntil(now); {
		case p.Unlocked == req.ID:
			return true, nil // by this unlock, whose reply was lost
		case p.Guess.Disabled():
			return false, contract.Refuse(contract.Conflict, "Too many wrong codes. Only a recovery code or a reset opens this telephone again.")
		case !closed:
			return false, nil
		}
		letter, err := bus.NewLetter(ctx, contract.FactorUnlocked, contract.UnlockedID(contract.FactorSMS, req.ID), contract.UnlockFact{
			Account: req.Account, Factor: contract.FactorSMS, Actor: req.Actor, Reason: req.Reason, At: now,
		}, now)
		if err != nil {
			return false, err
		}
		ok, err := o.records.unlock(ctx, p, req.ID, letter)
		if err != nil {
			return false, err
		}
		if ok {
			if o.relay != nil {
				o.relay(phonesName, p.ID, letter)
			}
			return true, nil
		}
	}
	return false, contract.Wait(contract.Unavailable, time.Second, "Several requests came at once. Please try again.")
}

// checkUnlock refuses what could not be told of.
func checkUnlock(req contract.UnlockRequest) error {
	const longestActor, longestReason = 128, 500
	actor := utf8.RuneCountInString(req.Actor)
	switch {
	case !named(req.Account), !idShape.MatchString(req.ID):
		return errNotUsable
	case actor == 0 || actor > longestActor || !utf8.ValidString(req.Actor) || strings.ContainsFunc(req.Actor, unicode.IsControl):
		return invalid("actor", "Please say who opens the lock.")
	case utf8.RuneCountInString(req.Reason) > longestReason || !utf8.ValidString(req.Reason):
		return invalid("reason", "Please give a reason of at most 500 characters.")
	}
	return nil
}

func invalid(field, sentence string) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, "%s", sentence)
	e.Field = field
	return e
}

// unlock answers [contract.SMSUnlock].
func (d *dispatcher) unlock(ctx context.Context, req contract.UnlockRequest) (contract.UnlockReply, error) {
	ok, err := d.office.Unlock(ctx, req)
	result := unlockNone
	switch {
	case ok:
		result = unlockOpened
		d.log.Info("lock opened by an admin", slog.String("portal", req.Portal), slog.String("user", req.User),
			slog.String("actor", req.Actor), slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx))
	case contract.CodeOf(err) == contract.Conflict:
		result = unlockDisabled
	case err != nil:
		result = unlockFailed
	}
	d.metrics.unlocks.WithLabelValues(string(result)).Inc()
	return contract.UnlockReply{Unlocked: ok}, err
}

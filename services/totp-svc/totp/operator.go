package totp

import (
	"context"
	"log/slog"
	"strings"
	"time"
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
	state  state
	outbox *store.Outbox
	clock  clock.Clock
	// relay tells letters at once; nil leaves them to the service's sweep.
	relay func(collection, document string, letters ...bus.Letter)
}

// OpenOffice opens the service's database for an operator. It fails when the store does not answer.
func OpenOffice(ctx context.Context, db *store.DB, c clock.Clock) (*Office, error) {
	if err := db.Ready(ctx); err != nil {
		return nil, err
	}
	return &Office{state: newState(db), outbox: store.NewOutbox(db, slog.New(slog.DiscardHandler), nil), clock: c}, nil
}

func (o *Office) now() time.Time { return asKept(o.clock.Now()) }

// Status tells what an account page shows.
func (o *Office) Status(ctx context.Context, who contract.Account) (contract.TOTPStatusReply, error) {
	var empty contract.TOTPStatusReply
	if err := checkAccount(who); err != nil {
		return empty, err
	}
	app, err := o.state.counter(ctx, authenticators, documentID(who))
	if err != nil {
		return empty, err
	}
	set, err := o.state.recoverySet(ctx, documentID(who))
	if err != nil {
		return empty, err
	}
	now := o.now()
	return contract.TOTPStatusReply{
		CodesLeft: set.Left, CodesPopulation: set.Population, Lock: lockOf(app.Guess, now), RecoveryLock: lockOf(set.Guess, now), AttemptsLeft: app.Guess.LeftAt(now),
	}, nil
}

// Unlock starts the counts of a person's authenticator and recovery codes again, where wrong codes have locked them,
// and tells whether one was. One unlock opens each of them once, however often it is asked for, and is told once.
// A disabled factor is refused (conflict), where nothing else was opened: so many wrong codes in a row are somebody else's.
func (o *Office) Unlock(ctx context.Context, req contract.UnlockRequest) (bool, error) {
	if err := checkUnlock(req); err != nil {
		return false, err
	}
	// The recovery codes come last. If this unlock opened them, all of it is done.
	set, err := o.state.counter(ctx, recoverySets, documentID(req.Account))
	if err != nil || set.Unlocked == req.ID {
		return err == nil, err
	}
	app, err := o.open(ctx, authenticators, req, true)
	switch {
	case err != nil:
		return false, err
	}
	codes, err := o.open(ctx, recoverySets, req, app != opened)
	switch {
	case err != nil:
		return false, err
	case app == disabled && codes != opened: // one of the codes helps, where they are open
		return false, contract.Refuse(contract.Conflict, "Too many wrong codes. Only a recovery code or a reset opens this authenticator again.")
	case app != opened && codes == disabled:
		return false, contract.Refuse(contract.Conflict, "Too many wrong recovery codes. Only a reset opens them again.")
	}
	return app == opened || codes == opened, nil
}

// open does it for one of the two documents, with the letter in the same write unless the other one has it.
func (o *Office) open(ctx context.Context, collection string, req contract.UnlockRequest, tell bool) (result, error) {
	id := documentID(req.Account)
	for range looks {
		was, err := o.state.counter(ctx, collection, id)
		if err != nil {
			return "", err
		}
		now := o.now()
		switch _, locked := was.Guess.LockedUntil(now); {
		case was.Unlocked == req.ID:
			return opened, nil // by this unlock, whose reply was lost
		case was.Guess.Disabled():
			return disabled, nil
		case !locked:
			return none, nil
		}
		var letters []bus.Letter
		if tell {
			letter, err := bus.NewLetter(ctx, contract.FactorUnlocked, contract.UnlockedID(contract.FactorTOTP, req.ID), contract.UnlockFact{
				Account: req.Account, Factor: contract.FactorTOTP, Actor: req.Actor, Reason: req.Reason, At: now,
			}, now)
			if err != nil {
				return "", err
			}
			letters = append(letters, letter)
		}
		if err := o.outbox.Note(ctx, collection, id, letters...); err != nil {
			return "", err
		}
		ok, err := o.state.unlock(ctx, collection, id, req.ID, was.Guess, letters...)
		if err != nil {
			return "", err
		}
		if ok {
			if o.relay != nil {
				o.relay(collection, id, letters...)
			}
			return opened, nil
		}
		// A guess was counted, or proved right, between the two: look again.
	}
	return "", errBusy()
}

// checkUnlock refuses what could not be told of.
func checkUnlock(req contract.UnlockRequest) error {
	const longestActor, longestReason = 128, 500
	if err := checkAccount(req.Account); err != nil {
		return err
	}
	actor := utf8.RuneCountInString(req.Actor)
	switch {
	case !fitID(req.ID):
		return invalid("id", "An unlock's id is made of letters, digits, dashes and underscores.")
	case actor == 0 || actor > longestActor || !utf8.ValidString(req.Actor) || strings.ContainsFunc(req.Actor, unfit):
		return invalid("actor", "Please say who opens the lock.")
	case utf8.RuneCountInString(req.Reason) > longestReason || !utf8.ValidString(req.Reason):
		return invalid("reason", "Please give a reason of at most 500 characters.")
	}
	return nil
}

// unlock answers [contract.TOTPUnlock].
func (s *server) unlock(ctx context.Context, req contract.UnlockRequest) (contract.UnlockReply, error) {
	ok, err := s.office.Unlock(ctx, req)
	r := none
	switch {
	case ok:
		r = opened
		s.svc.Log.InfoContext(ctx, "lock opened by an admin", slog.String("portal", req.Portal), slog.String("user", req.User),
			slog.String("actor", req.Actor), slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx))
	case contract.CodeOf(err) == contract.Conflict:
		r = disabled
	case err != nil:
		r = failed
	}
	count(s.metrics.unlocks, r)
	return contract.UnlockReply{Unlocked: ok}, err
}

package totp

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/digits"
	"sallyport/pkg/seal"
)

// verify answers [contract.TOTPVerify].
func (s *server) verify(ctx context.Context, req contract.TOTPVerifyRequest) (contract.Empty, error) {
	began := time.Now() // real time: how long it took
	r, err := s.check(ctx, req)
	count(s.metrics.verifications, r)
	s.metrics.took.WithLabelValues(string(r.label())).Observe(time.Since(began).Seconds()) // real time: the same
	return contract.Empty{}, err
}

func (s *server) check(ctx context.Context, req contract.TOTPVerifyRequest) (result, error) {
	typed, err := s.typed(req.Account, req.Code)
	if err != nil {
		return "", err
	}
	code, ok := digits.Canonical(typed.Reveal())
	if !ok {
		return s.noCode(ctx, req.Account)
	}
	g := s.guess(ctx, req.Account)
	for range looks {
		doc, ok, err := s.state.countActive(ctx, g, req.Enrolment)
		if err != nil {
			return "", err
		}
		if !ok {
			switch {
			case doc.Active == nil || doc.Active.Enrolment != req.Enrolment:
				return none, notEnrolled()
			case doc.accepted(g.call, req.Enrolment):
				return repeated, nil
			case doc.counted(g.call):
				// Counted before; how it ended, nobody knows. It is compared below.
			case !doc.Guess.Allowed(g.now):
				s.retell(ctx, req.Account, doc, g.now)
				return closed, refuseLocked(doc.Guess, g.now)
			default:
				continue // the document changed between the two looks
			}
		}
		g.first, g.asked = ok, doc.askedAt(g)
		return s.compare(ctx, g, req.Account, doc, code)
	}
	return "", errBusy()
}

// noCode refuses what cannot be a code of an app: the document is read for what is left, and not changed by a guess.
func (s *server) noCode(ctx context.Context, who contract.Account) (result, error) {
	doc, err := s.state.authenticator(ctx, documentID(who))
	if err != nil {
		return "", err
	}
	now := s.now()
	r, refusal := refuseMalformed(doc.Guess, now)
	if r == closed {
		s.retell(ctx, who, doc, now)
	}
	return r, refusal
}

// compare decides about a guess that was counted.
func (s *server) compare(ctx context.Context, g guess, who contract.Account, doc authenticator, code string) (result, error) {
	c := doc.Active.Credential
	seed, err := s.open(who, c)
	if err != nil {
		return "", err
	}
	step, ok := matchStep(seed, code, g.asked)
	if !ok {
		return g.came(wrong), s.wrong(ctx, g, who, doc, c.Seed, matchOutside(seed, code, g.asked))
	}
	if step > doc.LastStep {
		ok, err := s.state.accept(ctx, g, c, step)
		if err != nil {
			return "", err
		}
		if ok {
			s.metrics.drifted(step - stepAt(g.asked))
			return right, nil
		}
	}
	// The step is spent: by another call, or by this one, whose reply was lost.
	now, err := s.state.authenticator(ctx, g.id)
	switch {
	case err != nil:
		return "", err
	case now.Active == nil || now.Active.Seed != c.Seed:
		return none, notEnrolled()
	case now.accepted(g.call, c.Enrolment):
		return repeated, nil
	default:
		return g.came(replayed), s.wrong(ctx, g, who, doc, c.Seed, nil)
	}
}

func notEnrolled() *contract.Error {
	return contract.Refuse(contract.NotFound, "There is no such authenticator.")
}

// accepted tells whether this call succeeded for this enrolment.
func (a authenticator) accepted(call, enrolment string) bool {
	was := a.Accepted[slot(call)]
	return was.Call == call && was.Enrolment == enrolment
}

// counted tells whether this call's guess was counted.
func (a authenticator) counted(call string) bool { return a.Counted[slot(call)].Call == call }

// askedAt is when this call's guess was counted; now, where the document has forgotten the call.
func (a authenticator) askedAt(g guess) time.Time {
	if a.counted(g.call) {
		return a.Counted[slot(g.call)].At
	}
	return g.now
}

// place is where a secret belongs; it opens nowhere else.
func place(who contract.Account, enrolment string) seal.Place {
	return seal.Place{who.Portal, authenticators, "secret", who.User, enrolment}
}

// open unseals a secret. One that does not open is a fault of ours, or somebody moved or changed it.
func (s *server) open(who contract.Account, c Credential) ([]byte, error) {
	seed, err := s.svc.Keys.Store.Open(c.Secret, place(who, c.Enrolment))
	if err != nil {
		return nil, fmt.Errorf("secret of %s/%s, enrolment %s: %w", who.Portal, who.User, c.Enrolment, err)
	}
	return seed, nil
}

// wrong answers a guess that was counted and is wrong. As a rule that costs no further write; there is one when the
// guess closed the factor, or when the code was right at another time (found).
func (s *server) wrong(ctx context.Context, g guess, who contract.Account, doc authenticator, seed string, found []int64) error {
	e := refuseWrong(doc.Guess, g.now)
	var r remark
	if d, ok := judgeDrift(doc.Drift, seed, found, stepAt(g.asked), doc.Guess.Failures); ok {
		r.drift = &d
		if d.Sure {
			offset := int(d.Offset) * int(period/time.Second)
			e.ClockOffset = &offset
			if g.first {
				s.metrics.drifts.Inc()
				s.metrics.drifted(d.Offset)
			}
		}
	}
	// The guess that closed the factor tells of it: it is the last one that was counted, and this call's.
	if _, locked := doc.Guess.LockedUntil(g.now); locked && doc.Guess.LastAt.Equal(doc.Counted[slot(g.call)].At) {
		if err := s.tell(ctx, who, doc, g.now, r); err != nil {
			return err
		}
		return e
	}
	if r.drift != nil {
		if _, err := s.state.remark(ctx, g.id, doc.Guess, r); err != nil {
			return err
		}
	}
	return e
}

// tell publishes that a factor was closed by wrong codes.
func (s *server) tell(ctx context.Context, who contract.Account, doc authenticator, now time.Time, r remark) error {
	fact := contract.LockFact{Account: who, Factor: contract.FactorTOTP, Failures: doc.Guess.Failures, At: doc.Guess.LastAt}
	if until, _ := doc.Guess.LockedUntil(now); !doc.Guess.Disabled() {
		fact.Until = &until
	}
	letter, err := bus.NewLetter(ctx, contract.FactorLocked, "lock-"+bus.NewID(), fact, now)
	if err != nil {
		return err
	}
	r.lock = &letter
	if err := s.svc.Outbox.Note(ctx, authenticators, doc.ID, letter); err != nil {
		return err
	}
	told, err := s.state.remark(ctx, doc.ID, doc.Guess, r)
	if err != nil || !told {
		return err // told by somebody else, or opened meanwhile by a right code
	}
	s.metrics.locked(lockOfCodes, doc.Guess)
	s.svc.Outbox.Relay(authenticators, doc.ID, letter)
	return nil
}

// retell tells of a lock whose telling was lost: between the count and the letter there is a moment in which a
// replica may die. A guess that is refused later makes up for it; a lock younger than any call is left to the call
// that caused it, which may yet prove right.
func (s *server) retell(ctx context.Context, who contract.Account, doc authenticator, now time.Time) {
	if doc.ToldAt.Equal(doc.Guess.LastAt) || now.Sub(doc.Guess.LastAt) < 2*bus.CallTimeout {
		return
	}
	if err := s.tell(ctx, who, doc, now, remark{}); err != nil {
		s.svc.Log.WarnContext(ctx, "lock not told yet", slog.String("portal", who.Portal), slog.String("user", who.User), slog.Any("error", err))
	}
}

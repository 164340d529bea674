package sms

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/digits"
	"sallyport/pkg/lockout"
	"sallyport/pkg/store"
	"sallyport/pkg/trace"
)

var (
	errNoChallenge = contract.Refuse(contract.NotFound, "There is no such code. Please ask for a new one.")
	errExpired     = contract.Refuse(contract.Expired, "This code is no longer valid. Please ask for a new one.")
)

// verify answers a typed code of a sign-in or step-up.
func (d *dispatcher) verify(ctx context.Context, req contract.SMSVerifyRequest) (contract.Empty, error) {
	if req.Purpose != contract.ForSignIn && req.Purpose != contract.ForStepUp {
		return contract.Empty{}, errNotUsable
	}
	_, p, err := d.check(ctx, typed{req.Account, req.Challenge, req.Flow, req.Purpose, "", req.Code})
	if err != nil {
		return contract.Empty{}, err
	}
	d.forgive(ctx, p)
	return contract.Empty{}, nil
}

// forgive starts the counts again after a right code. The code is spent by now, so a failure is no reason to call it
// wrong: the counts stay higher than they need be.
func (d *dispatcher) forgive(ctx context.Context, p person) {
	if err := d.records.proved(ctx, p); err != nil {
		d.log.Warn("counts not cleared after a right code", slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx), slog.Any("error", err))
	}
}

// confirm answers the code that makes a pending number the active one.
//
// A crash between the claim of the code and the write of the number loses no enrolment half-way: the same call,
// repeated, finds its claim and finishes the write. If it is not repeated, nothing is enrolled, nothing was recorded,
// and the person asks for another code.
func (d *dispatcher) confirm(ctx context.Context, req contract.SMSConfirmRequest) (contract.Confirmation, error) {
	c, p, err := d.check(ctx, typed{req.Account, req.Challenge, req.Flow, contract.ForEnrolment, req.Enrolment, req.Code})
	if err != nil {
		return contract.Confirmation{}, err
	}
	if n := p.Active; n != nil && n.Ref == c.Ref { // written already, and only the reply was lost
		d.forgive(ctx, p)
		return confirmation(*n), nil
	}
	if p.Pending == nil || p.Pending.Ref != c.Ref {
		return contract.Confirmation{}, errExpired
	}
	active := *p.Pending
	active.Since = c.VerifiedAt
	out := confirmation(active)
	letter, err := bus.NewLetter(ctx, contract.EnrolmentConfirmed, contract.ConfirmedID(active.Enrolment),
		contract.EnrolmentFact{Account: req.Account, FactorInfo: out.FactorInfo, Epoch: out.Epoch}, active.Since)
	if err != nil {
		return contract.Confirmation{}, err
	}
	ok, err := d.records.activate(ctx, p, active, letter)
	if err != nil {
		return contract.Confirmation{}, err
	}
	if ok {
		return out, nil
	}
	// Reset, or another number took its place, in this very moment; or this same call, asked twice, has done it elsewhere.
	if p, err = d.records.people.Get(ctx, p.ID); err != nil {
		return contract.Confirmation{}, err
	}
	if n := p.Active; n != nil && n.Ref == c.Ref {
		return confirmation(*n), nil
	}
	return contract.Confirmation{}, errExpired
}

func confirmation(n number) contract.Confirmation {
	return contract.Confirmation{
		FactorInfo: contract.FactorInfo{Factor: contract.FactorSMS, Enrolment: n.Enrolment, Since: n.Since.UTC()}, Epoch: n.Epoch,
	}
}

// typed is a code with what it is for.
type typed struct {
	contract.Account
	challenge, flow string
	purpose         contract.Purpose
	enrolment       string // of a confirmation
	code            contract.Sealed
}

// check answers whether a typed code is the right one, and spends it. A guess is counted, by a write of its own,
// before the code is compared; whatever is no six digits, or is for a challenge that is over, is not compared and not
// counted. It returns the challenge as spent and the person as counted.
//
// The same call may be repeated: its guess is counted once, and a code that it has spent is right again for it.
func (d *dispatcher) check(ctx context.Context, t typed) (challenge, person, error) {
	began := time.Now() // real time: how long it took
	c, p, res, err := d.checked(ctx, t)
	switch contract.CodeOf(err) { //nolint:exhaustive // every other error is an answer
	case contract.Unavailable, contract.InternalError:
		res = failed
	}
	d.metrics.verification.WithLabelValues(string(res)).Inc()
	d.metrics.verifying.WithLabelValues(string(res)).Observe(time.Since(began).Seconds()) // real time: the same
	return c, p, err
}

func (d *dispatcher) checked(ctx context.Context, t typed) (c challenge, p person, res result, err error) {
	if !named(t.Account) || !idShape.MatchString(t.challenge) {
		return c, p, refused, errNotUsable
	}
	code, err := d.keys.Bus.OpenField(t.code, contract.PurposeTypedCode, t.Account)
	if err != nil {
		return c, p, refused, errNotUsable
	}
	now := d.now()
	if p, err = d.records.people.Get(ctx, personID(t.Account)); errors.Is(err, store.ErrNotFound) {
		return c, p, refused, errNoChallenge
	} else if err != nil {
		return c, p, refused, err
	}
	call := bus.CallID(ctx)
	if !idShape.MatchString(call) {
		call = bus.NewID()
	}
	if err := lockedOut(p.Guess, now); err != nil && !p.counted(call) {
		d.tellLate(ctx, t.Account, p, now)
		return c, p, locked, err
	}
	canonical, ok := digits.Canonical(code.Reveal())
	if !ok {
		return c, p, refused, notDigits(p.Guess, now)
	}
	c, err = d.records.challenges.Get(ctx, t.challenge)
	if errors.Is(err, store.ErrNotFound) || err == nil && !t.belongs(c) {
		return c, p, refused, errNoChallenge
	}
	if err != nil {
		return c, p, refused, err
	}
	if c.Closed == closedVerified && c.ClaimedBy == call {
		return c, p, repeated, nil
	}
	if err := alive(c, p, now); err != nil {
		return c, p, expired, err
	}

	counted, first, err := d.records.countGuess(ctx, t.Account, call, now)
	if err != nil {
		return c, p, refused, err
	}
	if first {
		p = counted
	} else {
		// Not counted: the factor is closed, or this call was counted before and its reply was lost.
		if p, err = d.records.people.Get(ctx, personID(t.Account)); err != nil {
			return c, p, refused, err
		}
		if !p.counted(call) {
			return d.unlessSpent(ctx, c, p, call, locked, lockedOrBusy(p.Guess, now))
		}
	}
	// The person is known as of the count; what was opened or reset before it holds.
	if err := alive(c, p, now); err != nil {
		return d.unlessSpent(ctx, c, p, call, expired, err)
	}
	if !d.matches(c, canonical) {
		if !first { // counted as wrong by the attempt that counted the guess
			return c, p, repeated, d.wrong(ctx, t.Account, p, now)
		}
		return c, p, wrong, d.wrong(ctx, t.Account, p, now)
	}
	ok, err = d.records.claim(ctx, c, call, now)
	if err != nil {
		return c, p, refused, err
	}
	if !ok {
		return d.unlessSpent(ctx, c, p, call, expired, errExpired)
	}
	c.Closed, c.ClaimedBy, c.VerifiedAt, c.Code, c.Phone = closedVerified, call, now, nil, nil
	if c.State == stateSent {
		d.metrics.answer.Observe(now.Sub(c.EndedAt).Seconds())
	}
	return c, p, right, nil
}

// unlessSpent refuses a call, unless the same call has spent the code meanwhile in another replica: a caller that waits
// too long for one asks the next.
func (d *dispatcher) unlessSpent(ctx context.Context, c challenge, p person, call string, res result, refusal error) (challenge, person, result, error) {
	c, err := d.records.challenges.Get(ctx, c.ID)
	if err != nil {
		return c, p, refused, err
	}
	if c.Closed != closedVerified || c.ClaimedBy != call {
		return c, p, res, refusal
	}
	p, err = d.records.people.Get(ctx, p.ID)
	return c, p, repeated, err
}

// counted tells whether this call's guess is among those that count.
func (p person) counted(call string) bool {
	_, ok := p.Calls[call]
	return ok
}

// belongs tells whether a challenge is the one that the code is said to be for.
func (t typed) belongs(c challenge) bool {
	return c.account() == t.Account && c.Flow == t.flow && c.Purpose == t.purpose && (t.purpose != contract.ForEnrolment || c.Enrolment == t.enrolment)
}

// alive is nil while a challenge's code may be typed: not used, not expired, not superseded, and sent to a number
// that is still this person's.
func alive(c challenge, p person, now time.Time) error {
	n := p.Active
	if c.Purpose == contract.ForEnrolment {
		n = p.Pending
	}
	if c.Closed != stillOpen || !now.Before(c.ExpiresAt) || p.Sends.superseded(c.ID, c.Flow) || n == nil || n.Ref != c.Ref {
		return errExpired
	}
	return nil
}

// matches compares in constant time. A challenge without a code (nothing was sent yet) matches nothing.
func (d *dispatcher) matches(c challenge, canonical string) bool {
	if len(c.Code) == 0 {
		return false
	}
	code, err := d.keys.Store.Open(c.Code, placeOfCode(c.account(), c.ID))
	if err != nil {
		d.log.Error("code does not open", slog.String("challenge", c.ID), slog.Any("error", err))
		return false
	}
	return subtle.ConstantTimeCompare(code, []byte(canonical)) == 1
}

// wrong is the answer to a wrong code; a lock is told before it is answered.
func (d *dispatcher) wrong(ctx context.Context, who contract.Account, p person, now time.Time) error {
	left := p.Guess.Left()
	e := contract.Refuse(contract.InvalidCode, "This code is not right.")
	e.AttemptsLeft = &left
	until, closed := p.Guess.LockedUntil(now)
	if !closed {
		return e
	}
	e.Detail = "This code is not right. Please wait before you try again."
	if p.Guess.Disabled() {
		e.Detail = "This code is not right. Text messages are disabled now. Please use a recovery code or ask for a reset."
	} else {
		e.LockedUntil = &until
	}
	if err := d.tell(ctx, who, p, now); err != nil {
		return err
	}
	return e
}

// tell tells of a lock, once: the letter is named after the guess that locked.
func (d *dispatcher) tell(ctx context.Context, who contract.Account, p person, now time.Time) error {
	fact := contract.LockFact{Account: who, Factor: contract.FactorSMS, Failures: p.Guess.Failures, At: p.Guess.LastAt.UTC()}
	if !p.Guess.Disabled() {
		until, _ := p.Guess.LockedUntil(now)
		until = until.UTC()
		fact.Until = &until
	}
	whose := sha256.Sum256([]byte(p.ID))
	id := fmt.Sprintf("locked-sms-%x-%d-%d", whose[:8], p.Guess.LastAt.UnixMilli(), p.Guess.Failures)
	letter, err := bus.NewLetter(ctx, contract.FactorLocked, id, fact, now)
	if err != nil {
		return err
	}
	told, err := d.records.tellLocked(ctx, p, letter)
	if told {
		d.metrics.locked(p.Guess)
	}
	return err
}

// tellLate tells of a lock whose guess ended in a crash before it could be told.
func (d *dispatcher) tellLate(ctx context.Context, who contract.Account, p person, now time.Time) {
	if p.Told.Equal(p.Guess.LastAt) || now.Sub(p.Guess.LastAt) < bus.CallTimeout {
		return
	}
	if err := d.tell(ctx, who, p, now); err != nil {
		d.log.Warn("lock not told", slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx), slog.Any("error", err))
	}
}

// notDigits is the answer to what is no code at all; it was not counted.
func notDigits(s lockout.State, now time.Time) error {
	left := s.LeftAt(now)
	e := contract.Refuse(contract.InvalidCode, "A code has six digits.")
	e.AttemptsLeft, e.Reason = &left, contract.CodeMalformed
	return e
}

// lockedOrBusy is the answer to a guess that was not counted. Where the factor has opened in between, another guess
// was right in this very moment.
func lockedOrBusy(s lockout.State, now time.Time) error {
	if err := lockedOut(s, now); err != nil {
		return err
	}
	return contract.Wait(contract.Unavailable, time.Second, "Please try again.")
}

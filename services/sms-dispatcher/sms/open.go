package sms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/pkg/store"
	"sallyport/pkg/trace"
)

// open lets a text message through, or says why not, and writes its challenge. It sends nothing.
//
// The order of writes: the person (limits, the pending number), the earlier challenges of the flow, the new one. A
// repetition with the same challenge id goes on where a crash left off: it finds itself among the person's texts.
func (d *dispatcher) open(ctx context.Context, req contract.SMSOpenRequest) (contract.SMSOpenReply, error) {
	if err := checkOpen(req); err != nil {
		return contract.SMSOpenReply{}, err
	}
	now := d.now()
	c, err := d.records.challenges.Get(ctx, req.Challenge)
	if err == nil {
		return d.opened(ctx, req, c)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return contract.SMSOpenReply{}, err
	}
	phone := ""
	if req.Phone != "" {
		typed, err := d.keys.Bus.OpenField(req.Phone, contract.PurposePhone, req.Account)
		if err != nil {
			return contract.SMSOpenReply{}, errNotUsable
		}
		e164, refusal := parsePhone(typed.Reveal(), d.settings.Countries)
		if refusal != nil {
			return contract.SMSOpenReply{}, refusal
		}
		phone = e164
	}
	p, n, err := d.admit(ctx, req, phone, now)
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	for _, id := range p.Sends.earlier(now, req.Challenge, req.Flow) {
		if err := d.supersede(ctx, id, now); err != nil {
			return contract.SMSOpenReply{}, err
		}
	}
	c, err = d.newChallenge(req, n, now)
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	c.CountedAt = p.Sends.askedAt(req.Challenge)
	c, made, err := d.records.open(ctx, c)
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	if made {
		d.metrics.opened.WithLabelValues(string(req.Purpose)).Inc()
	}
	return d.opened(ctx, req, c)
}

func checkOpen(req contract.SMSOpenRequest) error {
	switch {
	case !named(req.Account), !idShape.MatchString(req.Challenge), !idShape.MatchString(req.Enrolment),
		!flowShape.MatchString(req.Flow), !hostShape.MatchString(req.Host), !networkShape(req.Network):
		return errNotUsable
	case req.Purpose != contract.ForEnrolment && req.Purpose != contract.ForSignIn && req.Purpose != contract.ForStepUp:
		return errNotUsable
	case req.Phone != "" && req.Purpose != contract.ForEnrolment:
		return errNotUsable
	}
	return nil
}

// opened is the reply for a challenge that is there.
func (d *dispatcher) opened(ctx context.Context, req contract.SMSOpenRequest, c challenge) (contract.SMSOpenReply, error) {
	if c.account() != req.Account || c.Flow != req.Flow || c.Purpose != req.Purpose || c.Enrolment != req.Enrolment {
		return contract.SMSOpenReply{}, contract.Refuse(contract.Conflict, "This code was requested for something else.")
	}
	p, err := d.records.people.Get(ctx, personID(req.Account))
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	at, _, _ := p.Sends.next(d.guards.limits[contract.GuardPerson])
	return contract.SMSOpenReply{
		Destination: mask(c.Last4), ResendAt: later(at, c.CreatedAt), ExpiresAt: c.ExpiresAt, AttemptsLeft: p.Guess.LeftAt(d.now()),
	}, nil
}

// admit asks the limits and writes the answer, in one step: the decision is made from the person as read, and the
// write holds only if they are still the same. It returns the person as written, and the number to text.
//
// The other guards are asked once, between the person's limits and that write: what they count is taken back if the
// text is not let through after all, or was let through by another call.
func (d *dispatcher) admit(ctx context.Context, req contract.SMSOpenRequest, phone string, now time.Time) (person, number, error) {
	var counted []metered
	defer func() { d.takeBack(ctx, counted, now) }()
	asked := false
	for range 8 { // others can only be faster so often before the limits refuse us
		p, err := d.person(ctx, req, phone != "", now)
		if err != nil {
			return p, number{}, err
		}
		if p.Sends.opened(req.Challenge) {
			n, err := numberFor(p, req)
			return p, n, err
		}
		if err := lockedOut(p.Guess, now); err != nil {
			return p, number{}, err
		}
		var pending *number
		if phone != "" {
			if pending, err = d.newNumber(req, phone); err != nil {
				return p, number{}, err
			}
			if p.Active != nil && p.Active.Enrolment == req.Enrolment {
				return p, number{}, contract.Refuse(contract.Conflict, "This number is confirmed already.")
			}
		}
		before := p
		if pending != nil {
			p.Pending = pending
		}
		n, err := numberFor(p, req)
		if err != nil {
			return p, n, err
		}
		if err := d.askPerson(ctx, p, req.Account, now); err != nil {
			return p, n, err
		}
		if !asked {
			if counted, err = d.ask(ctx, req, n, now); err != nil {
				return p, n, err
			}
			asked = true
		}
		p.Sends = p.Sends.with(now, req.Challenge, req.Flow, p.Epoch)
		ok, err := d.records.admit(ctx, before, p.Sends, pending)
		if ok || err != nil {
			counted = nil // it stays counted; so it does where nobody knows whether the write was done
			return p, n, err
		}
	}
	return person{}, number{}, contract.Wait(contract.TooSoon, time.Second, "Please wait a moment before you ask for another code.")
}

// person reads the document of whom a request is about; an enrolment makes one. A request from a newer generation
// than the document does at once what the news of the reset will do again in vain.
func (d *dispatcher) person(ctx context.Context, req contract.SMSOpenRequest, create bool, now time.Time) (person, error) {
	p, err := d.records.people.Get(ctx, personID(req.Account))
	if errors.Is(err, store.ErrNotFound) {
		if !create {
			return p, errNoNumber
		}
		if err := d.records.known(ctx, req.Account, req.Epoch.Person); err != nil {
			return p, err
		}
		p, err = d.records.people.Get(ctx, personID(req.Account))
	}
	if err != nil {
		return p, err
	}
	if p.Epoch < req.Epoch.Person {
		if err := d.forget(ctx, req.Account, req.Epoch.Person, now); err != nil {
			return p, err
		}
		return d.records.people.Get(ctx, personID(req.Account))
	}
	// A crash may have come between a reset and what it ends.
	for _, id := range p.Sends.older(now, p.Epoch) {
		if err := d.supersede(ctx, id, now); err != nil {
			return p, err
		}
	}
	if req.Purpose == contract.ForEnrolment && req.Epoch.Person < p.Epoch {
		return p, contract.Refuse(contract.Expired, "Your two-factor set-up was reset meanwhile. Please sign in again.")
	}
	return p, nil
}

var errNoNumber = contract.Refuse(contract.NotFound, "There is no telephone number to send a code to.")

// numberFor is the number that a request may text.
func numberFor(p person, req contract.SMSOpenRequest) (number, error) {
	n := p.Active
	if req.Purpose == contract.ForEnrolment {
		n = p.Pending
	}
	if n == nil || n.Enrolment != req.Enrolment {
		return number{}, errNoNumber
	}
	return *n, nil
}

func (d *dispatcher) newNumber(req contract.SMSOpenRequest, e164 string) (*number, error) {
	sealed, err := d.keys.Store.Seal([]byte(e164), placeOfNumber(req.Account, req.Enrolment))
	if err != nil {
		return nil, err
	}
	return &number{Enrolment: req.Enrolment, Ref: req.Challenge, Phone: sealed, Last4: last4(e164), Epoch: req.Epoch}, nil
}

func (d *dispatcher) newChallenge(req contract.SMSOpenRequest, n number, now time.Time) (challenge, error) {
	phone, err := d.keys.Store.Open(n.Phone, placeOfNumber(req.Account, n.Enrolment))
	if err != nil {
		return challenge{}, fmt.Errorf("number: %w", err)
	}
	sealed, err := d.keys.Store.Seal(phone, placeOfPhone(req.Account, req.Challenge))
	if err != nil {
		return challenge{}, err
	}
	code, err := d.code()
	if err != nil {
		return challenge{}, err
	}
	sealedCode, err := d.keys.Store.Seal([]byte(code.Reveal()), placeOfCode(req.Account, req.Challenge))
	if err != nil {
		return challenge{}, err
	}
	region, meters := d.meteredBy(req, string(phone))
	return challenge{
		ID: req.Challenge, Portal: req.Portal, User: req.User, Order: orderOf(now, req.Challenge), Flow: req.Flow, Purpose: req.Purpose,
		Enrolment: req.Enrolment, Ref: n.Ref, Phone: sealed, Last4: n.Last4, PortalName: req.PortalName, Host: req.Host,
		Region: region, Meters: meters, CreatedAt: now, ExpiresAt: now.Add(codeLife), State: queued, LeaseUntil: now, Due: now.Add(grace), Code: sealedCode,
	}, nil
}

// supersede ends a challenge whose place a newer one takes: a message that is not out is not sent, and the code is
// dead either way.
func (d *dispatcher) supersede(ctx context.Context, id string, now time.Time) error {
	c, err := d.records.challenges.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Closed == closedVerified {
		return nil // used, and its message has come or will not be sent
	}
	if !c.ended() {
		ended, err := d.end(ctx, c, ending{outcome: contract.OutcomeSuperseded, reason: contract.ReasonSuperseded, closed: closedSuperseded}, now)
		if ended || err != nil {
			return err
		}
	}
	return d.records.closeCode(ctx, id, closedSuperseded, now)
}

// forget drops what is older than a reset, and the codes that are under way with it.
func (d *dispatcher) forget(ctx context.Context, who contract.Account, epoch int64, now time.Time) error {
	before, raised, err := d.records.raise(ctx, who, epoch)
	if err != nil {
		return err
	}
	if !raised {
		// Done before, or by somebody who may have died before the rest of it was.
		if before, err = d.records.people.Get(ctx, personID(who)); errors.Is(err, store.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, id := range before.Sends.older(now, epoch) {
		if err := d.supersede(ctx, id, now); err != nil {
			return err
		}
	}
	if !raised {
		return nil
	}
	d.log.Info("number forgotten after a reset", slog.String("portal", who.Portal), slog.String("user", who.User),
		slog.Int64("epoch", epoch), slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx))
	return nil
}

// reset consumes the news of a reset. What is younger than the reset stays: the person may have enrolled again by now.
func (d *dispatcher) reset(ctx context.Context, ev bus.Delivery[contract.ResetFact]) error {
	if !named(ev.Message.Account) {
		return bus.Dead(errors.New("no such person"))
	}
	return d.forget(ctx, ev.Message.Account, ev.Message.Epoch.Person, d.now())
}

// lockedOut is the refusal of a closed factor, or nil.
func lockedOut(s lockout.State, now time.Time) error {
	if s.Allowed(now) {
		return nil
	}
	if s.Disabled() {
		e := contract.Refuse(contract.Locked, "Text messages are disabled after too many wrong codes. Please use a recovery code or ask for a reset.")
		e.RetryAfter = 3600
		return e
	}
	until, _ := s.LockedUntil(now)
	e := contract.Wait(contract.Locked, until.Sub(now), "Too many wrong codes. Please wait before you try again.")
	e.LockedUntil = &until
	return e
}

// lockOf is what a page may know of a count of guesses: nil while it is open.
func lockOf(s lockout.State, now time.Time) *contract.Lock {
	until, closed := s.LockedUntil(now)
	switch {
	case !closed:
		return nil
	case s.Disabled():
		return &contract.Lock{Failures: s.Failures}
	default:
		until = until.UTC()
		return &contract.Lock{Failures: s.Failures, Until: &until}
	}
}

// status tells how far a challenge's message is, as the person may know it.
func (o *Office) status(ctx context.Context, req contract.SMSStatusRequest) (contract.SMSStatusReply, error) {
	if !named(req.Account) {
		return contract.SMSStatusReply{}, errNotUsable
	}
	now := o.now()
	p, err := o.records.people.Get(ctx, personID(req.Account))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return contract.SMSStatusReply{}, err
	}
	at, _, _ := p.Sends.next(o.guards.limits[contract.GuardPerson])
	reply := contract.SMSStatusReply{ResendAt: at, Lock: lockOf(p.Guess, now), AttemptsLeft: p.Guess.LeftAt(now)}
	if at.IsZero() {
		reply.ResendAt = now
	}
	if p.Active != nil {
		reply.Destination = mask(p.Active.Last4)
	}
	if req.Challenge == "" {
		return reply, nil
	}
	c, err := o.records.challenges.Get(ctx, req.Challenge)
	if errors.Is(err, store.ErrNotFound) || err == nil && c.account() != req.Account {
		return contract.SMSStatusReply{}, errNoChallenge
	}
	if err != nil {
		return contract.SMSStatusReply{}, err
	}
	reply.Destination, reply.RequestedAt = mask(c.Last4), c.CreatedAt
	reply.Delivery, reply.Reason = delivery(c, now)
	return reply, nil
}

// status answers [contract.SMSStatus]. Whether anything is sent now, each replica knows of itself; they see the same AWS.
func (d *dispatcher) status(ctx context.Context, req contract.SMSStatusRequest) (contract.SMSStatusReply, error) {
	reply, err := d.office.status(ctx, req)
	reply.Paused = reply.Delivery == contract.DeliveryQueued && !d.gate.open()
	return reply, err
}

// delivery is what a person may know of a challenge's state.
func delivery(c challenge, now time.Time) (contract.Delivery, contract.FailureReason) {
	switch {
	case c.State == stateSent:
		return contract.DeliverySent, ""
	case c.ended():
		return contract.DeliveryFailed, c.Reason
	case !now.Before(c.ExpiresAt):
		return contract.DeliveryFailed, contract.ReasonExpired
	default:
		return contract.DeliveryQueued, ""
	}
}

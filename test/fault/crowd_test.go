package fault

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// person asks for codes as a gateway does for somebody, and remembers what they were told.
type person struct {
	h *house
	contract.Account
	phone, flow, enrolment string
	epoch                  contract.Epoch
}

var people atomic.Int64

// person is somebody new, with a number of their own.
func (h *house) person() *person {
	n := people.Add(1)
	user := fmt.Sprintf("p%d", n)
	return &person{
		h: h, Account: contract.Account{Portal: h.portal, User: user}, phone: fmt.Sprintf("+1701%07d", 2_000_000+n),
		flow: "flow-" + user, enrolment: "en-" + user, epoch: contract.Epoch{Population: 1, Person: 1},
	}
}

// newID is an id of a challenge that may stand in a host name.
func newID() string { return fmt.Sprintf("c%07d", people.Add(1)) }

// open asks for a text, again while nobody answers, and writes down what was told.
func (p *person) open(ctx context.Context, id string, purpose contract.Purpose) (contract.SMSOpenReply, error) {
	req := contract.SMSOpenRequest{
		Account: p.Account, Challenge: id, Flow: p.flow, Purpose: purpose, Enrolment: p.enrolment, Epoch: p.epoch,
		PortalName: "Northwind", Host: hosted(id),
	}
	if purpose == contract.ForEnrolment {
		sealed, err := p.h.box.SealField(secret.New(p.phone), contract.PurposePhone, p.Account)
		if err != nil {
			return contract.SMSOpenReply{}, err
		}
		req.Phone = sealed
	}
	rep, err := again(ctx, func() (contract.SMSOpenReply, error) { return bus.Request(ctx, p.h.gateway, contract.SMSOpen, req) })
	if err == nil {
		p.h.book.tells(Told{Challenge: id, At: time.Now(), ExpiresAt: rep.ExpiresAt}, p)
	}
	return rep, err
}

// again repeats a call that nobody answered, as a person would, until ctx ends.
func again[T any](ctx context.Context, call func() (T, error)) (T, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := call()
		if contract.CodeOf(err) != contract.Unavailable {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, err
		case <-tick.C:
		}
	}
}

// ask opens a challenge for a number that is new and publishes its job.
func (p *person) ask(tb testing.TB, id string) contract.SMSOpenReply {
	tb.Helper()
	return p.askFor(tb, id, 30*time.Second)
}

// askFor is ask by somebody who is as patient as that.
func (p *person) askFor(tb testing.TB, id string, patience time.Duration) contract.SMSOpenReply {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	rep, err := p.open(ctx, id, contract.ForEnrolment)
	if err != nil {
		tb.Errorf("open %s: %v", id, err)
		return rep
	}
	p.publish(ctx, id, "requested-"+id, rep.ExpiresAt)
	return rep
}

// publish tells the dispatchers of a challenge, once. A job that is not taken is the reconciler's.
func (p *person) publish(ctx context.Context, id, letter string, expires time.Time) {
	_ = bus.Publish(ctx, p.h.gateway, contract.ChallengeRequested, letter, contract.ChallengeRequest{Account: p.Account, Challenge: id, ExpiresAt: expires})
}

// confirm types the code of a challenge that was opened for a new number. A right one closes it.
func (p *person) confirm(ctx context.Context, id, code string) error {
	sealed, err := p.h.box.SealField(secret.New(code), contract.PurposeTypedCode, p.Account)
	if err != nil {
		return err
	}
	unanswered := false
	_, err = again(ctx, func() (contract.Confirmation, error) {
		rep, err := bus.Request(ctx, p.h.gateway, contract.SMSConfirm, contract.SMSConfirmRequest{
			Account: p.Account, Challenge: id, Flow: p.flow, Enrolment: p.enrolment, Code: sealed,
		})
		unanswered = unanswered || contract.CodeOf(err) == contract.Unavailable
		return rep, err
	})
	if contract.CodeOf(err) == contract.Expired {
		// Typed once more after a call that nobody answered: the code may have been spent by that one.
		if r, e := p.h.record(ctx, id); e == nil && r.Closed == string(Verified) {
			if !unanswered {
				return fmt.Errorf("a right code was spent and called wrong: %w", err)
			}
			err = nil
		}
	}
	if err == nil {
		p.h.book.closes(Closing{id, Verified, time.Now()})
	}
	return err
}

// supersede has a newer start of the person's set-up take the place of everything under way, as after a reset by an
// admin. Where its own text comes too soon after the last one, that changes nothing of it.
func (p *person) supersede(ctx context.Context, ids ...string) error {
	p.epoch.Person++
	p.enrolment += "-again"
	if _, err := p.open(ctx, newID(), contract.ForEnrolment); err != nil && contract.CodeOf(err) != contract.TooSoon {
		return err
	}
	for _, id := range ids {
		p.h.book.closes(Closing{id, Superseded, time.Now()})
	}
	return nil
}

// resend asks for another text in the same sign-in, which takes the place of the one before.
func (p *person) resend(ctx context.Context, before, id string) error {
	rep, err := p.open(ctx, id, contract.ForEnrolment)
	if err != nil {
		return err
	}
	p.h.book.closes(Closing{before, Superseded, time.Now()})
	p.publish(ctx, id, "requested-"+id, rep.ExpiresAt)
	return nil
}

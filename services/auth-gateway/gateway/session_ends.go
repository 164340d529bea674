package gateway

import (
	"context"
	"errors"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// This file answers: which sessions end by what became of their person's factor?
//
// The request that resets a person, or confirms a factor, ends the others' sessions itself, before it is answered. It may
// die on the way, or never hear that it was carried out; so the owners of standings and factors tell it as well.

// factDeliveries is how often a fact is tried: with half a minute between, for hours, since only a bucket that cannot be
// seen makes one fail.
const factDeliveries = 500

// follow ends sessions by what is told of their people, for as long as the service runs.
func (s *sessions) follow(ctx context.Context, b *bus.Bus) error {
	o := bus.ConsumeOptions{MaxDeliver: factDeliveries}
	return errors.Join(
		bus.Consume(ctx, b, contract.EnrolmentReset, o, func(ctx context.Context, d bus.Delivery[contract.ResetFact]) error {
			return s.endThose(ctx, d.Message.Account, func(v session) bool { return v.resetBy(d.Message) })
		}),
		bus.Consume(ctx, b, contract.EnrolmentConfirmed, o, func(ctx context.Context, d bus.Delivery[contract.EnrolmentFact]) error {
			return s.endThose(ctx, d.Message.Account, func(v session) bool { return v.endedBy(d.Message) })
		}),
	)
}

// endThose revokes those of a person's sessions that are over. Where the bucket cannot be seen it fails, for one may be
// missed.
func (s *sessions) endThose(ctx context.Context, who contract.Account, over func(session) bool) error {
	if !s.kv.Fresh() {
		return contract.NotAnswering()
	}
	for _, v := range s.list(who) {
		if over(v) {
			if err := s.end(ctx, v.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// resetBy tells whether a reset of its person ends the session: one of an older generation.
func (s session) resetBy(r contract.ResetFact) bool {
	return s.ID != r.Keep && s.Epoch.Person < r.Epoch.Person
}

// endedBy tells whether a factor that was confirmed ends the session of its person: one from before, that it did not
// open. Two factors are compared by their owner's clock. Who came without one came before by the gateways' clock, which
// may be some moments off: the request that brings the code ends those sessions itself, and this is for where it cannot.
// The session in which the factor is set up stays: it rises in that request, or asks for the answer again.
func (s session) endedBy(f contract.EnrolmentFact) bool {
	switch {
	case s.Enrolling != nil && s.Enrolling.Enrolment == f.Enrolment:
		return false
	case s.EnrolledAt.IsZero():
		return s.AuthTime.Before(f.Since)
	}
	return s.EnrolledAt.Before(f.Since)
}

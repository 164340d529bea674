package policy

import (
	"context"
	"errors"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// deliveries is how often a fact is tried: with half a minute between, for hours, since only a store that does not
// answer makes one fail.
const deliveries = 500

// consume does what a lost call should have done, and sees to it that every fact is in the audit log.
func (p *policy) consume(ctx context.Context, b *bus.Bus) error {
	return errors.Join(
		keep(ctx, p, b, contract.EnrolmentStarted, func(_ context.Context, f contract.EnrolmentFact) (contract.AuditNote, error) {
			return enrolmentNote(contract.AuditEnrolmentStarted, f), nil
		}),
		keep(ctx, p, b, contract.EnrolmentConfirmed, func(ctx context.Context, f contract.EnrolmentFact) (contract.AuditNote, error) {
			_, err := p.enrol(ctx, contract.RecordRequest(f))
			return enrolmentNote(contract.AuditEnrolmentConfirmed, f), err
		}),
		keep(ctx, p, b, contract.FactorRecovered, func(ctx context.Context, f contract.RecoveryFact) (contract.AuditNote, error) {
			_, err := p.reset(ctx, contract.ResetRequest{
				Account: f.Account, Reset: "recovery-" + f.Recovery, Actor: "recovery", Cause: contract.ResetByRecovery, Reason: "A recovery code was used.",
			})
			return recoveryNote(f), err
		}),
		keepThen(ctx, p, b, contract.EnrolmentReset, only(resetNote), p.countReset),
		keep(ctx, p, b, contract.EnrolmentSkipped, only(func(f contract.PersonFact) contract.AuditNote {
			return personNote(contract.AuditEnrolmentSkipped, f)
		})),
		keep(ctx, p, b, contract.EnrolmentEnabled, only(func(f contract.PersonFact) contract.AuditNote {
			return personNote(contract.AuditEnrolmentEnabled, f)
		})),
		keep(ctx, p, b, contract.SettingsChanged, only(settingsNote)),
		keep(ctx, p, b, contract.ChallengeEnded, only(challengeNote)),
		keep(ctx, p, b, contract.FactorLocked, only(lockNote)),
		keep(ctx, p, b, contract.FactorUnlocked, only(unlockNote)),
		keep(ctx, p, b, contract.TextsLimited, only(limitNote)),
		keep(ctx, p, b, contract.TextsStopped, only(stopNote(contract.AuditTextsStopped))),
		keep(ctx, p, b, contract.TextsResumed, only(stopNote(contract.AuditTextsResumed))),
		keep(ctx, p, b, contract.AccountChanged, only(func(f contract.AuditNote) contract.AuditNote { return f })),
	)
}

// only is for a fact that causes nothing but its entry.
func only[T any](note func(T) contract.AuditNote) func(context.Context, T) (contract.AuditNote, error) {
	return func(_ context.Context, f T) (contract.AuditNote, error) { return note(f), nil }
}

// keep consumes one kind of fact: first what it causes, then its entry in the audit log, under the event's id. Both may
// happen again. A fact that nobody can use is dead.
func keep[T any](ctx context.Context, p *policy, b *bus.Bus, ev contract.Event[T], what func(context.Context, T) (contract.AuditNote, error)) error {
	return keepThen(ctx, p, b, ev, what, func(context.Context, T) error { return nil })
}

// keepThen does the same, and afterwards what the entry must not wait for: it happens again until it succeeds, too.
func keepThen[T any](ctx context.Context, p *policy, b *bus.Bus, ev contract.Event[T], what func(context.Context, T) (contract.AuditNote, error), then func(context.Context, T) error) error {
	return bus.Consume(ctx, b, ev, bus.ConsumeOptions{MaxDeliver: deliveries}, func(ctx context.Context, d bus.Delivery[T]) error {
		n, err := what(ctx, d.Message)
		if err == nil {
			if n.At.IsZero() {
				n.At = d.PublishedAt
			}
			err = p.note(ctx, d.ID, n)
		}
		if err == nil {
			err = then(ctx, d.Message)
		}
		if contract.CodeOf(err) == contract.InvalidRequest {
			return bus.Dead(err)
		}
		return err
	})
}

// note appends to the audit log, once per id.
func (p *policy) note(ctx context.Context, id string, n contract.AuditNote) error {
	added, err := p.log.add(ctx, id, n)
	if added {
		p.metrics.audited.WithLabelValues(string(n.Action)).Inc()
	}
	return err
}

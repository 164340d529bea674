package policy

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// action names a line of the audit log. The names are stable: admins filter and export by them.
type action string

const (
	enrolmentStarted   action = "enrolment_started"
	enrolmentConfirmed action = "enrolment_confirmed"
	enrolmentReset     action = "enrolment_reset"
	enrolmentSkipped   action = "enrolment_skipped"
	settingsChanged    action = "settings_changed"
	challengeEnded     action = "challenge_ended"
	factorLocked       action = "factor_locked"
	factorRecovered    action = "factor_recovered"
)

func actions() []action {
	return []action{
		enrolmentStarted, enrolmentConfirmed, enrolmentReset, enrolmentSkipped,
		settingsChanged, challengeEnded, factorLocked, factorRecovered,
	}
}

// deliveries is how often a fact is tried: with half a minute between, for hours, since only a store that does not
// answer makes one fail.
const deliveries = 500

// consume writes every fact to the audit log, and does what a lost call should have done.
func (p *policy) consume(ctx context.Context, b *bus.Bus) error {
	return errors.Join(
		keep(ctx, p, b, contract.EnrolmentStarted, func(_ context.Context, f contract.EnrolmentFact) (auditDoc, error) {
			return enrolmentLine(enrolmentStarted, f), nil
		}),
		keep(ctx, p, b, contract.EnrolmentConfirmed, func(ctx context.Context, f contract.EnrolmentFact) (auditDoc, error) {
			_, err := p.enrol(ctx, contract.RecordRequest(f))
			return enrolmentLine(enrolmentConfirmed, f), err
		}),
		keep(ctx, p, b, contract.EnrolmentReset, func(_ context.Context, f contract.ResetFact) (auditDoc, error) {
			return auditDoc{
				Portal: f.Portal, User: f.User, Actor: f.Actor, At: f.At, Action: enrolmentReset,
				Detail: detail("reset", f.Reset, "reason", f.Reason, "generation", strconv.FormatInt(f.Epoch.Person, 10)),
			}, nil
		}),
		keep(ctx, p, b, contract.EnrolmentSkipped, func(_ context.Context, f contract.PersonFact) (auditDoc, error) {
			return auditDoc{Portal: f.Portal, User: f.User, Actor: f.User, At: f.At, Action: enrolmentSkipped}, nil
		}),
		keep(ctx, p, b, contract.SettingsChanged, func(_ context.Context, f contract.SettingsFact) (auditDoc, error) {
			return auditDoc{Portal: f.Portal, Actor: f.Actor, At: f.At, Action: settingsChanged, Detail: detail(
				"version", strconv.FormatInt(f.After.Version, 10),
				"internal_before", string(f.Before.Internal.Mode), "internal_after", string(f.After.Internal.Mode),
				"organizations_before", string(f.Before.Organizations.Mode), "organizations_after", string(f.After.Organizations.Mode),
				"opt_out_before", strconv.FormatBool(f.Before.Organizations.AllowOptOut), "opt_out_after", strconv.FormatBool(f.After.Organizations.AllowOptOut),
			)}, nil
		}),
		keep(ctx, p, b, contract.ChallengeEnded, func(_ context.Context, f contract.ChallengeFact) (auditDoc, error) {
			return auditDoc{Portal: f.Portal, User: f.User, At: f.At, Action: challengeEnded, Detail: detail(
				"challenge", f.Challenge, "outcome", string(f.Outcome), "reason", string(f.Reason), "attempts", strconv.Itoa(f.Attempts),
			)}, nil
		}),
		keep(ctx, p, b, contract.FactorLocked, func(_ context.Context, f contract.LockFact) (auditDoc, error) {
			until := "disabled"
			if f.Until != nil {
				until = f.Until.UTC().Format(time.RFC3339)
			}
			return auditDoc{Portal: f.Portal, User: f.User, At: f.At, Action: factorLocked, Detail: detail(
				"factor", string(f.Factor), "failures", strconv.Itoa(f.Failures), "until", until,
			)}, nil
		}),
		keep(ctx, p, b, contract.FactorRecovered, func(ctx context.Context, f contract.RecoveryFact) (auditDoc, error) {
			_, err := p.reset(ctx, contract.ResetRequest{
				Account: f.Account, Reset: "recovery-" + f.Recovery, Actor: "recovery", Reason: "A recovery code was used.",
			})
			return auditDoc{Portal: f.Portal, User: f.User, Actor: f.User, At: f.At, Action: factorRecovered, Detail: detail(
				"recovery", f.Recovery, "codes_left", strconv.Itoa(f.CodesLeft),
			)}, err
		}),
	)
}

// keep consumes one kind of fact: first what it causes, then its line in the audit log. Both may happen again.
func keep[T any](ctx context.Context, p *policy, b *bus.Bus, ev contract.Event[T], line func(context.Context, T) (auditDoc, error)) error {
	return bus.Consume(ctx, b, ev, bus.ConsumeOptions{MaxDeliver: deliveries}, func(ctx context.Context, d bus.Delivery[T]) error {
		l, err := line(ctx, d.Message)
		if contract.CodeOf(err) == contract.InvalidRequest {
			return bus.Dead(err)
		}
		if err != nil {
			return err
		}
		if !isPortal(l.Portal) {
			return bus.Dead(errors.New("a fact of no portal"))
		}
		if l.At.IsZero() {
			l.At = d.PublishedAt
		}
		l.ID, l.Request = d.ID, bus.RequestID(ctx)
		if err := p.state.write(ctx, l); err != nil {
			return err
		}
		p.metrics.audited.WithLabelValues(string(l.Action)).Inc()
		return nil
	})
}

func enrolmentLine(a action, f contract.EnrolmentFact) auditDoc {
	return auditDoc{
		Portal: f.Portal, User: f.User, Actor: f.User, At: f.Since, Action: a,
		Detail: detail("factor", string(f.Factor), "enrolment", f.Enrolment),
	}
}

// detail makes a map of names and values, in turn; what is empty is left out.
func detail(pairs ...string) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for pair := range slices.Chunk(pairs, 2) {
		if name, value := pair[0], pair[len(pair)-1]; value != "" {
			m[name] = value
		}
	}
	return m
}

// Package policy answers: who needs a second factor, who has one, and what has happened?
//
// decide.go and chain.go hold the rules; calls.go and wishes.go answer the gateway, facts.go makes up for calls that were
// lost, audit.go keeps the audit log and verify.go proves it; store.go keeps the documents, operator.go works without
// the service.
package policy

import (
	"context"
	"errors"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
)

// Settings are the service's settings: only those that every service has.
type Settings struct {
	service.Settings
}

// Validate returns what is wrong beyond the type of each variable.
func (s *Settings) Validate() []string { return s.Problems() }

// policy answers the calls and consumes the facts.
type policy struct {
	state   state
	log     *Audit
	tallies tallies
	clock   clock.Clock
	metrics metrics
}

// Start starts the service: it is ready to answer when this returns.
func Start(ctx context.Context, env service.Env) (*service.Service, error) {
	settings, err := service.Load[Settings](contract.Policy, env.Vars)
	if err != nil {
		return nil, err
	}
	svc, err := service.Open(ctx, contract.Policy, env, settings.Settings)
	if err != nil {
		return nil, err
	}
	if err := svc.Reseal(ctx, keptSealed()); err != nil {
		return nil, svc.Abandon(ctx, err)
	}
	log, err := OpenAudit(ctx, svc.DB, svc.Keys)
	if err != nil {
		return nil, svc.Abandon(ctx, err)
	}
	p := &policy{state: newState(svc.DB, svc.Outbox), log: log, tallies: newTallies(svc.DB), clock: svc.Clock, metrics: newMetrics(svc.Registerer())}
	if err := errors.Join(p.answer(svc.Bus), p.consume(ctx, svc.Bus)); err != nil {
		return nil, svc.Abandon(ctx, err)
	}
	return svc, nil
}

func (p *policy) answer(b *bus.Bus) error {
	return errors.Join(
		bus.Handle(b, contract.PolicyDecide, p.decide),
		bus.Handle(b, contract.PolicySkip, p.skip),
		bus.Handle(b, contract.PolicyRecord, p.record),
		bus.Handle(b, contract.PolicyReset, p.reset),
		bus.Handle(b, contract.PolicySettings, p.settings),
		bus.Handle(b, contract.PolicyChange, p.change),
		bus.Handle(b, contract.PolicyRules, p.rules),
		bus.Handle(b, contract.PolicyStanding, p.standing),
		bus.Handle(b, contract.PolicyEnable, p.enable),
		bus.Handle(b, contract.PolicyRename, p.rename),
		bus.Handle(b, contract.PolicyAudit, p.audit),
		bus.Handle(b, contract.PolicyAuditList, p.log.list),
	)
}

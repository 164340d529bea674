// Package policy answers: who needs a second factor, who has one, and what has happened?
//
// decide.go holds the rules, calls.go answers the gateway, facts.go keeps the audit log and makes up for calls that
// were lost, store.go keeps the documents.
package policy

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/config"
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
	clock   clock.Clock
	metrics metrics
}

// Start starts the service: it is ready to answer when this returns.
func Start(ctx context.Context, env service.Env) (*service.Service, error) {
	settings, err := config.Load[Settings](env.Vars)
	if err != nil {
		return nil, err
	}
	svc, err := service.Open(ctx, contract.Policy, env, settings.Settings)
	if err != nil {
		return nil, err
	}
	p := &policy{state: newState(svc.DB, svc.Outbox), clock: svc.Clock, metrics: newMetrics(svc.Registerer())}
	if err := errors.Join(p.answer(svc.Bus), p.consume(ctx, svc.Bus)); err != nil {
		return nil, errors.Join(err, svc.Stop(context.WithoutCancel(ctx)))
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
	)
}

type metrics struct {
	decisions *prometheus.CounterVec
	audited   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_policy_decisions_total", Help: "Decisions about sign-ins, by action and audience.",
		}, []string{"action", "audience"}),
		audited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_policy_audited_total", Help: "Facts written to the audit log, redeliveries included, by action.",
		}, []string{"action"}),
	}
	for _, audience := range []contract.Audience{contract.Internal, contract.Organization} {
		for _, a := range []contract.Action{contract.Allow, contract.Enroll, contract.Challenge} {
			m.decisions.WithLabelValues(string(a), string(audience))
		}
	}
	for _, a := range actions() {
		m.audited.WithLabelValues(string(a))
	}
	r.MustRegister(m.decisions, m.audited)
	return m
}

package policy

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
)

// metrics of the service. Every label is a closed set whose series exist from the start.
type metrics struct {
	decisions *prometheus.CounterVec
	audited   *prometheus.CounterVec
	resets    *prometheus.CounterVec
	ofOne     prometheus.Histogram
}

// countReset counts a reset, once however often it is told: those count, too, that an operator made without this service.
func (p *policy) countReset(ctx context.Context, f contract.ResetFact) error {
	first, err := p.tallies.first(ctx, f)
	if err != nil || !first {
		return err
	}
	by := resetterOf(f)
	p.metrics.resets.WithLabelValues(string(by)).Inc()
	if by != byMasterAdmin && by != byOrganizationAdmin {
		return nil
	}
	n, err := p.tallies.count(ctx, f.Portal+"/"+f.Actor, f.At)
	if err != nil {
		return err
	}
	p.metrics.ofOne.Observe(float64(n))
	return nil
}

// resetterOf is who made a reset.
func resetterOf(f contract.ResetFact) resetBy {
	switch f.Cause { //nolint:exhaustive // the rest is an admin's
	case contract.ResetByRecovery:
		return byRecovery
	case contract.ResetByRemoval:
		return byPerson
	case contract.ResetByOperator:
		return byOperator
	}
	switch {
	case strings.HasPrefix(f.Actor, "operator:"): // who deleted the account
		return byOperator
	case f.OfOrganization:
		return byOrganizationAdmin
	default:
		return byMasterAdmin
	}
}

// resetBy is who made a person enrol again: a closed set, fit for labels.
type resetBy string

const (
	byMasterAdmin       resetBy = "master_admin"
	byOrganizationAdmin resetBy = "organization_admin"
	byOperator          resetBy = "operator"
	byRecovery          resetBy = "recovery"
	// byPerson: they removed their own factor.
	byPerson resetBy = "person"
)

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_policy_decisions_total", Help: "Decisions about sign-ins, by action and audience.",
		}, []string{"action", "audience"}),
		audited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_policy_audited_total", Help: "Entries appended to the audit log, by action.",
		}, []string{"action"}),
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_policy_resets_total", Help: "People who were made to enrol again, by who did it.",
		}, []string{"by"}),
		ofOne: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_policy_resets_of_one_admin", Help: "At each reset by an admin: how many people that admin has reset on this day (UTC), this one included.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100},
		}),
	}
	for _, audience := range []contract.Audience{contract.Internal, contract.Organization} {
		for _, a := range []contract.Action{contract.Allow, contract.Enroll, contract.Challenge} {
			m.decisions.WithLabelValues(string(a), string(audience))
		}
	}
	for _, a := range contract.AuditActions() {
		m.audited.WithLabelValues(string(a))
	}
	for _, by := range []resetBy{byMasterAdmin, byOrganizationAdmin, byOperator, byRecovery, byPerson} {
		m.resets.WithLabelValues(string(by))
	}
	r.MustRegister(m.decisions, m.audited, m.resets, m.ofOne)
	return m
}

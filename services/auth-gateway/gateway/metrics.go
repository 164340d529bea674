package gateway

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
)

// metrics of the ways through the gateway: how many begin, how far they come, and how long it takes. Every label is a
// closed set whose series exist from the start.
//
// A sign-in is one entry of the bucket, and what happens to it is counted by whoever wrote it there: a request that is
// repeated, or that another was faster than, changes nothing and counts nothing.
type metrics struct {
	enrolments *prometheus.CounterVec
	challenges *prometheus.CounterVec
	signIns    *prometheus.CounterVec
	took       *prometheus.HistogramVec
	hashWait   prometheus.Histogram
}

// The steps of an enrolment at a sign-in, and of a challenge.
const (
	wasPrompted = "prompted"
	wasStarted  = "started"
	wasEnrolled = "enrolled"
	wasSkipped  = "skipped"
	wasVerified = "verified"
)

// What becomes of a sign-in.
const (
	signInBegun    = "begun"
	signInComplete = "complete"
	signInRelogin  = "relogin"
	signInLocked   = "locked"
)

// noFactor is in the place of a factor where a sign-in needed none.
const noFactor = "none"

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		enrolments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_gateway_enrolments_total", Help: "Enrolments that sign-ins led to, by how far they came.",
		}, []string{"population", "factor", "step"}),
		challenges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_gateway_challenges_total", Help: "Sign-ins that asked for a code, and those whose code was right.",
		}, []string{"population", "factor", "step"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_gateway_sign_ins_total", Help: "Sign-ins: begun with the right password, complete with a session, or met by a factor that wrong codes have locked.",
		}, []string{"population", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_gateway_sign_in_seconds", Help: "Time from the right password to the session, people's time included.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600},
		}, []string{"population", "factor"}),
		hashWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_gateway_hash_wait_seconds", Help: "Time that passwords wait in line before they are hashed, those included that gave up.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 8},
		}),
	}
	for _, population := range []contract.Audience{contract.Internal, contract.Organization} {
		p := string(population)
		for _, factor := range []contract.Factor{contract.FactorTOTP, contract.FactorSMS} {
			for _, step := range []string{wasPrompted, wasStarted, wasEnrolled, wasSkipped} {
				m.enrolments.WithLabelValues(p, string(factor), step)
			}
			for _, step := range []string{wasPrompted, wasVerified} {
				m.challenges.WithLabelValues(p, string(factor), step)
			}
			m.took.WithLabelValues(p, string(factor))
		}
		for _, outcome := range []string{signInBegun, signInComplete, signInRelogin, signInLocked} {
			m.signIns.WithLabelValues(p, outcome)
		}
		m.took.WithLabelValues(p, noFactor)
	}
	r.MustRegister(m.enrolments, m.challenges, m.signIns, m.took, m.hashWait)
	return m
}

// begun counts a sign-in that was written for the first time.
func (m *metrics) begun(s signIn) {
	m.signIns.WithLabelValues(s.population(), signInBegun).Inc()
	switch s.Status { //nolint:exhaustive // whoever is let in is asked for nothing
	case StatusEnroll:
		m.enrolment(s, wasPrompted)
	case StatusChallenge:
		m.challenges.WithLabelValues(s.population(), string(s.Factor), wasPrompted).Inc()
	}
}

// moved counts a step of the transition table that was written.
func (m *metrics) moved(s signIn, way step) {
	if s.starts {
		m.enrolment(s, wasStarted)
	}
	if s.locks {
		m.signIns.WithLabelValues(s.population(), signInLocked).Inc()
	}
	switch way { //nolint:exhaustive // begun counts the first steps, and nothing is nothing
	case stepConfirmed:
		m.enrolment(s, wasEnrolled)
	case stepReenter:
		m.enrolment(s, wasEnrolled)
		m.signIns.WithLabelValues(s.population(), signInRelogin).Inc()
	case stepSkipped:
		m.enrolment(s, wasSkipped)
	case stepVerified:
		m.challenges.WithLabelValues(s.population(), string(s.Factor), wasVerified).Inc()
	case stepRecovered:
		m.enrolment(s, wasPrompted)
	}
}

func (m *metrics) enrolment(s signIn, step string) {
	m.enrolments.WithLabelValues(s.population(), string(s.Factor), step).Inc()
}

// complete counts a sign-in whose session is handed out.
func (m *metrics) complete(s signIn, methods []string, now time.Time) {
	m.signIns.WithLabelValues(s.population(), signInComplete).Inc()
	factor := noFactor
	switch {
	case slices.Contains(methods, "otp"):
		factor = string(contract.FactorTOTP)
	case slices.Contains(methods, "sms"):
		factor = string(contract.FactorSMS)
	}
	m.took.WithLabelValues(s.population(), factor).Observe(max(0, now.Sub(s.CreatedAt).Seconds()))
}

// population is that of the person, as a label.
func (s signIn) population() string {
	if s.Who.Audience == contract.Organization {
		return string(contract.Organization)
	}
	return string(contract.Internal)
}

// measure registers how many sessions this gateway knows: those of the whole installation, as every gateway sees them.
func (s *sessions) measure(r prometheus.Registerer) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_gateway_sessions", Help: "Sessions that live, as this gateway sees them; every gateway sees all.",
	}, func() float64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return float64(len(s.byID))
	}))
}

package totp

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/lockout"
)

// result is how a call with a code ended: a closed set, fit for labels.
type result string

// The results. Only right, wrong and replayed guesses were compared.
const (
	right     result = "accepted"
	wrong     result = "wrong"
	replayed  result = "replayed"
	closed    result = "locked"
	malformed result = "malformed"
	// none: there is nothing to compare with.
	none result = "none"
	// repeated: the same call was answered before, and its reply was lost; what it came to is counted there.
	repeated result = "repeated"
	// failed: the fault is ours, or a dependency's.
	failed result = "error"
)

// The further results of an unlock, besides none and failed.
const (
	// opened: something was locked, and the count starts again.
	opened result = "opened"
	// disabled: too many wrong codes for an unlock.
	disabled result = "disabled"
)

type metrics struct {
	verifications, confirmations, recoveries *prometheus.CounterVec
	unlocks                                  *prometheus.CounterVec
	drifts                                   prometheus.Counter
	took                                     *prometheus.HistogramVec
	locks                                    *prometheus.CounterVec
	drift                                    prometheus.Histogram
}

// What wrong codes close, and how.
const (
	lockOfCodes, lockOfRecovery = "totp", "recovery"
	lockDelay, lockDisabled     = "delay", "disabled"
)

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, results ...result) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
		for _, l := range results {
			c.WithLabelValues(string(l))
		}
		r.MustRegister(c)
		return c
	}
	guesses := []result{right, wrong, replayed, closed, malformed, none, repeated, failed}
	m := &metrics{
		verifications: counter("sallyport_totp_verifications_total", "Codes of authenticators at a sign-in or step-up, by result.", guesses...),
		confirmations: counter("sallyport_totp_confirmations_total", "Codes that were to activate an authenticator, by result.", guesses...),
		recoveries:    counter("sallyport_totp_recoveries_total", "Recovery codes, by result.", guesses...),
		unlocks:       counter("sallyport_totp_unlocks_total", "Unlocks of authenticators and recovery codes, by result.", opened, none, disabled, failed),
		drifts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_totp_drifts_total", Help: "People who were told that their phone's clock is off.",
		}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_totp_verification_seconds", Help: "Time of a whole verification of an authenticator's code at a sign-in or step-up, by result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"result"}),
		locks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_totp_locks_total", Help: "Authenticators, and sets of recovery codes, that wrong codes closed for a while or disabled.",
		}, []string{"factor", "kind"}),
		drift: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_totp_clock_drift_seconds", Help: "How far telephones' clocks are ahead of ours, by codes that were accepted, and by those whose owner was told.",
			Buckets: []float64{-3600, -600, -300, -120, -60, -30, 0, 30, 60, 120, 300, 600, 3600},
		}),
	}
	for _, l := range guesses {
		m.took.WithLabelValues(string(l))
	}
	for _, factor := range []string{lockOfCodes, lockOfRecovery} {
		for _, kind := range []string{lockDelay, lockDisabled} {
			m.locks.WithLabelValues(factor, kind)
		}
	}
	r.MustRegister(m.drifts, m.took, m.locks, m.drift)
	return m
}

// label is a result as a label. An error without a result of its own is ours.
func (r result) label() result {
	if r == "" {
		return failed
	}
	return r
}

// count counts one call.
func count(c *prometheus.CounterVec, r result) { c.WithLabelValues(string(r.label())).Inc() }

// drifted takes in how many steps a telephone's clock is ahead of ours.
func (m *metrics) drifted(steps int64) {
	m.drift.Observe((time.Duration(steps) * period).Seconds())
}

// locked counts what wrong codes have closed, by the count that closed it.
func (m *metrics) locked(factor string, count lockout.State) {
	kind := lockDelay
	if count.Disabled() {
		kind = lockDisabled
	}
	m.locks.WithLabelValues(factor, kind).Inc()
}

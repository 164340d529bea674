package totp

import "github.com/prometheus/client_golang/prometheus"

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
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, results ...result) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
		for _, l := range results {
			c.WithLabelValues(string(l))
		}
		r.MustRegister(c)
		return c
	}
	guesses := []result{right, wrong, replayed, closed, malformed, none, failed}
	m := &metrics{
		verifications: counter("sallyport_totp_verifications_total", "Codes of authenticators at a sign-in or step-up, by result.", guesses...),
		confirmations: counter("sallyport_totp_confirmations_total", "Codes that were to activate an authenticator, by result.", guesses...),
		recoveries:    counter("sallyport_totp_recoveries_total", "Recovery codes, by result.", guesses...),
		unlocks:       counter("sallyport_totp_unlocks_total", "Unlocks of authenticators and recovery codes, by result.", opened, none, disabled, failed),
		drifts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_totp_drifts_total", Help: "People who were told that their phone's clock is off.",
		}),
	}
	r.MustRegister(m.drifts)
	return m
}

// count counts one call. An error without a result of its own is ours.
func count(c *prometheus.CounterVec, r result) {
	if r == "" {
		r = failed
	}
	c.WithLabelValues(string(r)).Inc()
}

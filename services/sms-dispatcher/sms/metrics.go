package sms

import (
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
)

// metrics of the service. Every label is a closed set whose series exist from the start.
type metrics struct {
	opened       *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	took         prometheus.Histogram
	calling      prometheus.Gauge
	ended        *prometheus.CounterVec
	failed       *prometheus.CounterVec
	handover     prometheus.Histogram
	verification *prometheus.CounterVec
	unlocks      *prometheus.CounterVec
	paused       prometheus.Gauge
	broken       prometheus.Gauge
	jobs         *sight
	waiting      *sight
	oldest       *sight
	laidAside    *prometheus.CounterVec
	answer       prometheus.Histogram
	verifying    *prometheus.HistogramVec
	locks        *prometheus.CounterVec
	guardMetrics
}

// result is how a typed code was answered.
type result string

const (
	right   result = "right"
	wrong   result = "wrong"
	locked  result = "locked"
	expired result = "expired"
	refused result = "refused"
	// failed: the fault is ours, or a dependency's.
	failed result = "error"
	// repeated: the same call was answered before, and its reply was lost; what it came to is counted there.
	repeated result = "repeated"
)

// How wrong codes close a telephone.
const (
	lockDelay    = "delay"
	lockDisabled = "disabled"
)

// unlocking is how an unlock was answered.
type unlocking string

const (
	// unlockOpened: the telephone was locked, and the count starts again.
	unlockOpened   unlocking = "opened"
	unlockNone     unlocking = "none"
	unlockDisabled unlocking = "disabled"
	unlockFailed   unlocking = "error"
)

func newMetrics(r prometheus.Registerer, s Settings) *metrics {
	m := &metrics{
		guardMetrics: newGuardMetrics(r, s),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_challenges_opened_total", Help: "Challenges written, by purpose.",
		}, []string{"purpose"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_attempts_total", Help: "Calls of SNS, by what became of the message.",
		}, []string{"class"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_sms_call_seconds", Help: "Time that one call of SNS took, whatever became of it.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		calling: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_sms_calls_in_flight", Help: "Calls of SNS under way; at most SMS_WORKERS.",
		}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_challenges_failed_total", Help: "Challenges whose text was not handed over, by reason.",
		}, []string{"reason"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_challenges_ended_total", Help: "Challenges by how their delivery ended.",
		}, []string{"outcome"}),
		handover: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_sms_handover_seconds", Help: "Time from writing a challenge to its hand-over to SNS.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
		verification: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_verifications_total", Help: "Typed codes, by how they were answered.",
		}, []string{"result"}),
		unlocks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_unlocks_total", Help: "Unlocks of telephones, by result.",
		}, []string{"result"}),
		paused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_sms_queue_paused", Help: "1 while nothing is sent because SNS refuses our account or the daily budget is spent.",
		}),
		waiting: newSight("sallyport_sms_challenges_overdue", "Challenges found without an outcome after their first seconds (two pages of the reconciler are counted)."),
		jobs:    newSight("sallyport_sms_jobs_pending", "Jobs in the stream that no replica has been given yet; each replica tells the same number."),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_sms_breaker_open", Help: "1 while no call of SNS is made because several in a row have failed.",
		}),
		oldest: newSight("sallyport_sms_oldest_waiting_seconds", "Age of the oldest challenge that waits to be sent after its first seconds; 0 if none does."),
		laidAside: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_laid_aside_total", Help: "Jobs left to the reconciler because they came late, or after their code had expired.",
		}, []string{"why"}),
		answer: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_sms_answer_seconds", Help: "Time from hand-over to SNS to the right code.",
			Buckets: []float64{2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300},
		}),
		verifying: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_sms_verification_seconds", Help: "Time of a whole verification of a text message's code, by result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"result"}),
		locks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_sms_locks_total", Help: "Telephones that wrong codes closed for a while or disabled.",
		}, []string{"kind"}),
	}
	r.MustRegister(m.verifying, m.locks, m.opened, m.attempts, m.ended, m.handover, m.verification, m.unlocks, m.paused, m.broken, m.jobs, m.waiting, m.oldest,
		m.laidAside, m.answer, m.took, m.calling, m.failed)
	for _, why := range []contract.FailureReason{contract.ReasonInvalidNumber, contract.ReasonOptedOut, contract.ReasonExpired, contract.ReasonSuperseded, contract.ReasonCarrier, contract.ReasonStopped, contract.ReasonUnsendable} {
		m.failed.WithLabelValues(string(why))
	}
	for _, why := range []lateness{lateExpired, lateWaited} {
		m.laidAside.WithLabelValues(string(why))
	}
	for _, p := range []contract.Purpose{contract.ForEnrolment, contract.ForSignIn, contract.ForStepUp} {
		m.opened.WithLabelValues(string(p))
	}
	for _, c := range classes() {
		m.attempts.WithLabelValues(string(c))
	}
	for _, o := range []contract.Outcome{contract.OutcomeSent, contract.OutcomeFailed, contract.OutcomeExpired, contract.OutcomeSuperseded} {
		m.ended.WithLabelValues(string(o))
	}
	for _, kind := range []string{lockDelay, lockDisabled} {
		m.locks.WithLabelValues(kind)
	}
	for _, v := range []result{right, wrong, locked, expired, refused, repeated, failed} {
		m.verifying.WithLabelValues(string(v))
		m.verification.WithLabelValues(string(v))
	}
	for _, u := range []unlocking{unlockOpened, unlockNone, unlockDisabled, unlockFailed} {
		m.unlocks.WithLabelValues(string(u))
	}
	return m
}

// locked counts a telephone that wrong codes have closed, by the count that closed it.
func (m *metrics) locked(count lockout.State) {
	kind := lockDelay
	if count.Disabled() {
		kind = lockDisabled
	}
	m.locks.WithLabelValues(kind).Inc()
}

package bus

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/contract"
)

type metrics struct {
	calls    *prometheus.HistogramVec
	consumed *prometheus.CounterVec
}

// What became of an event.
const (
	consumedOK      = "ok"
	consumedRetried = "retried"
	consumedDead    = "dead"
	// consumedUnsaid: the work is done, or is to be done again, and the server could not be told so.
	consumedUnsaid = "unacknowledged"
	// consumedDropped: it was no message of a stream.
	consumedDropped = "dropped"
)

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_bus_call_duration_seconds", Help: "Time of request/reply calls, by side, subject and outcome code.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"side", "subject", "code"}),
		consumed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_bus_events_total", Help: "Events consumed, by subject and outcome.",
		}, []string{"subject", "outcome"}),
	}
	if r != nil {
		r.MustRegister(m.calls, m.consumed)
	}
	return m
}

// connected registers whether the bus is connected; it asks nobody.
func (b *Bus) connected(r prometheus.Registerer) {
	if r == nil {
		return
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_bus_connected", Help: "1 while the connection to NATS stands.",
	}, func() float64 {
		if b.nc.IsConnected() {
			return 1
		}
		return 0
	}))
}

func (m *metrics) call(side, subject string, err error, took time.Duration) {
	code := string(contract.CodeOf(err))
	if code == "" {
		code = codeOK
	}
	m.calls.WithLabelValues(side, subject, code).Observe(took.Seconds())
}

// codeOK is the outcome of a call that was not refused.
const codeOK = "ok"

// willCall makes the series of a call before it is made: those of the outcomes that somebody waits for in an alert. Each
// of the other codes has its series once a call was refused with it.
func (m *metrics) willCall(side, subject string) {
	for _, code := range []string{codeOK, string(contract.Unavailable), string(contract.InternalError)} {
		m.calls.WithLabelValues(side, subject, code)
	}
}

// willConsume makes the series of an event before one comes.
func (m *metrics) willConsume(subject string) {
	for _, outcome := range []string{consumedOK, consumedRetried, consumedDead, consumedUnsaid, consumedDropped} {
		m.consumed.WithLabelValues(subject, outcome)
	}
}

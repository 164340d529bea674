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

func (m *metrics) call(side, subject string, err error, took time.Duration) {
	code := string(contract.CodeOf(err))
	if code == "" {
		code = "ok"
	}
	m.calls.WithLabelValues(side, subject, code).Observe(took.Seconds())
}

package store

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// leftOver is what the last sweep of an outbox could not tell.
type leftOver struct {
	mu     sync.Mutex
	number int
	oldest time.Time // when it was noted; zero where nothing waits
	looked time.Time // when a sweep last found out
}

// lookedLately is how old a look may be that found nothing waiting: several sweeps. After that nobody knows.
const lookedLately = 15 * time.Second

// are takes in the notes that a sweep has left, the oldest first.
func (l *leftOver) are(notes []note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number, l.oldest, l.looked = len(notes), time.Time{}, time.Now()
	if len(notes) > 0 {
		l.oldest = notes[0].At
	}
}

// measure tells what waits, and for how long; false is that nobody knows, because the documents do not answer. What was
// found waiting waits until a sweep has seen that it does not.
func (l *leftOver) measure(now time.Time) (number, seconds float64, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.number == 0 {
		return 0, 0, now.Sub(l.looked) < lookedLately
	}
	return float64(l.number), max(0, now.Sub(l.oldest).Seconds()), true // real time, as the notes have it
}

// outboxMetrics is what waits in an outbox.
type outboxMetrics struct {
	left            *leftOver
	waiting, oldest *prometheus.Desc
}

// Measure registers how many letters wait and since when, as the last sweep left it. The age grows between sweeps, and
// while none gets through; that nothing waits is told while it is known. Every replica tells the same letters.
func (o *Outbox) Measure(r prometheus.Registerer) {
	o.left.are(nil)
	r.MustRegister(outboxMetrics{
		&o.left,
		prometheus.NewDesc("sallyport_store_outbox_waiting", "Events that are written and could not be told on the bus yet, at most 500 of them; those of the last seconds are not counted.", nil, nil),
		prometheus.NewDesc("sallyport_store_outbox_oldest_seconds", "Age of the oldest of those events; 0 where none waits, and not there while nobody can look.", nil, nil),
	})
}

// Describe implements [prometheus.Collector].
func (m outboxMetrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- m.waiting
	descs <- m.oldest
}

// Collect implements [prometheus.Collector]; it asks nobody.
func (m outboxMetrics) Collect(out chan<- prometheus.Metric) {
	number, seconds, known := m.left.measure(time.Now())
	if !known {
		return
	}
	out <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, number)
	out <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, seconds)
}

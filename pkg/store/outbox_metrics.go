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
}

// are takes in the notes that a sweep has left, the oldest first.
func (l *leftOver) are(notes []note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number, l.oldest = len(notes), time.Time{}
	if len(notes) > 0 {
		l.oldest = notes[0].At
	}
}

// Measure registers how many letters wait and since when, as the last sweep left it. The age grows between sweeps, and
// while none gets through; every replica tells the same letters.
func (o *Outbox) Measure(r prometheus.Registerer) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			o.left.mu.Lock()
			defer o.left.mu.Unlock()
			return value()
		}))
	}
	gauge("sallyport_store_outbox_waiting", "Events that are written and could not be told on the bus yet, at most 500 of them; those of the last seconds are not counted.",
		func() float64 { return float64(o.left.number) })
	gauge("sallyport_store_outbox_oldest_seconds", "Age of the oldest of those events; 0 where none waits.", func() float64 {
		if o.left.oldest.IsZero() {
			return 0
		}
		return max(0, time.Since(o.left.oldest).Seconds()) // real time, as the notes have it
	})
}

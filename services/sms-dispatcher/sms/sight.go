package sms

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sight is a gauge of what is looked at again and again. While nobody has been able to look it is not there: a backlog of
// 0 from before the documents went away would be the picture of health.
type sight struct {
	prometheus.Gauge

	mu   sync.Mutex
	seen time.Time
}

// sightLasts is how long what was seen is told, in real time: as long as a sweep may take when every call of SNS hangs.
const sightLasts = 30 * time.Second

// newSight makes such a gauge. It is told from the start, as 0.
func newSight(name, help string) *sight {
	// real time: how long ago somebody looked, wherever the demo's clock stands
	return &sight{Gauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help + " Not there while nobody can look."}), seen: time.Now()}
}

// saw takes in what a look has found.
func (s *sight) saw(value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = time.Now() // real time: as above
	s.Set(value)
}

// fresh tells whether somebody has looked lately.
func (s *sight) fresh(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.seen) < sightLasts
}

// Collect implements [prometheus.Collector].
func (s *sight) Collect(out chan<- prometheus.Metric) {
	if s.fresh(time.Now()) { // real time: as above
		s.Gauge.Collect(out)
	}
}

package service

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/build"
)

// readyPatience is how long a scrape waits for the checks of readiness; what has not answered by then is not ready.
const readyPatience = 1500 * time.Millisecond

// errNotYet is what is wrong with a part that the service has not reached since it started.
var errNotYet = errors.New("not connected yet")

// readiness is sallyport_ready: every check, asked at the scrape. /readyz asks the same checks, of services that run: it
// says no as well, whatever the checks say, of one that has not been started to the end, and of one that leaves (STOP_DELAY).
type readiness struct {
	desc    *prometheus.Desc
	service *Service
	// asking holds the one question that is under way: a check that hangs is not asked again until it has answered.
	asking chan struct{}
}

// newReadiness registers the checks of a service.
func newReadiness(r prometheus.Registerer, s *Service) {
	r.MustRegister(&readiness{
		desc:    prometheus.NewDesc("sallyport_ready", "1 while a check of readiness passes.", []string{"check"}, nil),
		service: s, asking: make(chan struct{}, 1),
	})
}

// Describe implements [prometheus.Collector].
func (r *readiness) Describe(descs chan<- *prometheus.Desc) { descs <- r.desc }

// Collect implements [prometheus.Collector]. It takes [readyPatience] at the most, whatever the checks do.
func (r *readiness) Collect(out chan<- prometheus.Metric) {
	checks := r.service.allChecks()
	passed := make(chan string, len(checks)) // it has room for those that nobody waits for any more
	patience := time.NewTimer(readyPatience)
	defer patience.Stop()
	left := len(checks)
	select {
	case r.asking <- struct{}{}:
		go r.ask(checks, passed)
	case <-patience.C:
		left = 0 // an earlier scrape's question is not answered yet
	}
	ready := make(map[string]bool, len(checks))
	for ; left > 0; left-- {
		select {
		case name := <-passed:
			ready[name] = true
		case <-patience.C:
			left = 1
		}
	}
	for _, c := range checks {
		value := 0.0
		if ready[c.name] {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, value, c.name)
	}
}

// ask asks every check at once and tells the names of those that pass; "" stands for one that does not.
func (r *readiness) ask(checks []check, passed chan<- string) {
	defer func() { <-r.asking }()
	ctx, cancel := context.WithTimeout(context.Background(), readyPatience)
	defer cancel()
	answered := make(chan struct{}, len(checks))
	for _, c := range checks {
		go func() {
			name := c.name
			if c.run(ctx) != nil {
				name = ""
			}
			passed <- name
			answered <- struct{}{}
		}()
	}
	for range checks {
		<-answered
	}
}

// newBuildInfo registers what this binary was built from.
func newBuildInfo(r prometheus.Registerer) {
	b := build.Read()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_build_info", Help: "1; the labels say from what this binary was built.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	g.Set(1)
	r.MustRegister(g)
}

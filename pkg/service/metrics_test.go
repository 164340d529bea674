package service

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ready reads sallyport_ready by check, and how long that took.
func ready(t *testing.T, r *prometheus.Registry) (map[string]float64, time.Duration) {
	t.Helper()
	began := time.Now()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "sallyport_ready" && l.GetName() == "check" {
					out[l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	return out, time.Since(began)
}

// A check that hangs, its deadline included, holds up no scrape: not the first, and not those that come while it hangs.
func TestAScrapeDoesNotWaitForACheckThatHangs(t *testing.T) {
	s, r := &Service{}, prometheus.NewRegistry()
	newReadiness(r, s)
	hold := make(chan struct{})
	s.CheckReady("nats", func(context.Context) error { return nil })
	s.CheckReady("store", func(context.Context) error { return errNotYet })
	if got, _ := ready(t, r); len(got) != 2 || got["nats"] != 1 || got["store"] != 0 {
		t.Errorf("%v", got)
	}
	s.CheckReady("store", func(context.Context) error { <-hold; return nil })
	for range 2 {
		if got, took := ready(t, r); got["store"] != 0 || took > readyPatience+5*time.Second {
			t.Errorf("%v after %v", got, took)
		}
	}
	close(hold)
	for began := time.Now(); ; {
		if got, _ := ready(t, r); got["nats"] == 1 && got["store"] == 1 {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("never ready again")
		}
	}
}

// A part that is reached takes the place of the check that said it was not.
func TestACheckIsReplaced(t *testing.T) {
	s := &Service{}
	s.CheckReady("nats", func(context.Context) error { return errNotYet })
	s.CheckReady("nats", func(context.Context) error { return nil })
	s.CheckReady("store", func(context.Context) error { return errors.New("it is away") })
	if wrong := s.Ready(t.Context()); len(wrong) != 1 || wrong["store"] != "it is away" {
		t.Errorf("%v", wrong)
	}
}

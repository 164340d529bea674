package sms

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// What nobody can look at is not told: neither as it was, nor as nothing.
func TestWhatNobodySeesIsNotTold(t *testing.T) {
	r := prometheus.NewRegistry()
	l := newSight("sallyport_sms_oldest_waiting_seconds", "Age.")
	r.MustRegister(l)
	told := func() []float64 {
		t.Helper()
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var out []float64
		for _, f := range families {
			out = append(out, f.GetMetric()[0].GetGauge().GetValue())
		}
		return out
	}
	if got := told(); len(got) != 1 || got[0] != 0 {
		t.Errorf("at the start: %v", got)
	}
	l.saw(7)
	if got := told(); len(got) != 1 || got[0] != 7 {
		t.Errorf("seen: %v", got)
	}
	l.seen = l.seen.Add(-sightLasts)
	if got := told(); len(got) != 0 {
		t.Errorf("not seen for long: %v", got)
	}
	l.saw(0)
	if got := told(); len(got) != 1 || got[0] != 0 {
		t.Errorf("seen again: %v", got)
	}
}

package store

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What cannot be told is counted, ages while nothing gets through, and is gone when it is told.
func TestTheOutboxSaysWhatWaits(t *testing.T) {
	m := newMailroom(t)
	r := prometheus.NewRegistry()
	m.Measure(r)
	measure := func() (waiting, oldest float64) {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if v := f.GetMetric()[0].GetGauge().GetValue(); f.GetName() == "sallyport_store_outbox_waiting" {
				waiting = v
			} else {
				oldest = v
			}
		}
		return waiting, oldest
	}
	if waiting, oldest := measure(); waiting != 0 || oldest != 0 {
		t.Errorf("%v wait, for %v seconds", waiting, oldest)
	}
	m.post.refuse["*"] = true
	begun := time.Now()
	m.announce("d1", "l1", "l2")
	m.write("d1", "l1", "l2")
	if err := m.sweep(t.Context(), 0, 0); err == nil {
		t.Error("the bus does not answer, and the sweep succeeds")
	}
	waiting, oldest := measure()
	if waiting != 2 || oldest <= 0 || oldest > time.Since(begun).Seconds()+1 {
		t.Errorf("%v wait, for %v seconds", waiting, oldest)
	}
	if _, later := measure(); later <= oldest {
		t.Errorf("the oldest was %v seconds old, and is %v", oldest, later)
	}
	delete(m.post.refuse, "*")
	if err := m.sweep(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	if waiting, oldest := measure(); waiting != 0 || oldest != 0 {
		t.Errorf("%v wait, for %v seconds", waiting, oldest)
	}
}

// That nothing waits is said only by who has looked lately; what was found waiting grows older until a look says otherwise.
func TestTheOutboxDoesNotSayWhatItCannotSee(t *testing.T) {
	var l leftOver
	l.are(nil)
	now := time.Now()
	if number, seconds, known := l.measure(now); number != 0 || seconds != 0 || !known {
		t.Errorf("a look found nothing: %v wait for %v seconds, known: %v", number, seconds, known)
	}
	if _, _, known := l.measure(now.Add(2 * lookedLately)); known {
		t.Error("nobody has looked for long, and nothing is said to wait")
	}
	l.are([]note{{At: now.Add(-time.Minute)}, {At: now}})
	if number, seconds, known := l.measure(now.Add(2 * lookedLately)); number != 2 || seconds != 90 || !known {
		t.Errorf("two waited at the last look: %v wait for %v seconds, known: %v", number, seconds, known)
	}
}

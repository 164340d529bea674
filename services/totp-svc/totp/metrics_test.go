package totp

import (
	"testing"
	"time"

	"sallyport/pkg/contract"
)

// drifts reads the histogram of clocks of one replica: how many there were, and their sum.
func (h *house) drifts(s *server) (n uint64, sum float64) {
	families, err := s.svc.Metrics.Gather()
	if err != nil {
		h.tb.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sallyport_totp_clock_drift_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount(), f.GetMetric()[0].GetHistogram().GetSampleSum()
		}
	}
	h.tb.Fatal("no histogram of clocks")
	return 0, 0
}

// A call that is repeated, at another replica as well, is counted where it changed something and nowhere else.
func TestARepeatedCallIsCountedOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	before, _ := h.drifts(h.a)
	h.Clock.Add(30 * time.Second)
	call, right := once(), p.code(p.app, 0)
	for _, s := range []*server{h.a, h.b, h.a} {
		if err := p.ask(call, s, right); err != nil {
			t.Fatal(err)
		}
	}
	call = once()
	for _, s := range []*server{h.a, h.b, h.a} {
		refused(t, p.ask(call, s, p.wrongCode(p.app)), contract.InvalidCode)
	}
	if n := h.counts("sallyport_totp_verifications_total"); n["accepted"] != 1 || n["wrong"] != 1 || n["repeated"] != 4 {
		t.Errorf("%v", n)
	}
	if n, _ := h.drifts(h.a); n != before+1 {
		t.Errorf("%d clocks, one code was accepted", n-before)
	}
}

// Five wrong codes lock once, whoever asks afterwards; a clock that is off is told once, and by how much.
func TestLocksAndClocksAreCounted(t *testing.T) {
	h := newHouse(t)
	p := h.person("u1").enrol("en1")
	n, sum := h.drifts(h.a)
	h.Clock.Add(time.Minute)
	refused(t, p.verify(p.code(p.app, -4)), contract.InvalidCode)
	refused(t, p.verify(p.code(p.app, -3)), contract.InvalidCode) // two in a row: the phone is 90 seconds behind
	if after, total := h.drifts(h.a); after != n+1 || total-sum != -90 {
		t.Errorf("%d clocks, %v seconds", after-n, total-sum)
	}
	for range 3 {
		refused(t, p.verify(p.wrongCode(p.app)), contract.InvalidCode)
	}
	refused(t, p.verify(p.wrongCode(p.app)), contract.Locked)
	refused(t, p.verifyOn(h.b, p.wrongCode(p.app)), contract.Locked)
	if got := h.locks("totp", "delay"); got != 1 {
		t.Errorf("%v locks", got)
	}
	p.regenerate()
	for range 5 {
		_, err := p.recover("AAAA-AAAA-AAAA-AAAA")
		refused(t, err, contract.InvalidCode)
	}
	if got := h.locks("recovery", "delay"); got != 1 {
		t.Errorf("%v locks of recovery codes", got)
	}
}

// locks is how often wrong codes closed something, by both replicas.
func (h *house) locks(factor, kind string) (n float64) {
	for _, s := range []*server{h.a, h.b} {
		families, err := s.svc.Metrics.Gather()
		if err != nil {
			h.tb.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				l := m.GetLabel() // in the order of their names
				if f.GetName() == "sallyport_totp_locks_total" && l[0].GetValue() == factor && l[1].GetValue() == kind {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

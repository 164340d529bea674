package lockout

import (
	"testing"
	"time"
)

func TestWaits(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: 0, 1: 0, 4: 0, 5: 30 * time.Second, 6: 0, 9: 0, 10: time.Minute, 15: 2 * time.Minute, 20: 4 * time.Minute,
		25: 8 * time.Minute, 30: 16 * time.Minute, 35: 32 * time.Minute, 40: time.Hour, 45: time.Hour,
	} {
		if got := Wait(failures); got != want {
			t.Errorf("Wait(%d) = %v, want %v", failures, got, want)
		}
	}
}

func TestALockOpensExactlyOnTime(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for f := range Limit {
		s := State{Failures: f, LastAt: at}
		if wait := Wait(f); wait > 0 {
			if s.Allowed(at.Add(wait - time.Nanosecond)) {
				t.Errorf("after %d failures: open before its time", f)
			}
			if !s.Allowed(at.Add(wait)) {
				t.Errorf("after %d failures: closed at its time", f)
			}
		} else if !s.Allowed(at) || !s.Allowed(at.Add(-time.Second)) {
			t.Errorf("after %d failures: closed", f)
		}
	}
	for _, f := range []int{Limit, Limit + 1, 1000} {
		s := State{Failures: f, LastAt: at}
		if s.Allowed(at.Add(1000*time.Hour)) || !s.Disabled() || s.Left() != 0 {
			t.Errorf("after %d failures: not disabled", f)
		}
	}
}

// What may still be tried is what the next wrong codes would say, one more; a lock that is over leaves a whole round.
func TestLeftAt(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for f := range Limit + 2 {
		s := State{Failures: f, LastAt: at}
		if got := s.LeftAt(at); (got == 0) == s.Allowed(at) {
			t.Errorf("LeftAt after %d, at once: %d", f, got)
		}
		if later := at.Add(LongestWait); s.Allowed(later) {
			if got, want := s.LeftAt(later), 1+(State{Failures: f + 1}).Left(); got != want {
				t.Errorf("LeftAt after %d, later: %d, want %d", f, got, want)
			}
		}
	}
}

func TestLeft(t *testing.T) {
	for failures, want := range map[int]int{0: 5, 1: 4, 4: 1, 5: 0, 6: 4, 9: 1, 10: 0, 49: 1, 50: 0} {
		if got := (State{Failures: failures}).Left(); got != want {
			t.Errorf("Left after %d = %d, want %d", failures, got, want)
		}
	}
}

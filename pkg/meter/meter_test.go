package meter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/pkg/meter"
)

func TestLimitsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"5/10m,15/24h": "[{5 10m0s} {15 24h0m0s}]", " 1/1m , 2/90m ": "[{1 1m0s} {2 1h30m0s}]", "off": "[]",
		"": "!", "5": "!", "0/10m": "!", "-1/10m": "!", "5/10": "!", "5/30s": "!", "5/25h": "!", "5/90s": "!", "5/10m,6/10m": "!", "x/10m": "!",
	} {
		l, err := meter.Parse(text)
		if got := fmt.Sprint(l); want == "!" && err == nil || want != "!" && (err != nil || got != want) {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
}

// take counts one as whoever uses a meter does, and tells whether it is let through.
func take(c meter.Counts, limits meter.Limits, now time.Time) bool {
	_, _, reached := c.Reached(limits, now)
	if !reached {
		c.Add(limits, now, 1)
	}
	return !reached
}

// part is how much too strict a limit may be.
func part(l meter.Limit) time.Duration {
	if l.Window <= time.Hour {
		return l.Window / 10
	}
	return l.Window / 24
}

// most is the highest number of times in any window that ends with one of them.
func most(times []time.Time, window time.Duration) int {
	out := 0
	for _, end := range times {
		n := 0
		for _, at := range times {
			if age := end.Sub(at); age >= 0 && age < window {
				n++
			}
		}
		out = max(out, n)
	}
	return out
}

// Whatever comes when, no window holds more of them than its limit; who is refused is let through at the time
// that they were told; and a limit is at most one bucket stricter than it says.
func TestNoWindowHoldsMoreThanItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := meter.Limits{{rapid.IntRange(1, 6).Draw(t, "short"), 10 * time.Minute}, {rapid.IntRange(4, 15).Draw(t, "long"), meter.Day}}
		now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
		m := make(meter.Counts)
		var counted []time.Time
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 4000), 1, 150).Draw(t, "seconds") {
			now = now.Add(time.Duration(step%700) * time.Second)
			if step%11 == 0 && len(counted) > 0 { // one of them is given back
				i := step % len(counted)
				m.Add(limits, counted[i], -1)
				counted = slices.Delete(counted, i, i+1)
			}
			if step%13 == 0 {
				now = now.Add(3 * time.Hour)
			}
			l, free, reached := m.Reached(limits, now)
			if take(m, limits, now) == reached {
				t.Fatal("what is told and what is done disagree")
			}
			if !reached {
				counted = append(counted, now)
				for _, l := range limits {
					if n := most(counted, l.Window); n > l.Most {
						t.Fatalf("%d of them in %v, the limit is %d", n, l.Window, l.Most)
					}
				}
				continue
			}
			within := 0
			for _, at := range counted {
				if now.Sub(at) < l.Window+part(l) {
					within++
				}
			}
			if within < l.Most {
				t.Fatalf("refused with %d of %d within %v", within, l.Most, l.Window+part(l))
			}
			if !free.After(now) || free.Sub(now) > meter.Day+time.Hour {
				t.Fatalf("free in %v", free.Sub(now))
			}
			if _, _, still := m.Reached(limits, free); still {
				t.Fatal("refused at the time that was told")
			}
			if l2, _, early := m.Reached(limits, free.Add(-time.Millisecond)); !early || l2 != l {
				t.Fatalf("let through before the time that was told: %v", early)
			}
		}
	})
}

func TestOldCountsAreForgotten(t *testing.T) {
	limits := meter.Limits{{100, 10 * time.Minute}, {1000, meter.Day}}
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	m := meter.Counts{"w1200": {"b1": 3}, "what": {"b1": 1}}
	for range 200 {
		now = now.Add(7 * time.Minute)
		m.Add(limits, now, 1)
		before := m[limits[1].Name()]
		sum := limits[1].Sum(before, now)
		for _, name := range m.Stale(now) {
			parts := strings.Split(name, ".")
			if len(parts) == 1 {
				delete(m, parts[0])
			} else {
				delete(m[parts[0]], parts[1])
			}
		}
		if limits[1].Sum(m[limits[1].Name()], now) != sum {
			t.Fatal("what counts was forgotten")
		}
	}
	if n := len(m["w600"]) + len(m["w86400"]) + len(m["w1200"]) + len(m["what"]); n > 11+25 {
		t.Errorf("%d buckets are kept", n)
	}
}

package sms

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLimitsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"5/10m,15/24h": "[{5 10m0s} {15 24h0m0s}]", " 1/1m , 2/90m ": "[{1 1m0s} {2 1h30m0s}]", "off": "[]",
		"": "!", "5": "!", "0/10m": "!", "-1/10m": "!", "5/10": "!", "5/30s": "!", "5/25h": "!", "5/90s": "!", "5/10m,6/10m": "!", "x/10m": "!",
	} {
		l, err := parseLimits(text)
		if got := fmt.Sprint(l); want == "!" && err == nil || want != "!" && (err != nil || got != want) {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]Conversion{"10%/50": {10, 50}, "off": {}} {
		if c, err := parseConversion(text); err != nil || c != want {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "10/50", "0%/50", "100%/50", "10%/0", "10%"} {
		if c, err := parseConversion(text); err == nil {
			t.Errorf("%q is read as %v", text, c)
		}
	}
}

func TestSettingsOfGuardsAreChecked(t *testing.T) {
	good := Settings{LimitPerson: "5/10m", LimitNumber: "off", LimitPrefix: "1/1m", LimitNetwork: "1/1m", LimitCountry: "1/1m", LimitPortal: "1/1m", ConversionStop: "10%/50"}
	if _, bad := good.guards(); bad != nil {
		t.Fatalf("%v", bad)
	}
	for name, change := range map[string]func(*Settings){
		"SMS_LIMIT_PERSON":    func(s *Settings) { s.LimitPerson = "101/24h" },
		"SMS_LIMIT_NUMBER":    func(s *Settings) { s.LimitNumber = "" },
		"SMS_LIMIT_PREFIX":    func(s *Settings) { s.LimitPrefix = "1" },
		"SMS_LIMIT_NETWORK":   func(s *Settings) { s.LimitNetwork = "1/1s" },
		"SMS_LIMIT_COUNTRY":   func(s *Settings) { s.LimitCountry = "a/1m" },
		"SMS_LIMIT_PORTAL":    func(s *Settings) { s.LimitPortal = "none" },
		"SMS_CONVERSION_STOP": func(s *Settings) { s.ConversionStop = "10" },
		"SMS_RECORD_ONLY":     func(s *Settings) { s.RecordOnly = []string{"numbers"} },
		"SMS_PRICES":          func(s *Settings) { s.Prices = []string{"GB=0.04", "XX=1"} },
	} {
		s := good
		change(&s)
		if _, bad := s.guards(); len(bad) != 1 || !strings.HasPrefix(bad[0], name+": ") {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

// memory is what the store does with a meter, in a map.
func (m *meter) add(limits Limits, at time.Time, n int) {
	for _, l := range limits {
		if m.Counts == nil {
			m.Counts = make(map[string]buckets)
		}
		if m.Counts[l.name()] == nil {
			m.Counts[l.name()] = make(buckets)
		}
		m.Counts[l.name()][l.bucket(at)] += n
	}
}

// take counts a text as an open call does, and tells whether it is let through.
func (m *meter) take(limits Limits, now time.Time) bool {
	before := meter{Counts: make(map[string]buckets, len(m.Counts))}
	for name, b := range m.Counts {
		before.Counts[name] = maps.Clone(b)
	}
	m.add(limits, now, 1)
	if _, _, reached := before.reached(limits, now); reached {
		m.add(limits, now, -1)
		return false
	}
	return true
}

// most is the highest number of unanswered texts in any window that ends with one of them.
func most(texts []time.Time, window time.Duration) int {
	out := 0
	for _, end := range texts {
		n := 0
		for _, at := range texts {
			if age := end.Sub(at); age >= 0 && age < window {
				n++
			}
		}
		out = max(out, n)
	}
	return out
}

// Whatever comes when, no window holds more unanswered texts than its limit; who is refused is let through at the time
// that they were told; and a limit is at most one bucket stricter than it says.
func TestNoWindowHoldsMoreThanItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{{rapid.IntRange(1, 6).Draw(t, "short"), 10 * time.Minute}, {rapid.IntRange(4, 15).Draw(t, "long"), day}}
		now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
		var m meter
		var unanswered []time.Time
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 4000), 1, 150).Draw(t, "seconds") {
			now = now.Add(time.Duration(step%700) * time.Second)
			if step%11 == 0 && len(unanswered) > 0 { // a code is typed
				i := step % len(unanswered)
				m.add(limits, unanswered[i], -1)
				unanswered = slices.Delete(unanswered, i, i+1)
			}
			if step%13 == 0 {
				now = now.Add(3 * time.Hour)
			}
			l, free, reached := m.reached(limits, now)
			if m.take(limits, now) == reached {
				t.Fatal("what is told and what is done disagree")
			}
			if !reached {
				unanswered = append(unanswered, now)
				for _, l := range limits {
					if n := most(unanswered, l.Window); n > l.Most {
						t.Fatalf("%d unanswered texts in %v, the limit is %d", n, l.Window, l.Most)
					}
				}
				continue
			}
			within := 0
			for _, at := range unanswered {
				if now.Sub(at) < l.Window+l.width() {
					within++
				}
			}
			if within < l.Most {
				t.Fatalf("refused with %d of %d within %v", within, l.Most, l.Window+l.width())
			}
			if !free.After(now) || free.Sub(now) > day+time.Hour {
				t.Fatalf("free in %v", free.Sub(now))
			}
			if _, _, still := m.reached(limits, free); still {
				t.Fatal("refused at the time that was told")
			}
			if l2, _, early := m.reached(limits, free.Add(-time.Millisecond)); !early || l2 != l {
				t.Fatalf("let through before the time that was told: %v", early)
			}
		}
	})
}

func TestOldCountsAreForgotten(t *testing.T) {
	limits := Limits{{100, 10 * time.Minute}, {1000, day}}
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	var m meter
	m.Counts = map[string]buckets{"w1200": {"b1": 3}, "what": {"b1": 1}}
	for range 200 {
		now = now.Add(7 * time.Minute)
		m.add(limits, now, 1)
		before := m.Counts[limits[1].name()]
		sum := limits[1].sum(before, now)
		for _, name := range m.stale(now) {
			parts := strings.Split(name, ".")
			if len(parts) == 2 {
				delete(m.Counts, parts[1])
			} else {
				delete(m.Counts[parts[1]], parts[2])
			}
		}
		if limits[1].sum(m.Counts[limits[1].name()], now) != sum {
			t.Fatal("what counts was forgotten")
		}
	}
	if n := len(m.Counts["w600"]) + len(m.Counts["w86400"]) + len(m.Counts["w1200"]) + len(m.Counts["what"]); n > 11+25 {
		t.Errorf("%d buckets are kept", n)
	}
}

// On the store, as many calls at once as you like on two replicas never find more room than there is, and a meter that
// is asked one by one answers as the model does.
func TestAMeterOnTheStoreIsExact(t *testing.T) {
	w := newWorld(t)
	limits := Limits{{4, 10 * time.Minute}, {9, day}}
	now := w.Clock.Now()
	var model meter
	one := func(id string, at time.Time) bool {
		before, err := w.records.count(t.Context(), id, limits, at)
		if err != nil {
			t.Error(err)
			return false
		}
		if _, _, reached := before.reached(limits, at); !reached {
			return true
		}
		if err := w.records.takeBack(t.Context(), id, limits, at); err != nil {
			t.Error(err)
		}
		return false
	}
	var through []time.Time
	for i := range 60 {
		now = now.Add(time.Duration(i*37%400) * time.Second)
		got := one("p/number/a", now)
		if want := model.take(limits, now); got != want {
			t.Fatalf("text %d: %v, the model says %v", i, got, want)
		}
		if got {
			through = append(through, now)
		}
		if i%9 == 8 && len(through) > 0 {
			at := through[len(through)-1]
			if err := w.records.giveBack(t.Context(), "p/number/a", limits, at); err != nil {
				t.Fatal(err)
			}
			model.add(limits, at, -1)
			through = through[:len(through)-1]
		}
	}
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if one("p/number/b", now) {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 4 {
		t.Errorf("%d of 40 at once were let through, the limit is 4", n)
	}
	m, err := w.records.meters.Get(t.Context(), "p/number/b")
	if err != nil {
		t.Fatal(err)
	}
	if n := limits[0].sum(m.Counts["w600"], now); n != 4 {
		t.Errorf("%d count afterwards", n)
	}
	// What is given back twice makes no room.
	for range 6 {
		if err := w.records.giveBack(t.Context(), "p/number/b", limits, now); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range 10 {
		if one("p/number/b", now) {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d were let through after all was given back", n)
	}
}

func TestACountryIsStoppedForLongerEachTime(t *testing.T) {
	rule := Conversion{10, 50}
	for _, row := range []struct {
		sent, answered int
		want           bool
	}{{49, 0, false}, {50, 0, true}, {50, 4, true}, {50, 5, false}, {1000, 99, true}, {1000, 100, false}} {
		if got := rule.broken(row.sent, row.answered); got != row.want {
			t.Errorf("%d of %d: %v", row.answered, row.sent, got)
		}
	}
	if (Conversion{}).broken(1000, 0) {
		t.Error("a rule that is off stops")
	}
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	var c traffic
	for i, want := range []int{1, 2, 4, 8, 16, 24, 24} {
		rest := c.next(now)
		if rest != time.Duration(want)*time.Hour {
			t.Errorf("stop %d lasts %v", i+1, rest)
		}
		c.Stops, c.Rest, c.StoppedUntil = c.Stops+1, int64(rest.Seconds()), now.Add(rest)
		now = c.StoppedUntil.Add(day - time.Second)
	}
	if rest := c.next(c.StoppedUntil.Add(day)); rest != time.Hour {
		t.Errorf("after a quiet day a stop lasts %v", rest)
	}
}

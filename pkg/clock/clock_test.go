package clock

import (
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)

func TestSystem(t *testing.T) {
	before := time.Now()
	got := System().Now()
	if got.Location() != time.UTC || got.Before(before) || got.After(time.Now()) {
		t.Errorf("got %v", got)
	}
}

func TestFixed(t *testing.T) {
	c := NewFixed(noon.In(time.FixedZone("somewhere", 3600)))
	if got := c.Now(); got != noon {
		t.Errorf("got %v, want %v in UTC", got, noon)
	}
	c.Add(time.Hour)
	c.Add(-time.Minute)
	if got := c.Now(); got != noon.Add(59*time.Minute) {
		t.Errorf("got %v", got)
	}
}

func TestVirtualOnlyGoesForward(t *testing.T) {
	base := NewFixed(noon)
	v := NewVirtual(base)
	if got := v.Now(); got != noon {
		t.Errorf("without an offset: %v", got)
	}
	for _, d := range []time.Duration{0, time.Minute, time.Hour} {
		before := v.Now()
		at, err := v.Advance(d)
		if err != nil || at != before.Add(d) || v.Now() != at {
			t.Errorf("advanced %v to %v (%v), %v", d, at, v.Now(), err)
		}
	}
	now := v.Now()
	for _, d := range []time.Duration{-1, -time.Hour, math.MaxInt64} {
		if _, err := v.Advance(d); err == nil {
			t.Errorf("advanced by %v", d)
		}
	}
	if v.Now() != now {
		t.Error("a refusal moved the clock")
	}
	base.Add(time.Second)
	if got := v.Now(); got != now.Add(time.Second) {
		t.Errorf("does not follow its base: %v", got)
	}
}

func TestVirtualOutlivesItsProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock.json")
	v, err := OpenVirtual(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := v.Advance(time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenVirtual(file)
	if err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(again.Now()); ahead < 3*time.Hour-time.Second || ahead > 3*time.Hour {
		t.Errorf("%v ahead after a restart, want 3h", ahead)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestVirtualRefusesABadFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "garbage": "soon", "backwards": `{"offset_ns":-1}`, "too far": `{"offset_ns":9e30}`} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenVirtual(file); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := OpenVirtual(dir); err == nil {
		t.Error("a directory was taken")
	}
}

// What cannot be kept does not happen.
func TestVirtualKeepsItsFileFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	v, err := OpenVirtual(filepath.Join(dir, "clock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Advance(time.Hour); err == nil {
		t.Error("advanced without a file")
	}
	if ahead := time.Until(v.Now()); ahead > time.Minute {
		t.Errorf("%v ahead", ahead)
	}
}

func TestClocksAreSafeForConcurrentUse(t *testing.T) {
	v, f := NewVirtual(System()), NewFixed(noon)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			before := v.Now()
			if _, err := v.Advance(time.Second); err != nil {
				t.Error(err)
			}
			if !v.Now().After(before) {
				t.Error("it did not go forward")
			}
			f.Add(time.Second)
			f.Now()
		})
	}
	wg.Wait()
	if f.Now() != noon.Add(50*time.Second) || time.Until(v.Now()) < 50*time.Second-time.Second {
		t.Errorf("lost a step: %v, %v", f.Now(), v.Now())
	}
}

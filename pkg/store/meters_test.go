package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/meter"
	"sallyport/pkg/store"
)

// On the store, as many calls at once as you like never find more room than there is, and a meter that is asked one by
// one answers as the model does.
func TestAMeterOnTheStoreIsExact(t *testing.T) {
	m := store.MetersOf(connect(t, uri(t)), "meters")
	limits := meter.Limits{{Most: 4, Window: 10 * time.Minute}, {Most: 9, Window: meter.Day}}
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	model := make(meter.Counts)
	one := func(id string, at time.Time) bool {
		before, err := m.Count(t.Context(), id, limits, at)
		if err != nil {
			t.Error(err)
			return false
		}
		if _, _, reached := before.Counts.Reached(limits, at); !reached {
			return true
		}
		if err := m.TakeBack(t.Context(), id, limits, at); err != nil {
			t.Error(err)
		}
		return false
	}
	var through []time.Time
	for i := range 60 {
		now = now.Add(time.Duration(i*37%400) * time.Second)
		got := one("a", now)
		_, _, reached := model.Reached(limits, now)
		if got == reached {
			t.Fatalf("%d: %v, the model says %v", i, got, !reached)
		}
		if got {
			model.Add(limits, now, 1)
			through = append(through, now)
		}
		if i%9 == 8 && len(through) > 0 {
			at := through[len(through)-1]
			if err := m.GiveBack(t.Context(), "a", limits, at, 1); err != nil {
				t.Fatal(err)
			}
			model.Add(limits, at, -1)
			through = through[:len(through)-1]
		}
	}
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if one("b", now) {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n != 4 {
		t.Errorf("%d of 40 at once were let through, the limit is 4", n)
	}
	b, err := m.Docs.Get(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if n := limits[0].Sum(b.Counts["w600"], now); n != 4 {
		t.Errorf("%d count afterwards", n)
	}
	// What is given back twice makes no room.
	for range 6 {
		if err := m.GiveBack(t.Context(), "b", limits, now, 1); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range 10 {
		if one("b", now) {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d were let through after all was given back", n)
	}
}

func TestIdleMetersAreRemovedAndOldCountsForgotten(t *testing.T) {
	db := connect(t, uri(t))
	m := store.MetersOf(db, "meters")
	if err := db.EnsureIndexes(t.Context(), []store.Index{store.MetersIndex("meters")}); err != nil {
		t.Fatal(err)
	}
	limits := meter.Limits{{Most: 4, Window: time.Hour}, {Most: 9, Window: meter.Day}}
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	if _, err := m.Count(t.Context(), "idle", limits, now); err != nil {
		t.Fatal(err)
	}
	began := now
	for range 40 {
		now = now.Add(2 * time.Hour / 3)
		before, err := m.Count(t.Context(), "busy", limits, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Prune(t.Context(), before, now); err != nil {
			t.Fatal(err)
		}
	}
	busy, err := m.Docs.Get(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(busy.Counts["w3600"]) + len(busy.Counts["w86400"]); n > 2+25+store.ManyStale {
		t.Errorf("%d buckets are kept", n)
	}
	for _, step := range []struct {
		at   time.Time
		want bool
	}{{began.Add(meter.Day + time.Hour), true}, {began.Add(meter.Day + time.Hour + time.Second), false}} {
		if err := m.DropIdle(t.Context(), step.at); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Docs.Get(t.Context(), "idle"); (err == nil) != step.want {
			t.Errorf("after %v: %v", step.at.Sub(began), err)
		}
	}
	if _, err := m.Docs.Get(t.Context(), "busy"); err != nil {
		t.Errorf("one that is in use: %v", err)
	}
}

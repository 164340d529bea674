package store_test

import (
	"testing"
	"time"

	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// A replica is one that has said so within a minute; it says which keys it has, and which one it seals with.
func TestReplicasSayWhatTheySealWith(t *testing.T) {
	a := newAttic(t, 0)
	was := a.rotate()
	now := a.load()
	for id, keys := range map[string]*seal.Keys{"late": a.keys, "new": now} {
		if err := store.SaySeals(t.Context(), a.db, id, "host", keys, a.now); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.SaySeals(t.Context(), a.db, "killed", "host", a.keys, a.now.Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	next := now.Store.PrimaryKeyID()
	live := func(at time.Time, want int) []store.Replica {
		t.Helper()
		all, err := store.Replicas(t.Context(), a.db, at)
		if err != nil || len(all) != want {
			t.Fatalf("%v, %v; want %d", all, err, want)
		}
		return all
	}
	all := live(a.now.Add(59*time.Second), 2)
	if late := all[0]; !late.Lacks(seal.Store, next) || !late.SealsWith(seal.Store, was) || late.SealsWith(seal.Store, next) {
		t.Errorf("%+v", late)
	}
	if fresh := all[1]; fresh.Lacks(seal.Store, next) || fresh.Lacks(seal.Store, was) || !fresh.SealsWith(seal.Store, next) {
		t.Errorf("%+v", fresh)
	}
	live(a.now.Add(time.Minute), 0)
	live(a.now.Add(-2*time.Hour), 3)
	if err := store.SayGone(t.Context(), a.db, "late", a.now); err != nil {
		t.Fatal(err)
	}
	live(a.now.Add(-3*time.Hour), 1)
}

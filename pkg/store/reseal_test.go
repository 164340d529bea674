package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// box is a document with sealed values.
type box struct {
	ID     string `bson:"_id"`
	Secret []byte `bson:"secret"`
	Inner  struct {
		Other []byte `bson:"other,omitempty"`
	} `bson:"inner"`
}

func boxPlace(id, field string) seal.Place { return seal.Place{"portal", "boxes", field, id} }

// boxes says what is sealed in the boxes; at each look, seen is called first.
func boxes(seen func(box)) []store.Sealed {
	return []store.Sealed{store.SealedIn("boxes", func(b box) (string, []store.SealedValue) {
		if seen != nil {
			seen(b)
		}
		return b.ID, []store.SealedValue{
			{Field: "secret", Value: b.Secret, Place: boxPlace(b.ID, "secret")},
			{Field: "inner.other", Value: b.Inner.Other, Place: boxPlace(b.ID, "other")},
		}
	})}
}

// attic is a database full of boxes, and the keys of its service.
type attic struct {
	t      *testing.T
	db     *store.DB
	boxes  store.Collection[box]
	keys   *seal.Keys
	path   string
	now    time.Time
	mu     sync.Mutex
	result map[string]int
}

func newAttic(t *testing.T, n int) *attic {
	t.Helper()
	paths, err := seal.Generate(t.TempDir(), []contract.Service{contract.TOTP}, false)
	if err != nil {
		t.Fatal(err)
	}
	a := &attic{t: t, db: connect(t, uri(t)), path: paths[contract.TOTP], now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), result: make(map[string]int)}
	a.boxes, a.keys = store.Of[box](a.db, "boxes"), a.load()
	for i := range n {
		b := box{ID: fmt.Sprintf("p/%04d", i)}
		b.Secret = a.seal(a.keys, b.ID, "secret")
		if i%2 == 0 {
			b.Inner.Other = a.seal(a.keys, b.ID, "other")
		}
		if err := a.boxes.Insert(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func (a *attic) load() *seal.Keys {
	a.t.Helper()
	k, err := seal.Load(a.path, contract.TOTP)
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func (a *attic) seal(k *seal.Keys, id, field string) []byte {
	a.t.Helper()
	sealed, err := k.Store.Seal([]byte(field+" of "+id), boxPlace(id, field))
	if err != nil {
		a.t.Fatal(err)
	}
	return sealed
}

// rotate rotates the key file, and returns the key of before.
func (a *attic) rotate() (was uint32) {
	a.t.Helper()
	was = a.load().Store.PrimaryKeyID()
	files, err := seal.LockFiles(a.t.Context(), a.t.TempDir(), map[contract.Service]string{contract.TOTP: a.path})
	if err != nil {
		a.t.Fatal(err)
	}
	defer files.Close() //nolint:errcheck // nothing is waiting for it
	if _, err := files.Add(a.t.Context(), seal.Store, contract.TOTP); err != nil {
		a.t.Fatal(err)
	}
	if _, err := files.Use(a.t.Context(), seal.Store, contract.TOTP, a.now); err != nil {
		a.t.Fatal(err)
	}
	return was
}

// replica is one that has the keys of now.
func (a *attic) replica(kept []store.Sealed) *store.Resealer {
	return store.NewResealer(a.db, a.load(), kept, func() time.Time { a.mu.Lock(); defer a.mu.Unlock(); return a.now }, func(result, _ string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.result[result]++
	})
}

func (a *attic) later(d time.Duration) { a.mu.Lock(); defer a.mu.Unlock(); a.now = a.now.Add(d) }

func (a *attic) turn(ctx context.Context, r *store.Resealer) {
	a.t.Helper()
	if err := r.Turn(ctx); err != nil && ctx.Err() == nil {
		a.t.Fatal(err)
	}
}

func (a *attic) progress() store.Resealing {
	a.t.Helper()
	p, err := store.ReadResealing(a.t.Context(), a.db)
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// under counts the values under a key.
func (a *attic) under(id uint32) int {
	a.t.Helper()
	all, err := a.db.SealedUnder(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return all[id]
}

// opens makes sure that every value says what it said at first.
func (a *attic) opens() {
	a.t.Helper()
	keys := a.load()
	docs, err := a.boxes.Query(a.t.Context(), bson.D{}, bson.D{{Key: "_id", Value: 1}}, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, b := range docs {
		for field, v := range map[string][]byte{"secret": b.Secret, "other": b.Inner.Other} {
			if len(v) == 0 {
				continue
			}
			if plain, err := keys.Store.Open(v, boxPlace(b.ID, field)); err != nil || string(plain) != field+" of "+b.ID {
				a.t.Errorf("%s of %s opens as %q, %v", field, b.ID, plain, err)
			}
		}
	}
}

// B40: every value is brought under the new key once, by whichever replica, although the first one dies in the middle;
// nothing is done where nothing is to do.
func TestB40ResealingGoesOnWhereItWas(t *testing.T) {
	const n = 300
	a := newAttic(t, n)
	a.turn(t.Context(), a.replica(boxes(nil)))
	if p := a.progress(); !p.Done(a.keys.Store.PrimaryKeyID()) || p.Left != 0 {
		t.Fatalf("before any rotation: %+v", p)
	}
	was := a.rotate()

	// The first one dies when it comes to the document 150 to re-seal it (it was counted once before).
	ctx, die := context.WithCancel(t.Context())
	looked := 0
	first := a.replica(boxes(func(b box) {
		if b.ID == "p/0150" {
			if looked++; looked == 2 {
				die()
			}
		}
	}))
	a.turn(ctx, first)
	p, left := a.progress(), a.under(was)
	if p.After == "" || p.Left == 0 || left == 0 || left == n+n/2 {
		t.Fatalf("it was to die in the middle: %+v, %d left", p, left)
	}
	done := a.result[store.Resealed]

	var from string
	second := a.replica(boxes(func(b box) {
		if from == "" {
			from = b.ID
		}
	}))
	a.later(time.Minute)
	a.turn(t.Context(), second)
	if from != "p/0128" { // the third batch of 64
		t.Errorf("the second one began at %s", from)
	}
	if left := a.under(was); left != 0 {
		t.Errorf("%d values are left", left)
	}
	if p := a.progress(); !p.Done(a.load().Store.PrimaryKeyID()) || p.Left != 0 || p.Unopened != 0 {
		t.Errorf("%+v", p)
	}
	if got := a.result[store.Resealed]; got != n+n/2 || done == 0 || done == got {
		t.Errorf("%d values were re-sealed (%d by the first), want %d", got, done, n+n/2)
	}
	a.opens()
}

// Of replicas that work at once, one does.
func TestOneReplicaReseals(t *testing.T) {
	a := newAttic(t, 200)
	was := a.rotate()
	var all sync.WaitGroup
	for range 4 {
		r := a.replica(boxes(nil))
		all.Go(func() { _ = r.Turn(t.Context()) })
	}
	all.Wait()
	if left := a.under(was); left != 0 || a.result[store.Resealed] != 300 || a.result[store.Changed] != 0 {
		t.Errorf("%d left, %v", left, a.result)
	}
	a.opens()
}

// What a person changes at that moment stays as they changed it, and what they remove stays removed.
func TestResealingLosesToAPerson(t *testing.T) {
	a := newAttic(t, 6)
	was := a.rotate()
	keys := a.load()
	looks := make(map[string]int)
	a.turn(t.Context(), a.replica(boxes(func(b box) {
		if looks[b.ID]++; looks[b.ID] != 2 {
			return // the first look counts, the second is before the change
		}
		switch b.ID {
		case "p/0001":
			fresh, err := keys.Store.Seal([]byte("new"), boxPlace(b.ID, "secret"))
			if err == nil {
				_, err = a.boxes.Update(t.Context(), b.ID, store.Change{Update: set("secret", fresh)})
			}
			if err != nil {
				t.Error(err)
			}
		case "p/0002":
			if _, err := a.boxes.Update(t.Context(), b.ID, store.Change{Update: bson.D{{Key: "$unset", Value: bson.D{{Key: "inner.other", Value: ""}}}}}); err != nil {
				t.Error(err)
			}
		case "p/0003":
			if err := a.boxes.Delete(t.Context(), b.ID); err != nil {
				t.Error(err)
			}
		}
	})))
	if a.result[store.Changed] != 3 || a.under(was) != 0 {
		t.Errorf("%v, %d left", a.result, a.under(was))
	}
	if b, err := a.boxes.Get(t.Context(), "p/0001"); err != nil {
		t.Error(err)
	} else if plain, err := keys.Store.Open(b.Secret, boxPlace(b.ID, "secret")); err != nil || string(plain) != "new" {
		t.Errorf("the new value is %q, %v", plain, err)
	}
	if b, err := a.boxes.Get(t.Context(), "p/0002"); err != nil || len(b.Inner.Other) > 0 {
		t.Errorf("what was removed is there again: %v", err)
	}
	if _, err := a.boxes.Get(t.Context(), "p/0003"); err == nil {
		t.Error("the document that was removed is there again")
	}
}

// A replica that is late with the new file seals under the old key for a while: that is found, and the late one takes
// nothing back.
func TestAReplicaThatIsLate(t *testing.T) {
	a := newAttic(t, 10)
	late := store.NewResealer(a.db, a.keys, boxes(nil), func() time.Time { return a.now }, func(string, string) {})
	was := a.rotate()
	r := a.replica(boxes(nil))
	a.turn(t.Context(), r)
	b := box{ID: "p/late", Secret: a.seal(a.keys, "p/late", "secret")}
	if err := a.boxes.Insert(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	a.later(time.Minute)
	a.turn(t.Context(), late)
	if p := a.progress(); p.Primary == int64(was) {
		t.Error("the late one has taken the rotation back")
	}
	a.turn(t.Context(), r)
	if a.under(was) != 0 {
		t.Error("what the late one wrote is still under the old key")
	}
	a.opens()
}

// A replica that had the new key and did not seal with it when the old one was retired saves what it sealed meanwhile.
func TestAReplicaThatIsTooLateSavesItsValues(t *testing.T) {
	a := newAttic(t, 3)
	was := a.keys.Store.PrimaryKeyID()
	files, err := seal.LockFiles(t.Context(), t.TempDir(), map[contract.Service]string{contract.TOTP: a.path})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close() //nolint:errcheck // nothing is waiting for it
	if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	late := a.load()
	if _, err := files.Use(t.Context(), seal.Store, contract.TOTP, a.now); err != nil {
		t.Fatal(err)
	}
	a.turn(t.Context(), a.replica(boxes(nil)))
	if err := a.boxes.Insert(t.Context(), box{ID: "p/late", Secret: a.seal(late, "p/late", "secret")}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Retire(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	if err := late.Reload(); err != nil {
		t.Fatal(err)
	}
	r := store.NewResealer(a.db, late, boxes(nil), time.Now, func(string, string) {})
	for _, want := range []int{1, 0} {
		if n, err := r.Rescue(t.Context(), late.State().Retired); n != want || err != nil {
			t.Errorf("%d values were saved, %v; want %d", n, err, want)
		}
	}
	if n := a.under(was); n != 0 {
		t.Errorf("%d values are under the key that is gone", n)
	}
	a.opens()
}

// What no key opens stays as it is and is told, and the rest is done.
func TestWhatDoesNotOpenIsTold(t *testing.T) {
	a := newAttic(t, 10)
	moved, err := a.boxes.Get(t.Context(), "p/0003")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.boxes.Update(t.Context(), "p/0004", store.Change{Update: set("secret", moved.Secret)}); err != nil {
		t.Fatal(err)
	}
	was := a.rotate()
	r := a.replica(boxes(nil))
	a.turn(t.Context(), r)
	if p := a.progress(); p.Left != 1 || p.Unopened != 1 || !p.DoneAt.IsZero() || a.under(was) != 1 || a.result[store.Resealed] != 14 {
		t.Errorf("%+v, %v", p, a.result)
	}
	a.later(time.Minute)
	a.turn(t.Context(), r)
	if a.result[store.Unopened] != 1 {
		t.Errorf("it was tried %d times within a minute", a.result[store.Unopened])
	}
}

// B40: a key file without the key that sealed what is stored is refused at the start.
func TestB40KeysThatLackTheOneInUse(t *testing.T) {
	a := newAttic(t, 2)
	a.rotate()
	r := a.replica(boxes(nil))
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.turn(t.Context(), r)
	old := store.NewResealer(a.db, a.keys, boxes(nil), time.Now, func(string, string) {})
	if err := old.Check(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprint(a.load().Store.PrimaryKeyID())) {
		t.Errorf("an older copy of the key file: %v", err)
	}
}

// Whoever takes a key away is told of every value under it, also of those that no list names, and at any depth.
func TestSealedUnderReliesOnNoList(t *testing.T) {
	a := newAttic(t, 3)
	v := a.seal(a.keys, "x", "secret")
	if err := store.Of[bson.D](a.db, "others").Insert(t.Context(), bson.D{
		{Key: "_id", Value: "x"}, {Key: "a", Value: bson.A{bson.D{{Key: "b", Value: v}}}}, {Key: "c", Value: []byte("plain")},
	}); err != nil {
		t.Fatal(err)
	}
	if got := a.under(a.keys.Store.PrimaryKeyID()); got != 3+2+1 {
		t.Errorf("%d values, want 6", got)
	}
}

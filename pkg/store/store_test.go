package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/lockout"
	"sallyport/pkg/store"
)

// uri is where the tests' documents go: a store of their own, or the MongoDB of MONGODB_URI.
func uri(tb testing.TB) string {
	tb.Helper()
	if u := os.Getenv("MONGODB_URI"); u != "" {
		return u
	}
	st, err := embedded.StartStore(embedded.StoreOptions{Dir: tb.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := st.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return st.URI()
}

func connect(tb testing.TB, uri string) *store.DB {
	tb.Helper()
	name := "t_" + strings.ToLower(strings.NewReplacer("/", "_", " ", "_").Replace(tb.Name()))
	name = fmt.Sprintf("%.30s_%d", name, time.Now().UnixNano()%1_000_000_000)
	db, err := store.Connect(tb.Context(), store.Options{URI: uri, Database: name, Name: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return db
}

type doc struct {
	ID     string        `bson:"_id"`
	N      int           `bson:"n"`
	Text   string        `bson:"text,omitempty"`
	Guess  lockout.State `bson:"guess"`
	Nested struct {
		At *time.Time `bson:"at,omitempty"`
	} `bson:"nested"`
}

func set(field string, value any) bson.D {
	return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}}
}

func eq(field string, value any) bson.D { return bson.D{{Key: field, Value: value}} }

func TestInsertGetDelete(t *testing.T) {
	c := store.Of[doc](connect(t, uri(t)), "docs")
	ctx := t.Context()
	if _, err := c.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nothing there: %v", err)
	}
	if err := c.Insert(ctx, doc{ID: "a", N: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.Insert(ctx, doc{ID: "a", N: 2}); !errors.Is(err, store.ErrExists) {
		t.Errorf("inserted twice: %v", err)
	}
	if got, err := c.Get(ctx, "a"); err != nil || got.N != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		if err := c.Delete(ctx, "a"); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// Update and Apply agree on when a change happens: without a document, with one, and with a guard that fails.
func TestGuardedChange(t *testing.T) {
	db := connect(t, uri(t))
	c := store.Of[doc](db, "docs")
	ctx := t.Context()
	for _, row := range []struct {
		name            string
		before          *doc
		guard           bson.D
		upsert, before2 bool
		wantN           int   // of the document afterwards; -1: there is none
		updated         bool  // what Update says
		updateErr       error // its error
		applyErr        error
		applied         int // N of the document that Apply returns
	}{
		{"no document", nil, nil, false, false, -1, false, nil, store.ErrNotFound, 0},
		{"no document, upsert", nil, nil, true, false, 5, true, nil, nil, 5},
		{"no document, upsert, as it was", nil, nil, true, true, 5, true, nil, nil, 0},
		{"document", &doc{N: 1}, nil, false, false, 5, true, nil, nil, 5},
		{"document, as it was", &doc{N: 1}, nil, false, true, 5, true, nil, nil, 1},
		{"document, upsert", &doc{N: 1}, nil, true, false, 5, true, nil, nil, 5},
		{"the guard holds", &doc{N: 1}, eq("n", 1), false, false, 5, true, nil, nil, 5},
		{"the guard fails", &doc{N: 1}, eq("n", 2), false, false, 1, false, nil, store.ErrNotFound, 0},
		{"the guard holds, upsert", &doc{N: 1}, eq("n", 1), true, false, 5, true, nil, nil, 5},
		{"the guard fails, upsert", &doc{N: 1}, eq("n", 2), true, false, 1, false, store.ErrExists, store.ErrExists, 0},
		{"the guard fails, upsert, as it was", &doc{N: 1}, eq("n", 2), true, true, 1, false, store.ErrExists, store.ErrExists, 0},
		{"no change", &doc{N: 5}, nil, false, false, 5, true, nil, nil, 5},
	} {
		for _, way := range []string{"update", "apply"} {
			t.Run(row.name+"/"+way, func(t *testing.T) {
				id := row.name + way
				if row.before != nil {
					d := *row.before
					d.ID = id
					if err := c.Insert(ctx, d); err != nil {
						t.Fatal(err)
					}
				}
				ch := store.Change{Guard: row.guard, Update: set("n", 5), Upsert: row.upsert, Before: row.before2}
				if way == "update" {
					if done, err := c.Update(ctx, id, ch); done != row.updated || !errors.Is(err, row.updateErr) {
						t.Errorf("%v, %v; want %v, %v", done, err, row.updated, row.updateErr)
					}
				} else {
					got, err := c.Apply(ctx, id, ch)
					if !errors.Is(err, row.applyErr) || got.N != row.applied {
						t.Errorf("%+v, %v; want %d, %v", got, err, row.applied, row.applyErr)
					}
				}
				n := -1
				if got, err := c.Get(ctx, id); err == nil {
					n = got.N
				} else if !errors.Is(err, store.ErrNotFound) {
					t.Fatal(err)
				}
				if n != row.wantN {
					t.Errorf("afterwards n is %d, want %d", n, row.wantN)
				}
			})
		}
	}
}

// A guard is part of the update: of many that may happen once, one does.
func TestGuardHasOneWinner(t *testing.T) {
	u := uri(t)
	db := connect(t, u)
	c := store.Of[doc](db, "docs")
	if err := c.Insert(t.Context(), doc{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	var updated, applied, inserted, upserted atomic.Int64
	var wg sync.WaitGroup
	atOnce := make(chan struct{}, 16) // a slow machine must not make them wait longer than the store's patience
	for range 50 {
		wg.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			done, err := c.Update(t.Context(), "a", store.Change{Guard: eq("n", 0), Update: set("n", 1)})
			if err != nil {
				t.Error(err)
			} else if done {
				updated.Add(1)
			}
			won(t, &applied, second(c.Apply(t.Context(), "a", store.Change{Guard: eq("text", nil), Update: set("text", "x")})))
			won(t, &inserted, c.Insert(t.Context(), doc{ID: "b"}))
			won(t, &upserted, second(c.Apply(t.Context(), "c", store.Change{Guard: eq("n", 0), Update: set("n", 1), Upsert: true})))
		})
	}
	wg.Wait()
	for name, n := range map[string]int64{"updated": updated.Load(), "applied": applied.Load(), "inserted": inserted.Load(), "upserted": upserted.Load()} {
		if n != 1 {
			t.Errorf("%s %d times", name, n)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func won(t *testing.T, n *atomic.Int64, err error) {
	if err == nil {
		n.Add(1)
	} else if !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestQueryAndIndexes(t *testing.T) {
	db := connect(t, uri(t))
	ctx := t.Context()
	indexes := []store.Index{
		{Collection: "docs", Name: "by_n", Keys: bson.D{{Key: "n", Value: 1}}},
		{Collection: "docs", Name: "by_text", Keys: bson.D{{Key: "text", Value: 1}, {Key: "n", Value: -1}}, Unique: true},
	}
	for range 2 { // at every start
		if err := db.EnsureIndexes(ctx, indexes); err != nil {
			t.Fatal(err)
		}
	}
	c := store.Of[doc](db, "docs")
	for i := range 10 {
		if err := c.Insert(ctx, doc{ID: fmt.Sprint(i), N: 9 - i, Text: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Insert(ctx, doc{ID: "other", N: 3, Text: "x"}); !errors.Is(err, store.ErrExists) {
		t.Errorf("a second one of what is unique: %v", err)
	}
	got, err := c.Query(ctx, bson.D{{Key: "n", Value: bson.D{{Key: "$gte", Value: 5}}}}, bson.D{{Key: "n", Value: 1}}, 3)
	if err != nil || len(got) != 3 || got[0].N != 5 || got[2].N != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.Query(ctx, eq("n", 77), bson.D{{Key: "n", Value: 1}}, 3); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// The store's condition is the rule of lockout, for every count and around every edge.
func TestGuessGuardIsTheRule(t *testing.T) {
	c := store.Of[doc](connect(t, uri(t)), "docs")
	last := time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)
	ask := func(tb rapid.TB, state lockout.State, now time.Time) {
		tb.Helper()
		_, err := c.Apply(t.Context(), "a", store.Change{Update: bson.D{{Key: "$set", Value: bson.D{{Key: "guess", Value: state}}}}, Upsert: true})
		if err != nil {
			tb.Fatal(err)
		}
		inc, set := store.CountGuess("guess", now)
		counted, err := c.Update(t.Context(), "a", store.Change{
			Guard: store.GuessGuard("guess", now), Update: bson.D{{Key: "$inc", Value: bson.D{inc}}, {Key: "$set", Value: bson.D{set}}},
		})
		if err != nil {
			tb.Fatal(err)
		}
		if want := state.Allowed(now); counted != want {
			tb.Fatalf("%d failures, %v later: the store says %v, the rule %v", state.Failures, now.Sub(state.LastAt), counted, want)
		}
		after, err := c.Get(t.Context(), "a")
		if err != nil {
			tb.Fatal(err)
		}
		want := state
		if counted {
			want = lockout.State{Failures: state.Failures + 1, LastAt: now}
		}
		if after.Guess.Failures != want.Failures || !after.Guess.LastAt.Equal(want.LastAt) {
			tb.Fatalf("counted: %v, and the state is %+v, want %+v", counted, after.Guess, want)
		}
	}
	for failures := range 61 {
		edges := []time.Duration{0, time.Second}
		if w := lockout.Wait(failures); w > 0 {
			edges = append(edges, w-time.Millisecond, w, w+time.Millisecond)
		}
		edges = append(edges, 24*time.Hour)
		for _, d := range edges {
			ask(t, lockout.State{Failures: failures, LastAt: last}, last.Add(d))
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		failures := rapid.IntRange(0, 60).Draw(rt, "failures")
		after := time.Duration(rapid.Int64Range(0, 2*3600*1000).Draw(rt, "ms")) * time.Millisecond
		ask(rt, lockout.State{Failures: failures, LastAt: last}, last.Add(after))
	})
}

// A document without a state is one without failures.
func TestGuessGuardWithoutState(t *testing.T) {
	c := store.Of[bson.M](connect(t, uri(t)), "docs")
	if err := c.Insert(t.Context(), bson.M{"_id": "a"}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	inc, set := store.CountGuess("guess", now)
	done, err := c.Update(t.Context(), "a", store.Change{Guard: store.GuessGuard("guess", now), Update: bson.D{{Key: "$inc", Value: bson.D{inc}}, {Key: "$set", Value: bson.D{set}}}})
	if err != nil || !done {
		t.Errorf("counted: %v, %v", done, err)
	}
}

func TestParallelGuessesAreCountedExactly(t *testing.T) {
	u := uri(t)
	c := store.Of[doc](connect(t, u), "docs")
	if err := c.Insert(t.Context(), doc{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)
	guess := func(at time.Time) int64 {
		var counted atomic.Int64
		var wg sync.WaitGroup
		atOnce := make(chan struct{}, 16) // a slow machine must not make them wait longer than the store's patience
		for range 200 {
			wg.Go(func() {
				atOnce <- struct{}{}
				defer func() { <-atOnce }()
				inc, set := store.CountGuess("guess", at)
				_, err := c.Apply(t.Context(), "a", store.Change{
					Guard: store.GuessGuard("guess", at), Update: bson.D{{Key: "$inc", Value: bson.D{inc}}, {Key: "$set", Value: bson.D{set}}}, Before: true,
				})
				won(t, &counted, err)
			})
		}
		wg.Wait()
		return counted.Load()
	}
	if got := guess(now); got != lockout.Round {
		t.Errorf("of 200 guesses at once %d were counted, want %d", got, lockout.Round)
	}
	if got := guess(now.Add(lockout.FirstWait - time.Millisecond)); got != 0 {
		t.Errorf("while it is locked %d were counted", got)
	}
	if got := guess(now.Add(lockout.FirstWait)); got != lockout.Round {
		t.Errorf("after the lock %d were counted, want %d", got, lockout.Round)
	}
	if _, err := c.Update(t.Context(), "a", store.Change{Update: bson.D{{Key: "$set", Value: bson.D{store.ClearGuesses("guess")}}}}); err != nil {
		t.Fatal(err)
	}
	if got := guess(now.Add(lockout.FirstWait)); got != lockout.Round {
		t.Errorf("after it was cleared %d were counted, want %d", got, lockout.Round)
	}
}

func TestUnreachable(t *testing.T) {
	st, err := embedded.StartStore(embedded.StoreOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	db := connect(t, st.URI())
	c := store.Of[doc](db, "docs")
	if err := c.Insert(t.Context(), doc{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Ready(t.Context()); err == nil {
		t.Error("ready without a store")
	}
	long, cancel := context.WithTimeout(t.Context(), time.Minute) // a caller's patience is not ours
	defer cancel()
	var wg sync.WaitGroup
	for name, ctx := range map[string]context.Context{"no deadline": t.Context(), "a far deadline": long} {
		for op, f := range map[string]func() error{
			"get":    func() error { return second(c.Get(ctx, "a")) },
			"insert": func() error { return c.Insert(ctx, doc{ID: "b"}) },
			"apply":  func() error { return second(c.Apply(ctx, "a", store.Change{Update: set("n", 1)})) },
			"update": func() error { return second(c.Update(ctx, "a", store.Change{Update: set("n", 1)})) },
			"delete": func() error { return c.Delete(ctx, "a") },
			"query":  func() error { return second(c.Query(ctx, bson.D{}, bson.D{{Key: "_id", Value: 1}}, 1)) },
		} {
			wg.Go(func() {
				begin := time.Now()
				if err := f(); contract.CodeOf(err) != contract.Unavailable || time.Since(begin) > 3*time.Second {
					t.Errorf("%s, %s: %v after %v, want unavailable within 3 s", op, name, err, time.Since(begin))
				}
			})
		}
	}
	wg.Wait()
}

// A server that takes the connection and says nothing is as good as none.
func TestSilentServer(t *testing.T) {
	u := silent(t, uri(t))
	db := connect(t, u.uri)
	c := store.Of[doc](db, "docs")
	if err := c.Insert(t.Context(), doc{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	u.mute()
	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, ctx := range []context.Context{long, t.Context(), long} {
		begin := time.Now()
		_, err := c.Get(ctx, "a")
		if contract.CodeOf(err) != contract.Unavailable || time.Since(begin) > 3*time.Second {
			t.Errorf("%d: %v after %v, want unavailable within 3 s", i, err, time.Since(begin))
		}
		t.Logf("%d: %v", i, time.Since(begin))
	}
	u.speak()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := c.Get(t.Context(), "a"); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("not back within 10 s: %v", err)
		}
	}
}

func TestConnectNamesTheAddressOnly(t *testing.T) {
	for _, in := range []string{"mongodb://eve:hunter2@127.0.0.1:1/?authSource=admin", "mongodb://eve:hunter2@127.0.0.1:1,127.0.0.1:2/?replicaSet=rs0"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		begin := time.Now()
		_, err := store.Connect(ctx, store.Options{URI: in, Database: "x", Log: slog.New(slog.DiscardHandler)})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "eve") {
			t.Errorf("got %v", err)
		}
		if time.Since(begin) > 3*time.Second {
			t.Errorf("took %v", time.Since(begin))
		}
	}
	for _, in := range []string{"hunter2", "mongodb://eve:hunt:er2@x", "mongodb://eve:hunter2@h/?connectTimeoutMS=hunter2", "http://eve:hunter2@x"} {
		if _, err := store.Connect(t.Context(), store.Options{URI: in, Database: "x", Log: slog.New(slog.DiscardHandler)}); err == nil || strings.Contains(err.Error(), "hunt") {
			t.Errorf("%s: got %v", in, err)
		}
	}
}

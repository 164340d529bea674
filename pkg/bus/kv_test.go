package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/contract"
)

func open(tb testing.TB, b *Bus) *KV[note] {
	tb.Helper()
	kv, err := OpenKV[note](tb.Context(), b, contract.Bucket{Name: "test", MaxAge: time.Hour, MaxBytes: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	return kv
}

func TestKVComparesAndSets(t *testing.T) {
	s := serve(t)
	kv := open(t, s.connect(contract.AuthGateway))
	ctx := t.Context()
	if _, _, err := kv.Get(ctx, "a"); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("no such key: %v", err)
	}
	first, err := kv.Create(ctx, "a", note{"1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(ctx, "a", note{"x"}); !errors.Is(err, ErrKeyChanged) {
		t.Errorf("created twice: %v", err)
	}
	second, err := kv.Update(ctx, "a", note{"2"}, first)
	if err != nil || second <= first {
		t.Fatalf("%d, %v", second, err)
	}
	for _, stale := range []uint64{first, second + 1, 0} {
		if _, err := kv.Update(ctx, "a", note{"x"}, stale); !errors.Is(err, ErrKeyChanged) {
			t.Errorf("updated from revision %d: %v", stale, err)
		}
	}
	if v, revision, err := kv.Get(ctx, "a"); err != nil || v.Text != "2" || revision != second {
		t.Errorf("%+v at %d, %v", v, revision, err)
	}
	for range 2 {
		if err := kv.Delete(ctx, "a"); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := kv.Get(ctx, "a"); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if _, err := kv.Update(ctx, "a", note{"x"}, second); !errors.Is(err, ErrKeyChanged) {
		t.Errorf("updated what was deleted: %v", err)
	}
	if _, err := kv.Create(ctx, "a", note{"3"}); err != nil {
		t.Errorf("created again: %v", err)
	}
}

func TestKVHasOneWinner(t *testing.T) {
	s := serve(t)
	one, two := open(t, s.connect(contract.AuthGateway)), open(t, s.connect(contract.AuthGateway))
	revision, err := one.Create(t.Context(), "a", note{})
	if err != nil {
		t.Fatal(err)
	}
	var updated, created atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		kv := one
		if i%2 == 1 {
			kv = two
		}
		wg.Go(func() {
			_, err := kv.Update(t.Context(), "a", note{}, revision)
			count(t, &updated, err)
			_, err = kv.Create(t.Context(), "b", note{})
			count(t, &created, err)
		})
	}
	wg.Wait()
	if updated.Load() != 1 || created.Load() != 1 {
		t.Errorf("%d updated and %d created it", updated.Load(), created.Load())
	}
}

func count(t *testing.T, won *atomic.Int64, err error) {
	if err == nil {
		won.Add(1)
	} else if !errors.Is(err, ErrKeyChanged) {
		t.Error(err)
	}
}

// picture is what a watcher has been told.
type picture struct {
	mu   sync.Mutex
	keys map[string]string
	revs map[string]uint64
	bad  error
}

// watching starts a watch that ends with the test.
func watching(t *testing.T, kv *KV[note]) *picture {
	t.Helper()
	p := &picture{keys: make(map[string]string), revs: make(map[string]uint64)}
	if err := kv.Watch(t.Context(), p.each); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *picture) each(key string, v *note, revision uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v == nil {
		if p.revs[key] >= revision && p.keys[key] != "" {
			p.bad = fmt.Errorf("%s removed at %d, after %d", key, revision, p.revs[key])
		}
		delete(p.keys, key)
	} else {
		p.keys[key] = v.Text
	}
	p.revs[key] = revision
}

func (p *picture) is(want map[string]string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Equal(p.keys, want)
}

func (p *picture) check(t *testing.T, want map[string]string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff(want, p.keys); diff != "" {
		t.Error(diff)
	}
	if p.bad != nil {
		t.Error(p.bad)
	}
}

func TestWatchSeesEverything(t *testing.T) {
	s := serve(t)
	writer, kv := open(t, s.connect(contract.AuthGateway)), open(t, s.connect(contract.AuthGateway))
	if kv.Fresh() {
		t.Error("fresh before it has looked")
	}
	put := func(key, text string) {
		t.Helper()
		if _, err := writer.Create(t.Context(), key, note{text}); err != nil {
			t.Fatal(err)
		}
	}
	want := make(map[string]string)
	for i := range 1000 {
		key := fmt.Sprint("k", i)
		put(key, "1")
		want[key] = "1"
	}
	if err := writer.Delete(t.Context(), "k7"); err != nil {
		t.Fatal(err)
	}
	delete(want, "k7")
	p := watching(t, kv)
	p.check(t, want) // all of it when Watch returns
	if !kv.Fresh() {
		t.Error("not fresh after it has looked")
	}

	put("k7", "2")
	want["k7"] = "2"
	_, revision, err := writer.Get(t.Context(), "k8")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Update(t.Context(), "k8", note{"2"}, revision); err != nil {
		t.Fatal(err)
	}
	want["k8"] = "2"
	if err := writer.Delete(t.Context(), "k9"); err != nil {
		t.Fatal(err)
	}
	delete(want, "k9")
	// What does not decode is not there, and above all no longer what it was.
	if _, err := writer.kv.Put(t.Context(), "k10", []byte("hunter2")); err != nil {
		t.Fatal(err)
	}
	delete(want, "k10")
	eventually(t, 5*time.Second, "the changes are seen", func() bool { return p.is(want) })
	seen := kv.seen.Load()
	eventually(t, 5*time.Second, "a heartbeat", func() bool { return kv.seen.Load() > seen })
	if !kv.Fresh() {
		t.Error("not fresh")
	}
	p.check(t, want)
}

// Whatever happens while the server is away, the picture is right whenever Fresh is true, and Fresh comes back by itself.
func TestWatchRecovers(t *testing.T) {
	for _, row := range []struct {
		name  string
		while func(t *testing.T, kv *KV[note])
		want  map[string]string
	}{
		{"nothing happened", func(*testing.T, *KV[note]) {}, map[string]string{"a": "1", "b": "1", "c": "1"}},
		{"everything happened", func(t *testing.T, kv *KV[note]) {
			ctx := t.Context()
			_, revision, err := kv.Get(ctx, "a")
			if err != nil {
				t.Fatal(err)
			}
			_, update := kv.Update(ctx, "a", note{"2"}, revision)
			_, create := kv.Create(ctx, "d", note{"2"})
			stream, err := kv.bus.js.Stream(ctx, "KV_test")
			if err != nil {
				t.Fatal(err)
			}
			// b leaves a mark, c vanishes without one, as by age.
			if err := errors.Join(update, create, kv.Delete(ctx, "b"), stream.Purge(ctx, jetstream.WithPurgeSubject("$KV.test.c"))); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"a": "2", "d": "2"}},
		{"all is gone", func(t *testing.T, kv *KV[note]) {
			stream, err := kv.bus.js.Stream(t.Context(), "KV_test")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t)
			kv := open(t, s.connect(contract.AuthGateway))
			for _, key := range []string{"a", "b", "c"} {
				if _, err := kv.Create(t.Context(), key, note{"1"}); err != nil {
					t.Fatal(err)
				}
			}
			p := watching(t, kv)
			p.check(t, map[string]string{"a": "1", "b": "1", "c": "1"})
			s.stop()
			eventually(t, 3*time.Second, "not fresh without a server", func() bool { return !kv.Fresh() })
			// Meanwhile somebody else sees the server, at an address that we do not know.
			s.start("127.0.0.1:0")
			row.while(t, open(t, s.connect(contract.AuthGateway)))
			s.stop()
			s.start(s.addr)
			begin := time.Now()
			eventually(t, 10*time.Second, "fresh again", kv.Fresh)
			p.check(t, row.want) // at once, not eventually
			t.Logf("fresh again after %v", time.Since(begin))

			if _, err := kv.Create(t.Context(), "after", note{"3"}); err != nil {
				t.Fatal(err)
			}
			row.want["after"] = "3"
			eventually(t, 3*time.Second, "later changes are seen", func() bool { return p.is(row.want) })
			p.check(t, row.want)
		})
	}
}

// What the bucket drops by age is not remembered either, or a watcher would hold every key that there ever was.
func TestWatchForgetsWhatIsTooOld(t *testing.T) {
	told := 0
	w := watch[note]{k: &KV[note]{maxAge: time.Hour}, known: make(map[string]written), each: func(string, *note, uint64) { told++ }}
	begin := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	const keys, anHour = 100_000, 3600
	for n := range keys { // one a second
		w.tell(fmt.Sprint(n), &note{}, uint64(n), begin.Add(time.Duration(n)*time.Second))
	}
	if told != keys {
		t.Errorf("%d of %d were told", told, keys)
	}
	if most := 2*anHour + 1001; len(w.known) < anHour || len(w.known) > most {
		t.Errorf("%d keys are remembered, want those of the last hour and at most %d", len(w.known), most)
	}
	for n := keys - anHour; n < keys; n++ {
		if w.known[fmt.Sprint(n)].revision != uint64(n) {
			t.Fatalf("key %d, which is in the bucket, is forgotten", n)
		}
	}
}

// A watch that the server ends without a word is noticed by its silence.
func TestWatchNoticesSilence(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.AuthGateway)
	kv := open(t, b)
	p := watching(t, kv)
	if err := b.js.DeleteStream(t.Context(), "KV_test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*blindFor, "not fresh without a bucket", func() bool { return !kv.Fresh() })
	if _, err := kv.Create(t.Context(), "a", note{}); contract.CodeOf(err) != contract.Unavailable {
		t.Errorf("got %v", err)
	}
	again := open(t, b)
	if _, err := again.Create(t.Context(), "a", note{"1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "fresh again", kv.Fresh)
	p.check(t, map[string]string{"a": "1"})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	s := serve(t)
	kv := open(t, s.connect(contract.AuthGateway))
	ctx, cancel := context.WithCancel(t.Context())
	if err := kv.Watch(ctx, func(string, *note, uint64) {}); err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, 2*blindFor, "not fresh any more", func() bool { return !kv.Fresh() })
	if err := kv.Watch(ctx, func(string, *note, uint64) {}); err == nil {
		t.Error("watched without time")
	}
}

func TestKVWithoutServer(t *testing.T) {
	s := serve(t)
	kv := open(t, s.connect(contract.AuthGateway))
	s.stop()
	for name, f := range map[string]func() error{
		"get":    func() error { _, _, err := kv.Get(t.Context(), "a"); return err },
		"create": func() error { _, err := kv.Create(t.Context(), "a", note{}); return err },
		"update": func() error { _, err := kv.Update(t.Context(), "a", note{}, 1); return err },
		"delete": func() error { return kv.Delete(t.Context(), "a") },
	} {
		begin := time.Now()
		if err := f(); contract.CodeOf(err) != contract.Unavailable || time.Since(begin) > 3*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begin))
		}
	}
	s.start(s.addr)
}

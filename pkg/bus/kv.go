package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// Errors of a bucket.
var (
	// ErrKeyNotFound: there is no such key, or not any more.
	ErrKeyNotFound = errors.New("no such key")
	// ErrKeyChanged: somebody else wrote the key meanwhile, or it exists already.
	ErrKeyChanged = errors.New("the key was changed by somebody else")
)

// KV is a bucket of JSON values that expire by themselves: on disk, replicated, changed by compare-and-set.
// Keys are letters, digits, '-', '_' and '.'.
type KV[T any] struct {
	kv     jetstream.KeyValue
	bus    *Bus
	maxAge time.Duration
	// What the watch knows: when (real time in ns) our own heartbeat last came back through it, and during which of
	// the bus's connections, counted from one, it read the whole bucket.
	seen   atomic.Int64
	synced atomic.Uint64
}

// heartbeat is the prefix of the keys by which a watcher proves to itself that it still sees the bucket.
const heartbeat = "_beat."

// Freshness: a watcher writes a heartbeat every second and is blind when it has not seen one for three.
const (
	beatEvery  = time.Second
	blindFor   = 3 * time.Second
	checkEvery = 100 * time.Millisecond // how soon a lost connection is noticed
)

// OpenKV opens a bucket; on a bus without users it makes sure of it first.
func OpenKV[T any](ctx context.Context, b *Bus, bucket contract.Bucket) (*KV[T], error) {
	kv, err := b.bucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return &KV[T]{kv: kv, bus: b, maxAge: bucket.MaxAge}, nil
}

// unseen turns a fault of the bucket into the refusal that a person sees.
func (k *KV[T]) unseen(op string, err error) error {
	k.bus.log.Warn("bucket does not answer", slog.String("bucket", k.kv.Bucket()), slog.String("operation", op), slog.Any("error", err))
	return contract.NotAnswering()
}

// Create writes a new key and returns its revision; [ErrKeyChanged] if it exists.
func (k *KV[T]) Create(ctx context.Context, key string, value T) (uint64, error) {
	return k.write(ctx, "create", key, value, func(ctx context.Context, raw []byte) (uint64, error) { return k.kv.Create(ctx, key, raw) })
}

// Update writes a key if its revision is still the given one; otherwise [ErrKeyChanged].
func (k *KV[T]) Update(ctx context.Context, key string, value T, revision uint64) (uint64, error) {
	return k.write(ctx, "update", key, value, func(ctx context.Context, raw []byte) (uint64, error) {
		return k.kv.Update(ctx, key, raw, revision)
	})
}

func (k *KV[T]) write(ctx context.Context, op, key string, value T, do func(context.Context, []byte) (uint64, error)) (revision uint64, err error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("bucket %s: %w", k.kv.Bucket(), err)
	}
	ctx, span := trace.Start(ctx, trace.Client, op, k.kv.Bucket())
	defer func() { k.done(span, op, err) }()
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	revision, err = do(ctx, raw)
	k.bus.writes.note(k.kv.Bucket(), err, k.probe)
	switch {
	case err == nil:
		return revision, nil
	case changed(err):
		return 0, ErrKeyChanged
	default:
		return 0, k.unseen(op, err)
	}
}

// probe writes a key that nobody reads.
func (k *KV[T]) probe(ctx context.Context) error {
	_, err := k.kv.Put(ctx, heartbeat+"probe", []byte("{}"))
	return err
}

// done ends the span of one operation.
func (k *KV[T]) done(span trace.Span, op string, err error) {
	if !span.On() {
		return
	}
	span.Set(trace.Operation, op)
	span.Set(trace.Collection, k.kv.Bucket())
	switch {
	case err == nil:
		span.End(trace.OK, false)
	case errors.Is(err, ErrKeyNotFound):
		span.End("not_found", false)
	case errors.Is(err, ErrKeyChanged):
		span.End("changed", false)
	default:
		span.End(string(contract.CodeOf(err)), true)
	}
}

// changed tells a lost compare-and-set from every other error.
func changed(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// Get reads a key with its revision, past every cache; [ErrKeyNotFound] if there is none.
func (k *KV[T]) Get(ctx context.Context, key string) (t T, revision uint64, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "get", k.kv.Bucket())
	defer func() { k.done(span, "get", err) }()
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	e, err := k.read(ctx, key, attemptTimeout)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		e, err = k.read(ctx, key, CallTimeout) // the leader changed, and nobody had the question
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return t, 0, ErrKeyNotFound
	case err != nil:
		return t, 0, k.unseen("get", err)
	}
	if err := json.Unmarshal(e.Value(), &t); err != nil {
		return t, 0, fmt.Errorf("bucket %s: a value does not decode", k.kv.Bucket())
	}
	return t, e.Revision(), nil
}

func (k *KV[T]) read(ctx context.Context, key string, bound time.Duration) (jetstream.KeyValueEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return k.kv.Get(ctx, key)
}

// Delete removes a key, or leaves it gone. Every watcher hears of it.
func (k *KV[T]) Delete(ctx context.Context, key string) (err error) {
	ctx, span := trace.Start(ctx, trace.Client, "delete", k.kv.Bucket())
	defer func() { k.done(span, "delete", err) }()
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	err = k.kv.Delete(ctx, key)
	k.bus.writes.note(k.kv.Bucket(), err, k.probe)
	if err != nil {
		return k.unseen("delete", err)
	}
	return nil
}

// Watch calls each for everything in the bucket and then for every change, in order, from one goroutine; value is nil
// for a removed key, or one whose value does not decode; of what vanishes by age nothing may be told. It returns when the
// whole bucket was seen, and goes on until ctx ends. A bucket has one watch.
//
// A watch that is lost (with the connection, or because the server forgot it) is begun again: the whole bucket is read,
// and each hears of what was removed meanwhile. Until then [KV.Fresh] is false; whenever it is true, what each was told
// is the bucket as it was at most three seconds ago.
func (k *KV[T]) Watch(ctx context.Context, each func(key string, value *T, revision uint64)) error {
	loaded := make(chan error, 1)
	go func() {
		w := watch[T]{k: k, each: each, own: heartbeat + NewID(), known: make(map[string]written), loaded: func() { loaded <- nil }}
		for {
			err := w.follow(ctx)
			if w.loaded != nil {
				loaded <- err
				return
			}
			if ctx.Err() != nil {
				return
			}
			k.bus.log.Warn("watch is lost and begun again", slog.String("bucket", k.kv.Bucket()), slog.Any("error", err))
			for again := true; again; again = !k.bus.nc.IsConnected() {
				if !pause(ctx, checkEvery) {
					return
				}
			}
		}
	}()
	select {
	case err := <-loaded:
		if err != nil {
			return fmt.Errorf("watch %s: %w", k.kv.Bucket(), err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("watch %s: %w", k.kv.Bucket(), ctx.Err())
	}
}

// watch is the state of one [KV.Watch] over all its connections.
type watch[T any] struct {
	k      *KV[T]
	each   func(key string, value *T, revision uint64)
	own    string             // key of our heartbeat
	known  map[string]written // what each was told of, but for what is so old that the bucket has dropped it
	room   int                // when known has more than that, it is looked through
	loaded func()             // called once
}

// written is when, by the server's clock, and at which revision a key was written last.
type written struct {
	revision uint64
	at       time.Time
}

// follow reads the whole bucket and then its changes until it cannot be sure to see them any more, and says why.
func (w *watch[T]) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connection := w.k.connection()
	updates, err := w.k.kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() {
		_ = updates.Stop() // it may be gone already
		go func() {
			for range updates.Updates() { // the library blocks until somebody takes what it has left
			}
		}()
	}()
	present, loading := make(map[string]bool), true
	var newest uint64
	heard := time.Now() // when anything came; after loading, our heartbeat
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-check.C:
			if w.k.connection() != connection {
				return errors.New("the connection was lost")
			}
			if time.Since(heard) > blindFor {
				return errors.New("nothing comes any more")
			}
		case e, ok := <-updates.Updates():
			if !ok {
				return errors.New("the server ended it")
			}
			if e == nil { // the whole bucket was read
				for key, last := range w.known {
					if !present[key] {
						w.tell(key, nil, max(newest, last.revision+1), time.Time{})
					}
				}
				present, loading, heard = nil, false, time.Now()
				w.k.seen.Store(heard.UnixNano())
				w.k.synced.Store(connection)
				if w.loaded != nil {
					w.loaded()
					w.loaded = nil
				}
				go w.beat(ctx)
				continue
			}
			newest = max(newest, e.Revision())
			if loading {
				heard, present[e.Key()] = time.Now(), true
			}
			if strings.HasPrefix(e.Key(), heartbeat) {
				if e.Key() == w.own && !loading {
					heard = time.Now()
					w.k.seen.Store(heard.UnixNano())
				}
				continue
			}
			var value *T
			if e.Operation() == jetstream.KeyValuePut {
				value = new(T)
				if err := json.Unmarshal(e.Value(), value); err != nil {
					w.k.bus.log.Error("a value does not decode", slog.String("bucket", w.k.kv.Bucket()), slog.Uint64("revision", e.Revision()))
					value = nil
				}
			}
			w.tell(e.Key(), value, e.Revision(), e.Created())
		}
	}
}

// tell passes a change on and remembers what is there.
func (w *watch[T]) tell(key string, value *T, revision uint64, at time.Time) {
	if value == nil {
		delete(w.known, key)
	} else {
		w.known[key] = written{revision, at}
		w.forget(at)
	}
	w.each(key, value, revision)
}

// forget drops from known what the bucket has dropped by age, of which it tells nobody: otherwise known would hold
// every key that there ever was. It looks when known has doubled, so that a key costs no more for there being many.
func (w *watch[T]) forget(now time.Time) {
	if w.k.maxAge == 0 || len(w.known) <= w.room {
		return
	}
	for key, last := range w.known {
		if now.Sub(last.at) > w.k.maxAge {
			delete(w.known, key)
		}
	}
	w.room = 2*len(w.known) + 1000
}

// beat writes the watcher's own heartbeat.
func (w *watch[T]) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			bound, cancel := context.WithTimeout(ctx, beatEvery)
			_, err := w.k.kv.Put(bound, w.own, []byte("{}")) // for who watches, what counts is whether it comes back
			w.k.bus.writes.note(w.k.kv.Bucket(), err, w.k.probe)
			cancel()
		}
	}
}

// connection numbers the bus's connections from one; 0 means that there is none now.
func (k *KV[T]) connection() uint64 {
	if !k.bus.nc.IsConnected() {
		return 0
	}
	return k.bus.nc.Stats().Reconnects + 1
}

// Fresh tells whether the watch sees the bucket as it is, at most three seconds ago. Costs no request.
func (k *KV[T]) Fresh() bool {
	c := k.connection()
	return c != 0 && k.synced.Load() == c && time.Since(time.Unix(0, k.seen.Load())) < blindFor
}

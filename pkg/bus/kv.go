package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/contract"
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
	kv   jetstream.KeyValue
	bus  *Bus
	seen atomic.Int64 // real time in ns when our own heartbeat last came back through the watch
}

// heartbeat is the prefix of the keys by which a watcher proves to itself that it still sees the bucket.
const heartbeat = "_beat."

// Freshness: a watcher writes a heartbeat every second and is blind when it has not seen one for three.
const (
	beatEvery = time.Second
	blindFor  = 3 * time.Second
)

// OpenKV makes sure of a bucket. Values vanish maxAge (real time) after their last write; that only sweeps: whoever
// reads a value decides by the expiry inside it.
func OpenKV[T any](ctx context.Context, b *Bus, name string, maxAge time.Duration) (*KV[T], error) {
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, TTL: maxAge, Storage: jetstream.FileStorage, Replicas: b.replicas, History: 1,
		MaxValueSize: 32 << 10, MaxBytes: 4 << 30,
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return &KV[T]{kv: kv, bus: b}, nil
}

// unseen turns a fault of the bucket into the refusal that a person sees.
func (k *KV[T]) unseen(op string, err error) error {
	k.bus.log.Warn("bucket does not answer", slog.String("bucket", k.kv.Bucket()), slog.String("operation", op), slog.Any("error", err))
	return contract.Wait(contract.Unavailable, 2*time.Second, "A part of the sign-in service does not answer. Please try again.")
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

func (k *KV[T]) write(ctx context.Context, op, key string, value T, do func(context.Context, []byte) (uint64, error)) (uint64, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("bucket %s: %w", k.kv.Bucket(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	revision, err := do(ctx, raw)
	switch {
	case err == nil:
		return revision, nil
	case changed(err):
		return 0, ErrKeyChanged
	default:
		return 0, k.unseen(op, err)
	}
}

// changed tells a lost compare-and-set from every other error.
func changed(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// Get reads a key with its revision, past every cache; [ErrKeyNotFound] if there is none.
func (k *KV[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	var t T
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	e, err := k.kv.Get(ctx, key)
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

// Delete removes a key, or leaves it gone. Every watcher hears of it.
func (k *KV[T]) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if err := k.kv.Delete(ctx, key); err != nil {
		return k.unseen("delete", err)
	}
	return nil
}

// Watch calls each for everything in the bucket and then for every change, in order, from one goroutine; value is nil
// for a removed key. It returns when the whole bucket was seen, and goes on until ctx ends. [KV.Fresh] tells whether
// it still sees.
func (k *KV[T]) Watch(ctx context.Context, each func(key string, value *T, revision uint64)) error {
	w, err := k.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch %s: %w", k.kv.Bucket(), err)
	}
	own := heartbeat + NewID()
	loaded := make(chan struct{})
	go func() {
		defer w.Stop() //nolint:errcheck // the context has ended it already
		first := true
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-w.Updates():
				switch {
				case !ok:
					return // not fresh any more: sessions are refused
				case e == nil:
					if first {
						first = false
						close(loaded)
					}
				case e.Key() == own:
					k.seen.Store(time.Now().UnixNano())
				case len(e.Key()) > len(heartbeat) && e.Key()[:len(heartbeat)] == heartbeat:
				case e.Operation() != jetstream.KeyValuePut:
					each(e.Key(), nil, e.Revision())
				default:
					var t T
					if json.Unmarshal(e.Value(), &t) == nil {
						each(e.Key(), &t, e.Revision())
					}
				}
			}
		}
	}()
	select {
	case <-loaded:
	case <-ctx.Done():
		return fmt.Errorf("watch %s: %w", k.kv.Bucket(), ctx.Err())
	}
	k.seen.Store(time.Now().UnixNano())
	go k.beat(ctx, own)
	return nil
}

// beat writes the watcher's own heartbeat.
func (k *KV[T]) beat(ctx context.Context, own string) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			bound, cancel := context.WithTimeout(ctx, beatEvery)
			_, _ = k.kv.Put(bound, own, []byte("{}")) // what counts is whether it comes back
			cancel()
		}
	}
}

// Fresh tells whether the watch sees the bucket as it is, at most three seconds ago. Costs an atomic read.
func (k *KV[T]) Fresh() bool {
	return k.bus.nc.IsConnected() && time.Since(time.Unix(0, k.seen.Load())) < blindFor
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// Bounds of every durable consumer. They are the same for all, because who makes a consumer is not who uses it.
const (
	// AckWait is when the server gives an event that nobody has answered for to somebody else.
	AckWait = 30 * time.Second
	// mostWorkers bounds [ConsumeOptions.Workers]: four times as many may be fetched and unanswered.
	mostWorkers = 512
	// mostDeliveries bounds [ConsumeOptions.MaxDeliver]. Our own limit comes first: it writes the dead letter. The
	// server's, a few more, is a backstop.
	mostDeliveries = 1000
)

// Prepare makes every stream, bucket and consumer, and changes those that are configured otherwise. It is done by the
// keeper ([permit.Keeper]), before the services start; again changes nothing. It gives up when ctx ends.
func Prepare(ctx context.Context, o Options) (err error) {
	b, err := Visit(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
		defer cancel()
		err = errors.Join(err, b.Close(bound))
	}()
	b.makes = true
	for {
		if err = b.prepare(ctx); err == nil {
			return nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("JetStream at %s: %w", shown(o.URL), err)
		}
	}
}

// keepEvery is how often [Keep] looks.
const keepEvery = 2 * time.Second

// Keep looks, until ctx ends, whether everything that [Prepare] made is still there, and makes again what is not: the
// services may not. What was in it is lost.
func Keep(ctx context.Context, o Options) error {
	b, err := Visit(ctx, o)
	if err != nil {
		return err
	}
	b.makes = true
	for pause(ctx, keepEvery) {
		if b.whole(ctx) {
			continue
		}
		o.Log.Error("streams, buckets or consumers are gone and made again")
		if err := b.prepare(ctx); err != nil && ctx.Err() == nil {
			o.Log.Warn("streams, buckets and consumers are not all there", slog.Any("error", err))
		}
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	return b.Close(bound)
}

// whole is false where a stream, bucket or consumer is known to be gone.
func (b *Bus) whole(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	consumers := make(map[contract.Stream]int)
	for _, c := range permit.Consumers() {
		consumers[c.Stream]++
	}
	for _, s := range contract.Streams() {
		stream, err := b.js.Stream(ctx, string(s.Name))
		if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && stream.CachedInfo().State.Consumers < consumers[s.Name] {
			return false
		}
	}
	for _, k := range contract.Buckets() {
		if _, err := b.js.Stream(ctx, permit.BucketStream(k.Name)); errors.Is(err, jetstream.ErrStreamNotFound) {
			return false
		}
	}
	return true
}

func (b *Bus) prepare(ctx context.Context) error {
	if err := asked(ctx, b.ensureStreams); err != nil {
		return err
	}
	for _, bucket := range contract.Buckets() {
		if _, err := b.bucket(ctx, bucket); err != nil {
			return err
		}
	}
	for _, c := range permit.Consumers() {
		if _, err := b.consumer(ctx, string(c.Stream), c.Name, c.Subject); err != nil {
			return err
		}
	}
	return nil
}

// errNotMade says what to do where a user finds less than it needs.
var errNotMade = errors.New("it does not exist, and this user may not make it; `sallyport nats-prepare` does")

// ensureStreams makes the streams; a user of its own only looks for those that it uses.
func (b *Bus) ensureStreams(ctx context.Context) error {
	for _, s := range contract.Streams() {
		if !b.makes {
			if !b.uses(s.Name) {
				continue
			}
			if _, err := b.js.Stream(ctx, string(s.Name)); err != nil {
				return fmt.Errorf("stream %s: %w", s.Name, notMade(err))
			}
			continue
		}
		cfg := jetstream.StreamConfig{
			Name: string(s.Name), Subjects: s.Subjects, Storage: jetstream.FileStorage, Replicas: b.replicas,
			MaxAge: s.MaxAge, MaxBytes: s.MaxBytes, Duplicates: s.Duplicates, MaxMsgSize: maxEvent,
			Discard: jetstream.DiscardOld,
		}
		if s.Name == contract.StreamDead {
			cfg.MaxMsgSize = maxDead
		}
		if s.WorkQueue {
			// A job that does not fit is refused to its publisher, never pushed out silently.
			cfg.Retention, cfg.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
		}
		if _, err := b.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
	}
	return nil
}

// uses tells whether this service publishes to a stream or consumes from it.
func (b *Bus) uses(stream contract.Stream) bool {
	return permit.MayLook(permit.User(b.name), string(stream))
}

// notMade adds what to do to the error of something that does not exist.
func notMade(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("%w (%w)", errNotMade, err)
	}
	return err
}

// bucket makes a bucket, or finds the one that was made.
//
// Its stream is made as the library would make it, but for AllowDirect: with that, any copy answers a read, one that has
// not heard of the last write yet too, and a sign-in that was just begun is not there. Without it, the leader answers.
func (b *Bus) bucket(ctx context.Context, k contract.Bucket) (kv jetstream.KeyValue, err error) {
	err = asked(ctx, func(ctx context.Context) (err error) {
		if b.makes {
			if _, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
				Name: permit.BucketStream(k.Name), Subjects: []string{"$KV." + k.Name + ".>"}, Storage: jetstream.FileStorage, Replicas: b.replicas,
				MaxMsgsPerSubject: 1, MaxAge: k.MaxAge, MaxMsgSize: 32 << 10, MaxBytes: k.MaxBytes, Discard: jetstream.DiscardNew,
				AllowRollup: true, DenyDelete: true, Duplicates: 2 * time.Minute,
			}); err != nil {
				return err
			}
		}
		kv, err = b.js.KeyValue(ctx, k.Name)
		return notMade(err)
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", k.Name, err)
	}
	return kv, nil
}

// consumer makes a durable consumer, or finds the one that was made.
func (b *Bus) consumer(ctx context.Context, stream, name, subject string) (c jetstream.Consumer, err error) {
	err = asked(ctx, func(ctx context.Context) (err error) {
		if !b.makes {
			c, err = b.js.Consumer(ctx, stream, name)
			return notMade(err)
		}
		c, err = b.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
			Durable: name, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait,
			MaxDeliver: mostDeliveries + 5, MaxAckPending: 4 * mostWorkers,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	return c, nil
}

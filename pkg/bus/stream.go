package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// Letter is an event made ready to travel: what an outbox keeps and [Bus.Send] publishes.
type Letter struct {
	// ID is the Nats-Msg-Id: publishing the same letter twice stores it once.
	ID      string    `json:"id" bson:"id"`
	Subject string    `json:"subject" bson:"subject"`
	Data    []byte    `json:"data" bson:"data"`
	Request string    `json:"request,omitempty" bson:"request,omitempty"`
	At      time.Time `json:"at" bson:"at"`
	// Trace is the place in a trace of what caused it, so that the trace goes on however long it waits.
	Trace string `json:"trace,omitempty" bson:"trace,omitempty"`
}

// NewLetter makes a letter of an event. The id must name what happened (not the attempt to tell it), and be fit for
// a document's field name: letters, digits, '-' and '_'.
func NewLetter[T any](ctx context.Context, ev contract.Event[T], id string, msg T, at time.Time) (Letter, error) {
	data, err := json.Marshal(msg)
	if err != nil {
		return Letter{}, fmt.Errorf("%s: %w", ev.Subject, err)
	}
	return Letter{ID: id, Subject: ev.Subject, Data: data, Request: RequestID(ctx), At: at, Trace: trace.Header(ctx)}, nil
}

// Send publishes a letter and returns when the stream has it on disk. Sending it again changes nothing. Its error
// carries a [*contract.Error], unavailable: whether the stream has the letter is not known then.
func (b *Bus) Send(ctx context.Context, l Letter) (err error) {
	ctx, span := b.trace.Continue(ctx, trace.Producer, "publish", l.Subject, l.Trace)
	defer func() { told(span, l.Subject, l.Request, err) }()
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	err = b.send(ctx, l)
	if stream, ok := streamOf(l.Subject); ok {
		b.writes.note(string(stream), err, func(ctx context.Context) error { return b.send(ctx, l) })
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w (%w)", l.Subject, err, contract.NotAnswering())
	}
	return nil
}

func (b *Bus) send(ctx context.Context, l Letter) error {
	msg := &nats.Msg{Subject: l.Subject, Data: l.Data, Header: nats.Header{
		contract.HeaderVersion:   {contract.Version},
		contract.HeaderRequestID: {l.Request},
	}}
	if parent := trace.Header(ctx); parent != "" {
		msg.Header[contract.HeaderTraceParent] = []string{parent}
	}
	_, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(l.ID))
	return err
}

// told ends the span of an event that was published.
func told(span trace.Span, subject, request string, err error) {
	if !span.On() {
		return
	}
	span.Set(trace.Subject, subject)
	span.Set(trace.RequestID, request)
	span.End(cmp.Or(string(contract.CodeOf(err)), trace.OK), err != nil)
}

// Publish sends an event under an id that names what happened. It returns when the stream has it on disk.
func Publish[T any](ctx context.Context, b *Bus, ev contract.Event[T], id string, msg T) error {
	l, err := NewLetter(ctx, ev, id, msg, time.Time{})
	if err != nil {
		return err
	}
	return b.Send(ctx, l)
}

// Delivery is one event as it arrived.
type Delivery[T any] struct {
	Message T
	// ID is the event's id; the same event may be delivered more than once, and is the same when it is replayed.
	ID string
	// Subject it came on.
	Subject string
	// PublishedAt is when the stream took it.
	PublishedAt time.Time
	// Attempt counts deliveries from one.
	Attempt uint64
	// InProgress tells the server that the work goes on; call it more often than [AckWait].
	InProgress func() error
}

// ConsumeOptions bound a consumer.
type ConsumeOptions struct {
	// Workers is how many events are worked on at once, per replica; 8 if zero, 512 at most.
	Workers int
	// MaxDeliver is after how many deliveries an event is dead; 20 if zero, 1000 at most.
	MaxDeliver int
}

// dead is an error that no retry can mend.
type dead struct{ error }

// Dead marks err as beyond retry: the event goes to the dead-letter stream at once.
func Dead(err error) error { return dead{err} }

// consumer is a running [Consume]: stop ends intake, ended is closed when nothing comes any more, cancel ends the
// context of events in hand.
type consumer struct {
	stop   func()
	ended  <-chan struct{}
	cancel func()
}

// Consume gives every event of ev to h, through a durable consumer that all replicas of this service share. An event
// is acknowledged when h returns nil; otherwise it comes again after a growing delay, and after MaxDeliver deliveries,
// or at once for [Dead] errors and messages that do not decode, it goes to the dead-letter stream with the reason.
func Consume[T any](ctx context.Context, b *Bus, ev contract.Event[T], o ConsumeOptions, h func(context.Context, Delivery[T]) error) error {
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.MaxDeliver == 0 {
		o.MaxDeliver = 20
	}
	if o.Workers > mostWorkers || o.MaxDeliver > mostDeliveries {
		return fmt.Errorf("consumer of %s: %d workers and %d deliveries are more than %d and %d", ev.Subject, o.Workers, o.MaxDeliver, mostWorkers, mostDeliveries)
	}
	name := permit.Durable(b.name, ev.Subject)
	b.metrics.willConsume(ev.Subject)
	// Work in hand is finished at stop, so its context is not the starter's.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	slots, stopping := make(chan struct{}, o.Workers), make(chan struct{})
	take := func(msg jetstream.Msg) {
		select {
		case <-stopping:
			_ = msg.Nak() // fetched but not begun: another replica gets it now, not after AckWait
			return
		default:
		}
		select {
		case <-stopping:
			_ = msg.Nak()
			return
		case slots <- struct{}{}:
		}
		b.work.Add(1)
		go func() {
			defer func() { <-slots; b.work.Done() }()
			outcome := deliver(work, b, ev, o, msg, h)
			b.metrics.consumed.WithLabelValues(ev.Subject, outcome).Inc()
		}()
	}
	begin := func(ctx context.Context) (jetstream.ConsumeContext, error) {
		c, err := b.consumer(ctx, string(ev.Stream), name, ev.Subject)
		if err != nil {
			return nil, err
		}
		running, err := c.Consume(take, jetstream.PullMaxMessages(2*o.Workers), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(2*time.Second),
			jetstream.ConsumeErrHandler(func(running jetstream.ConsumeContext, err error) {
				b.log.Warn("consumer trouble", slog.String("consumer", name), slog.Any("error", err))
				// The library asks a consumer that is no more for ever.
				go func() {
					if b.lost(string(ev.Stream), name) {
						running.Stop()
					}
				}()
			}))
		if err != nil {
			return nil, fmt.Errorf("consumer %s: %w", name, err)
		}
		return running, nil
	}
	running, err := begin(ctx)
	if err != nil {
		cancel()
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stopping:
				running.Drain()
				<-running.Closed()
				return
			case <-running.Closed():
			}
			// The server has lost the consumer, or the whole stream: what was in it is gone, what comes must not be.
			b.log.Error("consumer is gone and made again", slog.String("consumer", name))
			if running = b.again(stopping, begin); running == nil {
				return
			}
		}
	}()
	b.mu.Lock()
	b.consumers = append(b.consumers, &consumer{stop: func() { close(stopping) }, ended: ended, cancel: cancel})
	b.mu.Unlock()
	return nil
}

// Backlog tells how much of ev this service, all its replicas together, has not been given yet, and how much it was
// given and has not answered for. It asks the server each time. A consumer or stream that is gone is an error: its
// backlog is not known, and not empty either.
func Backlog[T any](ctx context.Context, b *Bus, ev contract.Event[T]) (pending, unacknowledged uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	c, err := b.js.Consumer(ctx, string(ev.Stream), permit.Durable(b.name, ev.Subject)) // asks for its state, too
	if err != nil {
		return 0, 0, fmt.Errorf("backlog of %s: %w", ev.Subject, err)
	}
	info := c.CachedInfo()
	return info.NumPending, uint64(max(0, info.NumAckPending)), nil
}

// lost tells whether the server knows for sure that there is no such consumer.
func (b *Bus) lost(stream, name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
	defer cancel()
	_, err := b.js.Consumer(ctx, stream, name)
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// again makes sure of the streams and begins to consume, until it succeeds or stopping is closed (nil). It waits before
// each attempt: a server that is still deleting a stream must not be asked for a new one of the same name.
func (b *Bus) again(stopping <-chan struct{}, begin func(context.Context) (jetstream.ConsumeContext, error)) jetstream.ConsumeContext {
	for {
		select {
		case <-stopping:
			return nil
		case <-b.closed:
			return nil
		case <-time.After(time.Second):
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := b.ensureStreams(ctx)
		var running jetstream.ConsumeContext
		if err == nil {
			running, err = begin(ctx)
		}
		cancel()
		if err == nil {
			return running
		}
		b.log.Warn("consumer trouble", slog.Any("error", err))
	}
}

func deliver[T any](ctx context.Context, b *Bus, ev contract.Event[T], o ConsumeOptions, msg jetstream.Msg, h func(context.Context, Delivery[T]) error) (outcome string) {
	meta, err := msg.Metadata()
	if err != nil {
		b.log.Error("event without metadata", slog.String("subject", ev.Subject), slog.Any("error", err))
		return consumedDropped
	}
	m, err := decode[T](msg.Headers(), msg.Data())
	if err != nil {
		return b.bury(ctx, msg, meta, err)
	}
	id := eventID(msg, meta)
	request := msg.Headers().Get(contract.HeaderRequestID)
	ctx, span := b.trace.Continue(ctx, trace.Consumer, "consume", ev.Subject, msg.Headers().Get(contract.HeaderTraceParent))
	span.Set(trace.RequestID, request)
	span.Set(trace.Subject, ev.Subject)
	defer func() { span.End(outcome, outcome != "ok") }()
	err = func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				b.log.Error("handler panicked", slog.String("subject", ev.Subject), slog.String("stack", string(debug.Stack())))
				err = errors.New("panic")
			}
		}()
		return h(WithRequestID(ctx, request), Delivery[T]{
			Message: m, ID: id, Subject: ev.Subject, PublishedAt: meta.Timestamp, Attempt: meta.NumDelivered, InProgress: msg.InProgress,
		})
	}()
	var d dead
	switch {
	case err == nil:
		if err := msg.Ack(); err != nil {
			b.log.Warn("event not acknowledged", slog.String("subject", ev.Subject), slog.Any("error", err))
			return consumedUnsaid
		}
		return consumedOK
	case errors.As(err, &d), meta.NumDelivered >= uint64(o.MaxDeliver): //nolint:gosec // a small positive number
		return b.bury(ctx, msg, meta, err)
	default:
		delay := retryDelay(meta.NumDelivered)
		b.log.Warn("event failed", slog.String("subject", ev.Subject), slog.String("id", id), slog.Uint64("attempt", meta.NumDelivered), slog.Any("error", err))
		if err := msg.NakWithDelay(delay); err != nil {
			return consumedUnsaid
		}
		return consumedRetried
	}
}

// retryDelay doubles from a quarter of a second to thirty seconds.
func retryDelay(attempt uint64) time.Duration {
	return min(30*time.Second, 250*time.Millisecond<<min(attempt-1, 10))
}

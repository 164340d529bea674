// Package bus answers: how does a message travel between the services?
//
// One question decides: is someone waiting for the answer? Yes: [Request] and [Handle], over core NATS, idempotent by
// call id. No, and it must survive a crash: [Publish] and [Consume], over JetStream. [KV] holds what expires by
// itself. The package owns every NATS import of the services.
package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/trace"
)

// Options say where the bus is and who we are.
type Options struct {
	URL string
	// CredsFile, or User and Password: how this service proves who it is. All empty on a bus without users.
	CredsFile string
	User      string
	Password  secret.String
	TLS       TLS
	// Name is the service: connection name, queue group and prefix of durable consumers.
	Name contract.Service
	// Replicas of streams and buckets: 3 on a cluster, 1 (the default) on a single server.
	Replicas int
	// Slots bounds how many calls of one subject run at once; 64 if zero.
	Slots   int
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Trace is where calls and events are followed; nil where nothing is traced.
	Trace *trace.Tracer
}

// Bus is one connection to NATS with everything that is handled on it. Safe for concurrent use.
type Bus struct {
	name     contract.Service
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	metrics  *metrics
	trace    *trace.Tracer
	slots    int
	replicas int
	// makes is true for the keeper, and on a bus without users, where everybody may make streams, buckets and consumers.
	// Everybody else finds what [Prepare] made.
	makes  bool
	closed chan struct{}
	writes writes

	mu        sync.Mutex
	subs      []*nats.Subscription
	consumers []*consumer
	work      sync.WaitGroup
}

// Time bounds of the bus.
const (
	// CallTimeout bounds a request with its retry, so that a person hears of a missing service within 3 seconds.
	CallTimeout = 2 * time.Second
	// attemptTimeout is when a silent attempt is repeated under the same request id.
	attemptTimeout = 900 * time.Millisecond
)

// Connect dials until ctx ends and waits for everything that this service uses. An unreachable server is an error that names the URL; so
// are streams, buckets and consumers that are missing and that this user may not make.
func Connect(ctx context.Context, o Options) (*Bus, error) {
	b, err := Visit(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, m := range contract.Messages() {
		if m.Kind == "call" && slices.Contains(m.From, o.Name) {
			b.metrics.willCall("client", m.Subject)
		}
	}
	c := newCopies(o.Metrics)
	for {
		if err = asked(ctx, b.found); err == nil {
			go b.watchCopies(c, copiesEvery)
			return b, nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			b.nc.Close()
			return nil, fmt.Errorf("JetStream at %s: %w", shown(o.URL), err)
		}
	}
}

// Visit connects as [Connect] does and leaves the streams as they are: for an operator's command, which does not know
// how often they are to be replicated.
func Visit(ctx context.Context, o Options) (*Bus, error) {
	b := &Bus{
		name: o.Name, log: o.Log, slots: o.Slots, replicas: max(1, o.Replicas),
		metrics: newMetrics(o.Metrics), trace: o.Trace, closed: make(chan struct{}),
	}
	if b.slots == 0 {
		b.slots = 64
	}
	opts := append(o.identity(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200*time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		// While the server is away a request must fail at once, not wait in a buffer.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2),
		nats.Timeout(2*time.Second),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				o.Log.Warn("bus connection lost", slog.Any("error", err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { o.Log.Info("bus connection is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			o.Log.Warn("bus error", slog.String("subject", subject), slog.Any("error", err))
		}),
	)
	var err error
	for {
		if b.nc, err = nats.Connect(o.URL, opts...); err == nil {
			break
		}
		if !pause(ctx, 200*time.Millisecond) {
			return nil, notReached(o.URL, err)
		}
	}
	b.connected(o.Metrics)
	b.makes = !b.nc.AuthRequired()
	if b.js, err = jetstream.New(b.nc); err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return b, nil
}

// identity is who connects: name, proof and the prefix of its own replies.
func (o Options) identity() []nats.Option {
	me := permit.User(o.Name)
	if slices.Contains(permit.Users(), permit.User(o.User)) {
		me = permit.User(o.User)
	}
	opts := append(o.TLS.options(), nats.Name(string(o.Name)), nats.CustomInboxPrefix(permit.Inbox(me)))
	if o.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password.Reveal()))
	}
	return opts
}

// notReached is why a server was not reached. What cannot be parsed is not repeated: it may hold a password anywhere.
func notReached(urls string, err error) error {
	var garbled *url.Error
	if errors.As(err, &garbled) {
		err = errors.New("this is not the URL of a NATS server")
	}
	return fmt.Errorf("NATS at %s: %w", shown(urls), err)
}

// shown is a list of URLs as an operator may see it: without passwords, and without a user that is alone, which is a token.
func shown(urls string) string {
	list := strings.Split(urls, ",")
	for i, raw := range list {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil {
			list[i] = "(not a URL)"
			continue
		}
		if _, named := u.User.Password(); u.User != nil && !named {
			u.User = url.User("xxxxx")
		}
		list[i] = u.Redacted()
	}
	return strings.Join(list, ",")
}

// pause waits for d of real time; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// adminTimeout bounds one request about streams, buckets and consumers.
const adminTimeout = 5 * time.Second

// asked makes a request about streams, buckets or consumers, again while nobody answers it: of several services that
// start at once and ask for the same stream, the server may leave one without an answer.
func asked(ctx context.Context, request func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, adminTimeout)
		err := request(attempt)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
	}
}

// Ready tells whether the bus can be used now: connected, JetStream answers, and each stream and bucket took what this
// service wrote to it last. A write that was not taken is tried again here, so that it is told as soon as it is over.
func (b *Bus) Ready(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("NATS is %s", b.nc.Status())
	}
	bound, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := b.js.AccountInfo(bound); err != nil {
		return fmt.Errorf("JetStream does not answer: %w", err)
	}
	return b.writes.check(ctx)
}

// windDown is how long events in hand may take at stop before their context ends.
const windDown = 2 * time.Second

// Drain takes no new calls and events and finishes those in hand, bounded by ctx. The connection stays, for what they
// still have to send. An event that takes more than two seconds is asked to end and is delivered again; calls end with
// their caller's patience. nats.go's own Drain closes before handlers in goroutines have answered, and loses their
// replies.
func (b *Bus) Drain(ctx context.Context) error {
	b.mu.Lock()
	subs, consumers := b.subs, b.consumers
	b.subs, b.consumers = nil, nil
	b.mu.Unlock()
	for _, c := range consumers {
		c.stop()
		defer c.cancel()
	}
	var gone []<-chan struct{}
	for _, s := range subs {
		ended := make(chan struct{})
		s.SetClosedHandler(func(string) { close(ended) })
		if err := s.Drain(); err != nil {
			continue // the connection is gone, and the subscription with it
		}
		gone = append(gone, ended)
	}
	for _, c := range consumers {
		gone = append(gone, c.ended)
	}
	done := make(chan struct{})
	go func() {
		for _, ended := range gone {
			<-ended
		}
		b.work.Wait()
		close(done)
	}()
	grace := time.NewTimer(windDown)
	defer grace.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-grace.C:
			for _, c := range consumers {
				c.cancel()
			}
		case <-ctx.Done():
			return errors.New("work was still in hand when the time to stop was over")
		}
	}
}

// Close drains if that was not done, flushes and ends the connection.
func (b *Bus) Close(ctx context.Context) error {
	err := b.Drain(ctx)
	if b.nc.IsConnected() {
		if e := b.nc.FlushTimeout(2 * time.Second); e != nil {
			err = errors.Join(err, fmt.Errorf("flush: %w", e))
		}
	}
	b.nc.Close()
	<-b.closed
	return err
}

// NewID returns 128 random bits in base32: fit for request ids, events, documents and KV keys. It is no secret.
func NewID() string { return rand.Text() }

type requestIDKey struct{}

// WithRequestID puts a request id on ctx: calls and events made under it carry it.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the request id on ctx; "" if there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type callIDKey struct{}

// WithCallID puts a call id on ctx, as [Handle] does for its handlers: for a test that repeats a call on another replica.
func WithCallID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callIDKey{}, id)
}

// CallID returns the id of the call that a handler is answering: the same one when the caller tries again.
func CallID(ctx context.Context) string {
	id, _ := ctx.Value(callIDKey{}).(string)
	return id
}

type askingKey struct{}

// Asking has [Request] ask under this call id: for who asks again, later, what was not answered, and wants to hear what
// became of it the first time.
func Asking(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, askingKey{}, id)
}

func asking(ctx context.Context) string {
	id, _ := ctx.Value(askingKey{}).(string)
	return id
}

// decode reads a message of ours: right version, one JSON value of the right shape.
func decode[T any](h nats.Header, data []byte) (T, error) {
	var t T
	if v := h.Get(contract.HeaderVersion); v != contract.Version {
		return t, fmt.Errorf("wire version %q, want %q", v, contract.Version)
	}
	if err := json.Unmarshal(data, &t); err != nil {
		// The library's error may quote the input; the shape is all that a log may know.
		return t, errors.New("not a message of this subject")
	}
	return t, nil
}

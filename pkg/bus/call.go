package bus

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// Request sends a call and waits for its reply, at most [CallTimeout] and no longer than ctx. It has a call id of its
// own, or that of [Asking]; the request id of ctx goes along for the logs. Under that id an attempt without an answer is
// repeated once, and so is one that was answered with unavailable: a store that went away in the middle of a write may
// have carried it out, and the second attempt finds what the first has done.
//
// The error is a [*contract.Error]: the service's own refusal, or unavailable when nobody answered.
func Request[Req, Rep any](ctx context.Context, b *Bus, call contract.Call[Req, Rep], req Req) (rep Rep, err error) {
	start := time.Now()
	ctx, span := trace.Start(ctx, trace.Client, "call", call.Subject)
	defer func() { ended(span, call.Subject, err) }()
	data, err := json.Marshal(req)
	if err != nil {
		return rep, fmt.Errorf("%s: %w", call.Subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	msg := &nats.Msg{Subject: call.Subject, Data: data, Header: nats.Header{
		contract.HeaderVersion:   {contract.Version},
		contract.HeaderRequestID: {RequestID(ctx)},
		contract.HeaderCallID:    {cmp.Or(asking(ctx), NewID())},
		contract.HeaderDeadline:  {strconv.FormatInt(deadline.UnixMilli(), 10)},
	}}
	if parent := trace.Header(ctx); parent != "" {
		msg.Header[contract.HeaderTraceParent] = []string{parent}
	}
	reply, err := b.attempt(ctx, msg, attemptTimeout)
	if unanswered(reply, err) && ctx.Err() == nil {
		reply, err = b.attempt(ctx, msg, CallTimeout)
	}
	if err == nil {
		rep, err = answer[Rep](reply)
	} else {
		b.log.Warn("call failed", slog.String("subject", call.Subject), slog.String("request_id", RequestID(ctx)), trace.Attr(ctx), slog.Any("error", err))
		err = contract.NotAnswering()
	}
	b.metrics.call("client", call.Subject, err, time.Since(start))
	return rep, err
}

// unanswered tells whether an attempt left open what became of the call.
func unanswered(reply *nats.Msg, err error) bool {
	if err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	return contract.Code(reply.Header.Get(contract.HeaderErrorCode)) == contract.Unavailable
}

func (b *Bus) attempt(ctx context.Context, msg *nats.Msg, bound time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return b.nc.RequestMsgWithContext(ctx, msg)
}

func answer[Rep any](reply *nats.Msg) (Rep, error) {
	var rep Rep
	if code := reply.Header.Get(contract.HeaderErrorCode); code != "" {
		var e contract.Error
		if json.Unmarshal(reply.Data, &e) != nil || e.Code == "" {
			e = contract.Error{Code: contract.Code(code), Detail: reply.Header.Get(contract.HeaderError)}
		}
		return rep, &e
	}
	return decode[Rep](reply.Header, reply.Data)
}

// Handle answers a call with h, in up to the bus's slots goroutines, shared with the other replicas of this service.
// When it returns, the first request can be answered.
//
// h gets a context that ends after [CallTimeout]; a call whose caller has given up does not reach it. Its [*contract.Error] reaches the caller; any other error is
// logged here and reaches the caller as internal. An answer is kept for a few seconds, so that a repeated call id
// gets the same answer without running h again; h itself must be idempotent by [CallID] across replicas.
func Handle[Req, Rep any](b *Bus, call contract.Call[Req, Rep], h func(context.Context, Req) (Rep, error)) error {
	if call.Server != b.name {
		return fmt.Errorf("%s belongs to %s", call.Subject, call.Server)
	}
	b.metrics.willCall("server", call.Subject)
	slots := make(chan struct{}, b.slots)
	answers := newAnswers(512, 5*time.Second)
	sub, err := b.nc.QueueSubscribe(call.Subject, string(b.name), func(msg *nats.Msg) {
		if !called(msg, call.Subject) {
			b.log.Error("not a call", slog.String("subject", call.Subject), slog.String("was", msg.Subject), slog.String("reply", msg.Reply))
			return
		}
		slots <- struct{}{}
		b.work.Add(1)
		go func() {
			defer func() { <-slots; b.work.Done() }()
			if givenUp(msg.Header, time.Now()) {
				b.metrics.call("server", call.Subject, contract.NotAnswering(), 0)
				return
			}
			out := answers.once(attemptOf(msg), func() *nats.Msg {
				return b.run(call.Subject, msg.Header, func(ctx context.Context) (any, error) {
					req, err := decode[Req](msg.Header, msg.Data)
					if err != nil {
						return nil, contract.Refuse(contract.InvalidRequest, "%v", err)
					}
					return h(ctx, req)
				})
			})
			if err := msg.RespondMsg(&nats.Msg{Header: out.Header, Data: out.Data}); err != nil {
				b.log.Warn("reply not sent", slog.String("subject", call.Subject), slog.Any("error", err))
			}
		}()
	})
	if err != nil {
		return fmt.Errorf("handle %s: %w", call.Subject, err)
	}
	// A backlog longer than the callers' patience is not worth keeping.
	if err := sub.SetPendingLimits(8192, 64<<20); err != nil {
		return fmt.Errorf("handle %s: %w", call.Subject, err)
	}
	if err := b.nc.FlushTimeout(2 * time.Second); err != nil {
		return fmt.Errorf("handle %s: %w", call.Subject, err)
	}
	// The server says so in an error of the connection, before it answers the flush.
	if err := b.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), strconv.Quote(call.Subject)) {
		return fmt.Errorf("handle %s: %w", call.Subject, err)
	}
	b.mu.Lock()
	b.subs = append(b.subs, sub)
	b.mu.Unlock()
	return nil
}

// called tells a call from what somebody has had others deliver. The server checks what a user publishes, not where that
// asks for the answer to go: it would bring a stored event here, under the event's own subject, for whoever may fetch
// events; and a call that names another subject than an inbox would have us publish there what its sender may not.
func called(msg *nats.Msg, subject string) bool {
	return msg.Subject == subject && strings.HasPrefix(msg.Reply, permit.Inboxes)
}

// run calls a handler and makes a message of what it returns, a panic included.
func (b *Bus) run(subject string, header nats.Header, h func(context.Context) (any, error)) *nats.Msg {
	start := time.Now()
	id := header.Get(contract.HeaderRequestID)
	ctx := WithRequestID(context.Background(), id)
	ctx = WithCallID(ctx, header.Get(contract.HeaderCallID))
	ctx, span := b.trace.Continue(ctx, trace.Server, "answer", subject, header.Get(contract.HeaderTraceParent))
	span.Set(trace.RequestID, id)
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	value, err := func() (v any, err error) {
		defer func() {
			if p := recover(); p != nil {
				b.log.Error("handler panicked", slog.String("subject", subject), slog.String("stack", string(debug.Stack())))
				err = errors.New("panic")
			}
		}()
		return h(ctx)
	}()
	out := &nats.Msg{Header: nats.Header{contract.HeaderVersion: {contract.Version}}}
	if err == nil {
		if out.Data, err = json.Marshal(value); err != nil {
			err = fmt.Errorf("reply of %s: %w", subject, err)
		}
	}
	b.metrics.call("server", subject, err, time.Since(start))
	ended(span, subject, err)
	if err != nil {
		e := contract.AsError(err)
		if e.Code == contract.InternalError {
			b.log.Error("call failed", slog.String("subject", subject), slog.String("request_id", id), trace.Attr(ctx), slog.Any("error", err))
		}
		out.Header.Set(contract.HeaderErrorCode, string(e.Code))
		out.Header.Set(contract.HeaderError, e.Detail)
		out.Data, _ = json.Marshal(e) // an Error always encodes
	}
	return out
}

// ended ends the span of one side of a call.
func ended(span trace.Span, subject string, err error) {
	if !span.On() {
		return
	}
	code := contract.CodeOf(err)
	span.Set(trace.Subject, subject)
	span.End(cmp.Or(string(code), trace.OK), code == contract.InternalError || code == contract.Unavailable)
}

// skew is how far the clocks of two hosts may be apart.
const skew = 500 * time.Millisecond

// givenUp tells whether the caller of a message no longer waits. A service that was stopped for a while finds such
// messages when it goes on; working on them would spend codes that nobody hears about.
func givenUp(header nats.Header, now time.Time) bool {
	ms, err := strconv.ParseInt(header.Get(contract.HeaderDeadline), 10, 64)
	return err == nil && now.After(time.UnixMilli(ms).Add(skew))
}

// attemptOf names a call by its id and by what it asks: whoever may call here and overheard an id gets no answer that was
// another's. It is "" for a call without an id.
func attemptOf(msg *nats.Msg) string {
	id := msg.Header.Get(contract.HeaderCallID)
	if id == "" {
		return ""
	}
	asked := sha256.Sum256(msg.Data)
	return id + string(asked[:])
}

// answers remembers the last answers of one subject by call, each for a moment, and makes a second attempt of the same
// call wait for the first.
type answers struct {
	mu    sync.Mutex
	byID  map[string]*held
	order []string
	next  int
	keep  time.Duration
}

type held struct {
	done chan struct{}
	msg  *nats.Msg
}

// final is false for unavailable and internal, which are no answers: the repeat runs.
func (h *held) final() bool {
	code := contract.Code(h.msg.Header.Get(contract.HeaderErrorCode))
	return code != contract.Unavailable && code != contract.InternalError
}

func newAnswers(size int, keep time.Duration) *answers {
	return &answers{byID: make(map[string]*held, size), order: make([]string, size), keep: keep}
}

func (a *answers) once(id string, run func() *nats.Msg) *nats.Msg {
	if id == "" {
		return run()
	}
	for {
		a.mu.Lock()
		h, known := a.byID[id]
		if !known {
			h = &held{done: make(chan struct{})}
			delete(a.byID, a.order[a.next])
			a.order[a.next], a.byID[id] = id, h
			a.next = (a.next + 1) % len(a.order)
		}
		a.mu.Unlock()
		if known {
			<-h.done
			if h.final() {
				return h.msg
			}
			continue
		}
		if h.msg = run(); h.final() {
			time.AfterFunc(a.keep, func() { a.forget(id, h) }) // there may be sealed secrets in it
		} else {
			a.forget(id, h)
		}
		close(h.done)
		return h.msg
	}
}

func (a *answers) forget(id string, h *held) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID[id] == h {
		delete(a.byID, id)
	}
}

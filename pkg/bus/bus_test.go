package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
)

// server is a real NATS server that a test can stop and start again, on the same disk and port.
type server struct {
	tb   testing.TB
	dir  string
	addr string
	nats *embedded.NATS
}

func serve(tb testing.TB) *server {
	tb.Helper()
	s := &server{tb: tb, dir: tb.TempDir(), addr: "127.0.0.1:0"}
	s.start(s.addr)
	u, err := url.Parse(s.nats.URL())
	if err != nil {
		tb.Fatal(err)
	}
	s.addr = u.Host
	tb.Cleanup(s.stop)
	return s
}

func (s *server) start(addr string) {
	s.tb.Helper()
	var err error
	if s.nats, err = embedded.StartNATS(embedded.NATSOptions{Dir: s.dir, Addr: addr}); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *server) stop() {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.nats.Close(ctx); err != nil {
		s.tb.Error(err)
	}
}

func (s *server) connect(name contract.Service, change ...func(*Options)) *Bus {
	s.tb.Helper()
	o := Options{URL: s.nats.URL(), Name: name, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, f := range change {
		f(&o)
	}
	b, err := Connect(s.tb.Context(), o)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = b.Close(ctx) // the test may have taken its server away
	})
	return b
}

// eventually polls until ok is true.
func eventually(tb testing.TB, within time.Duration, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			tb.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}

type (
	question struct{ Text string }
	reply    struct{ Text string }
)

var ask = contract.Call[question, reply]{Subject: "sallyport.call.test.ask", Server: contract.Policy, Doc: "For tests."}

func TestRequestReply(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	err := Handle(policy, ask, func(ctx context.Context, q question) (reply, error) {
		return reply{q.Text + " " + RequestID(ctx) + " " + fmt.Sprint(CallID(ctx) != "")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Request(WithRequestID(t.Context(), "rq1"), gateway, ask, question{"hello"})
	if err != nil || got.Text != "hello rq1 true" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := Handle(gateway, ask, func(context.Context, question) (reply, error) { return reply{}, nil }); err == nil {
		t.Error("a call was handled by a service that it does not belong to")
	}
}

func TestErrorsSurvive(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	left, offset, until := 3, -95, time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)
	refusals := make(map[string]error)
	for _, code := range contract.Codes() {
		refusals[string(code)] = &contract.Error{
			Code: code, Detail: "a sentence\nof two lines", AttemptsLeft: &left, LockedUntil: &until, RetryAfter: 7, ClockOffset: &offset, Field: "phone",
		}
	}
	refusals["wrapped"] = fmt.Errorf("reading: %w", refusals["locked"])
	refusals["unknown"] = errors.New("dial tcp 10.0.0.7: password hunter2 refused")
	if err := Handle(policy, ask, func(_ context.Context, q question) (reply, error) {
		if q.Text == "panic" {
			panic("hunter2")
		}
		return reply{}, refusals[q.Text]
	}); err != nil {
		t.Fatal(err)
	}
	for name, want := range refusals {
		if name == "wrapped" {
			want = refusals["locked"]
		}
		if name == "unknown" {
			want = &contract.Error{Code: contract.InternalError, Detail: "Something went wrong on our side."}
		}
		_, err := Request(t.Context(), gateway, ask, question{name})
		if diff := cmp.Diff(want, err); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	_, err := Request(t.Context(), gateway, ask, question{"panic"})
	if contract.CodeOf(err) != contract.InternalError || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a panic is answered by %v", err)
	}
	if _, err := Request(t.Context(), gateway, ask, question{""}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestUselessRequestsAreRefused(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	if err := Handle(policy, ask, func(context.Context, question) (reply, error) { return reply{"ran"}, nil }); err != nil {
		t.Fatal(err)
	}
	good := nats.Header{contract.HeaderVersion: {contract.Version}}
	for name, msg := range map[string]*nats.Msg{
		"no version":      {Data: []byte(`{}`)},
		"another version": {Data: []byte(`{}`), Header: nats.Header{contract.HeaderVersion: {"2"}}},
		"no JSON":         {Data: []byte(`hunter2`), Header: good},
		"another shape":   {Data: []byte(`{"Text":{"a":"hunter2"}}`), Header: good},
		"nothing":         {Header: good},
	} {
		msg.Subject = ask.Subject
		m, err := gateway.nc.RequestMsg(msg, time.Second)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = answer[reply](m)
		if contract.CodeOf(err) != contract.InvalidRequest || strings.Contains(fmt.Sprint(err, m.Header), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	begin := time.Now()
	_, err := Request(t.Context(), gateway, ask, question{})
	if contract.CodeOf(err) != contract.Unavailable || time.Since(begin) > 500*time.Millisecond {
		t.Errorf("nobody listens: %v after %v, want unavailable at once", err, time.Since(begin))
	}
	release := make(chan struct{})
	defer close(release)
	if err := Handle(policy, ask, func(context.Context, question) (reply, error) { <-release; return reply{}, nil }); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	_, err = Request(t.Context(), gateway, ask, question{})
	if took := time.Since(begin); contract.CodeOf(err) != contract.Unavailable || took > 3*time.Second || took < attemptTimeout {
		t.Errorf("the handler hangs: %v after %v, want unavailable within 3 s", err, took)
	}
	s.stop()
	begin = time.Now()
	_, err = Request(t.Context(), gateway, ask, question{})
	if took := time.Since(begin); contract.CodeOf(err) != contract.Unavailable || took > 3*time.Second {
		t.Errorf("no server: %v after %v, want unavailable within 3 s", err, took)
	}
	if err := gateway.Ready(t.Context()); err == nil {
		t.Error("ready without a server")
	}
	s.start(s.addr)
	eventually(t, 10*time.Second, "the bus is back by itself", func() bool { return gateway.Ready(t.Context()) == nil })
}

// A slow answer is waited for, by the same call id, and the handler runs once.
func TestRepeatedCallRunsOnce(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	var runs atomic.Int64
	attempts := make(chan struct{}, 10)
	if _, err := gateway.nc.Subscribe(ask.Subject, func(*nats.Msg) { attempts <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := gateway.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := Handle(policy, ask, func(context.Context, question) (reply, error) {
		runs.Add(1)
		<-attempts
		<-attempts // the second attempt is on its way
		return reply{"late"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	got, err := Request(t.Context(), gateway, ask, question{})
	if err != nil || got.Text != "late" || runs.Load() != 1 {
		t.Errorf("%+v, %v, after %d runs", got, err, runs.Load())
	}
}

// A call is repeated where its id and its question are the same: an id alone brings nobody another's answer.
func TestAnIDAloneBringsNoAnswer(t *testing.T) {
	named := func(id, asked string) string {
		return attemptOf(&nats.Msg{Header: nats.Header{contract.HeaderCallID: {id}}, Data: []byte(asked)})
	}
	if again := named("1", "a"); again != named("1", "a") || again == "" || named("1", "a") == named("1", "b") || named("1", "a") == named("2", "a") || named("", "a") != "" {
		t.Error("a call is not named by its id and its question")
	}
}

// What was no answer (unavailable, internal) is not kept: the repeat runs.
func TestRepeatAfterFault(t *testing.T) {
	a := newAnswers(2, time.Minute)
	refusal := func(code contract.Code) func() *nats.Msg {
		return func() *nats.Msg {
			return &nats.Msg{Header: nats.Header{contract.HeaderErrorCode: {string(code)}}}
		}
	}
	fine := func() *nats.Msg { return &nats.Msg{Data: []byte("fine")} }
	for code, runs := range map[contract.Code]bool{contract.Unavailable: true, contract.InternalError: true, contract.Forbidden: false, contract.InvalidCode: false} {
		a.once(string(code), refusal(code))
		if got := string(a.once(string(code), fine).Data) == "fine"; got != runs {
			t.Errorf("after %s the repeat ran: %v, want %v", code, got, runs)
		}
	}
	for _, id := range []string{"1", "2", "3"} { // more than it keeps
		a.once(id, fine)
	}
	if len(a.byID) != 2 {
		t.Errorf("keeps %d answers, want 2", len(a.byID))
	}
}

// An answer is kept for a moment, and then nobody has it any more: it may hold a sealed secret.
func TestAnswersAreForgotten(t *testing.T) {
	a := newAnswers(8, time.Millisecond)
	a.once("1", func() *nats.Msg { return &nats.Msg{} })
	eventually(t, 5*time.Second, "nothing is kept", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.byID) == 0
	})
	if again := a.once("1", func() *nats.Msg { return &nats.Msg{Data: []byte("again")} }); string(again.Data) != "again" {
		t.Errorf("%q", again.Data)
	}
}

// TestUnavailableIsAskedAgain: a service whose store cut it off is asked once more, under the same call id.
func TestUnavailableIsAskedAgain(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	var calls []string
	if err := Handle(policy, ask, func(ctx context.Context, q question) (reply, error) {
		calls = append(calls, CallID(ctx))
		if q.Text == "never" || len(calls) == 1 {
			return reply{}, contract.NotAnswering()
		}
		return reply{"done"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if r, err := Request(t.Context(), gateway, ask, question{}); err != nil || r.Text != "done" || len(calls) != 2 || calls[0] != calls[1] {
		t.Errorf("%+v, %v, after calls %v; want one repetition with its answer", r, err, calls)
	}
	calls = nil
	if _, err := Request(Asking(t.Context(), "mine"), gateway, ask, question{"never"}); contract.CodeOf(err) != contract.Unavailable || !slices.Equal(calls, []string{"mine", "mine"}) {
		t.Errorf("%v after calls %v; want unavailable after two calls of mine", err, calls)
	}
}

func TestSlotsBoundTheWork(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy, func(o *Options) { o.Slots = 4 }), s.connect(contract.AuthGateway)
	var running, most, done atomic.Int64
	release := make(chan struct{})
	if err := Handle(policy, ask, func(context.Context, question) (reply, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		return reply{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := Request(t.Context(), gateway, ask, question{}); err == nil {
				done.Add(1)
			}
		})
	}
	eventually(t, 5*time.Second, "all slots are taken", func() bool { return running.Load() == 4 })
	close(release)
	wg.Wait()
	if most.Load() != 4 || done.Load() != 50 {
		t.Errorf("%d at once, %d answered; want 4 and 50", most.Load(), done.Load())
	}
}

func TestCloseLosesNoReply(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy, func(o *Options) { o.Slots = 200 }), s.connect(contract.AuthGateway)
	release := make(chan struct{})
	var running atomic.Int64
	if err := Handle(policy, ask, func(context.Context, question) (reply, error) {
		running.Add(1)
		<-release
		return reply{"done"}, nil
	}); err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if got, err := Request(t.Context(), gateway, ask, question{}); err == nil && got.Text == "done" {
				answered.Add(1)
			} else {
				t.Error(err)
			}
		})
	}
	eventually(t, 5*time.Second, "all are in progress", func() bool { return running.Load() == 100 })
	closed := make(chan error, 1)
	go func() { closed <- policy.Close(context.Background()) }()
	eventually(t, 5*time.Second, "no new call is taken", func() bool {
		_, err := gateway.nc.Request(ask.Subject, nil, 100*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	})
	close(release)
	wg.Wait()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if answered.Load() != 100 {
		t.Errorf("%d of 100 answered", answered.Load())
	}
	if err := policy.Close(t.Context()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestCloseIsBounded(t *testing.T) {
	s := serve(t)
	policy, gateway := s.connect(contract.Policy), s.connect(contract.AuthGateway)
	release, begun := make(chan struct{}), make(chan struct{}, 20)
	defer close(release)
	hang := func() { begun <- struct{}{}; <-release }
	if err := Handle(policy, ask, func(context.Context, question) (reply, error) { hang(); return reply{}, nil }); err != nil {
		t.Fatal(err)
	}
	if err := Consume(t.Context(), policy, happened, ConsumeOptions{Workers: 1}, func(context.Context, Delivery[note]) error { hang(); return nil }); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = Request(context.Background(), gateway, ask, question{}) }()
	for i := range 5 { // one in hand, others waiting for its slot
		if err := Publish(t.Context(), gateway, happened, fmt.Sprint(i), note{}); err != nil {
			t.Fatal(err)
		}
	}
	<-begun
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := policy.Close(ctx); err == nil {
		t.Error("handlers that hang were not reported")
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestConnectNamesTheAddressOnly(t *testing.T) {
	for in, want := range map[string]string{
		"nats://eve:hunter2@127.0.0.1:1":                            "nats://eve:xxxxx@127.0.0.1:1",
		"nats://a:hunter2@127.0.0.1:1,nats://b:hunter2@127.0.0.1:2": "nats://a:xxxxx@127.0.0.1:1,nats://b:xxxxx@127.0.0.1:2",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := Connect(ctx, Options{URL: in, Name: contract.Policy, Log: slog.New(slog.DiscardHandler)})
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}

func TestWhoHasGivenUpIsNotWorkedFor(t *testing.T) {
	now := time.Now()
	header := func(deadline string) nats.Header { return nats.Header{contract.HeaderDeadline: {deadline}} }
	ms := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	for name, c := range map[string]struct {
		header nats.Header
		want   bool
	}{
		"in time":               {header(ms(now.Add(time.Second))), false},
		"clocks a little apart": {header(ms(now.Add(-skew / 2))), false},
		"long ago":              {header(ms(now.Add(-2 * skew))), true},
		"none":                  {nats.Header{}, false},
		"garbage":               {header("soon"), false},
	} {
		if got := givenUp(c.header, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/contract"
)

// Poison goes to the dead-letter stream with its reason, is gone from its own, and holds nobody up: a hundred good jobs
// stand behind two hundred bad ones.
func TestPoisonIsDeadAndSlowsNobody(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.SMSDispatcher)
	raw := func(id, version, data string) {
		t.Helper()
		msg := &nats.Msg{Subject: job.Subject, Data: []byte(data), Header: nats.Header{contract.HeaderVersion: {version}, contract.HeaderRequestID: {"rq9"}}}
		if _, err := b.js.PublishMsg(t.Context(), msg, jetstream.WithMsgID(id)); err != nil {
			t.Fatal(err)
		}
	}
	bare := &nats.Msg{Subject: job.Subject, Data: []byte(`{}`)} // no headers at all
	if _, err := b.js.PublishMsg(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		raw(fmt.Sprint("garbage", i), contract.Version, "hunter2")
		raw(fmt.Sprint("shape", i), contract.Version, `{"Text":["hunter2"]}`)
		raw(fmt.Sprint("version", i), "7", `{"Text":"fine"}`)
		raw(fmt.Sprint("large", i), contract.Version, `{"Text":{"x":"`+strings.Repeat("x", 60<<10)+`"}}`)
	}
	for _, text := range []string{"dead", "panics", "never"} {
		if err := Publish(t.Context(), b, job, text, note{text}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if err := Publish(t.Context(), b, job, fmt.Sprint("good", i), note{"good"}); err != nil {
			t.Fatal(err)
		}
	}
	var good, never atomic.Int64
	begin := time.Now()
	var took atomic.Int64
	if err := Consume(t.Context(), b, job, ConsumeOptions{Workers: 2, MaxDeliver: 3}, func(_ context.Context, d Delivery[note]) error {
		switch d.Message.Text {
		case "good":
			if good.Add(1) == 100 {
				took.Store(int64(time.Since(begin)))
			}
			return nil
		case "dead":
			return Dead(errors.New("unknown challenge\nwith a second line"))
		case "panics":
			panic("hunter2")
		default:
			never.Add(1)
			return errors.New("never works")
		}
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "all jobs are gone", func() bool { return messages(t, b, contract.StreamJobs) == 0 })
	if got := time.Duration(took.Load()); good.Load() != 100 || got > 8*time.Second {
		t.Errorf("%d good jobs within %v", good.Load(), got)
	}
	if never.Load() != 3 {
		t.Errorf("tried %d times, want 3", never.Load())
	}
	letters, err := b.DeadLetters(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(map[string]int)
	for _, l := range letters {
		if l.Service != contract.SMSDispatcher || l.Subject != job.Subject || l.At.IsZero() || len(l.Data) == 0 {
			t.Errorf("%+v", l)
		}
		if strings.Contains(l.Reason, "hunter2") {
			t.Errorf("the reason quotes the message: %s", l.Reason)
		}
		reasons[l.Reason+" after "+l.Deliveries]++
	}
	for reason, want := range map[string]int{
		"not a message of this subject after 1":        150,
		`wire version "7", want "1" after 1`:           50,
		`wire version "", want "1" after 1`:            1,
		"unknown challenge with a second line after 1": 1,
		"panic after 3":       1,
		"never works after 3": 1,
	} {
		if reasons[reason] != want {
			t.Errorf("%q: %d, want %d (all: %v)", reason, reasons[reason], want, reasons)
		}
	}
	if some, err := b.DeadLetters(t.Context(), 2); err != nil || len(some) != 2 || some[0].Sequence >= some[1].Sequence {
		t.Errorf("%+v, %v", some, err)
	}
}

// Poison that cannot be written to the dead letters stays where it is, and comes again: nothing is thrown away unseen.
func TestPoisonWaitsForItsLetter(t *testing.T) {
	s := serve(t)
	var log lines
	b := s.connect(contract.SMSDispatcher, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	st, err := b.js.Stream(t.Context(), string(contract.StreamDead))
	if err != nil {
		t.Fatal(err)
	}
	full := st.CachedInfo().Config
	full.MaxMsgSize = 1 // no letter fits
	if _, err := b.js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	poison := &nats.Msg{Subject: contract.ChallengeRequested.Subject, Data: []byte("poison"), Header: nats.Header{contract.HeaderVersion: {contract.Version}}}
	if _, err := b.js.PublishMsg(t.Context(), poison); err != nil {
		t.Fatal(err)
	}
	got := consume(t, b, nil)
	if err := Publish(t.Context(), b, contract.ChallengeRequested, "good", contract.ChallengeRequest{Challenge: "good"}); err != nil {
		t.Fatal(err)
	}
	<-got
	eventually(t, 10*time.Second, "the letter is refused", func() bool { return log.have("dead letter not written") })
	eventually(t, 10*time.Second, "what is good is gone", func() bool { return messages(t, b, contract.StreamJobs) <= 1 })
	if jobs, letters := messages(t, b, contract.StreamJobs), messages(t, b, contract.StreamDead); jobs != 1 || letters != 0 {
		t.Errorf("%d jobs and %d dead letters, want the poison and none", jobs, letters)
	}
	if _, err := b.js.UpdateStream(t.Context(), st.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	if l := lying(t, b, 1)[0]; string(l.Data) != "poison" || l.Deliveries == "1" {
		t.Errorf("%q after %s deliveries", l.Data, l.Deliveries)
	}
	eventually(t, 10*time.Second, "the poison is gone", func() bool { return messages(t, b, contract.StreamJobs) == 0 })
}

// lines is a log that a test looks at while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) have(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// What is too large for a stream is refused to its publisher. Where somebody has configured a stream to take it, it dies
// like all poison: its beginning is kept, and it says that it is no more than that.
func TestPoisonOfAMegabyte(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.SMSDispatcher)
	huge := func(room int) *nats.Msg {
		return &nats.Msg{
			Subject: contract.ChallengeRequested.Subject, Data: []byte(strings.Repeat("x", 1<<20-room)),
			Header: nats.Header{contract.HeaderVersion: {contract.Version}, contract.HeaderRequestID: {"rq9"}},
		}
	}
	if _, err := b.js.PublishMsg(t.Context(), huge(200)); err == nil || messages(t, b, contract.StreamJobs) != 0 {
		t.Errorf("a megabyte was taken: %v", err)
	}
	st, err := b.js.Stream(t.Context(), string(contract.StreamJobs))
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxMsgSize = -1
	if _, err := b.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	wide := huge(40_000)
	wide.Header.Set(contract.HeaderRequestID, strings.Repeat("r", 30_000))
	for _, m := range []*nats.Msg{huge(200), wide} {
		if _, err := b.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	got := consume(t, b, nil)
	if err := Publish(t.Context(), b, contract.ChallengeRequested, "good", contract.ChallengeRequest{Challenge: "good"}); err != nil {
		t.Fatal(err)
	}
	if d := <-got; d.Message.Challenge != "good" {
		t.Errorf("got %+v", d)
	}
	letters := lying(t, b, 2)
	for _, l := range letters {
		if l.Size < 1<<20-40_000 || len(l.Data) > keptOfData || len(l.Request) > keptOfHeader || l.Reason != "not a message of this subject" {
			t.Errorf("%d of %d bytes, request %.10s…, %s", len(l.Data), l.Size, l.Request, l.Reason)
		}
		err := b.Replay(t.Context(), l.Sequence)
		if contract.CodeOf(err) != contract.InvalidRequest || !strings.Contains(err.Error(), "only the first 4096 were kept") {
			t.Errorf("replay: %v", err)
		}
	}
	if n := messages(t, b, contract.StreamDead); n != 2 {
		t.Errorf("%d dead letters after a refusal, want 2", n)
	}
	// The largest event that a stream takes is kept whole.
	largest := huge(0)
	largest.Data = largest.Data[:maxEvent-500]
	if _, err := b.js.PublishMsg(t.Context(), largest); err != nil {
		t.Fatal(err)
	}
	if l := lying(t, b, 3)[2]; len(l.Data) != len(largest.Data) || l.Replayable() != nil {
		t.Errorf("%d of %d bytes kept", len(l.Data), len(largest.Data))
	}
}

// consume makes b a consumer of challenge jobs that hands over what fails does not refuse.
func consume(t *testing.T, b *Bus, fails func(contract.ChallengeRequest) error) <-chan Delivery[contract.ChallengeRequest] {
	t.Helper()
	got := make(chan Delivery[contract.ChallengeRequest], 10)
	if err := Consume(t.Context(), b, contract.ChallengeRequested, ConsumeOptions{}, func(_ context.Context, d Delivery[contract.ChallengeRequest]) error {
		if fails != nil {
			if err := fails(d.Message); err != nil {
				return err
			}
		}
		got <- d
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// lying waits for n dead letters.
func lying(t *testing.T, b *Bus, n int) []DeadLetter {
	t.Helper()
	var out []DeadLetter
	eventually(t, 10*time.Second, fmt.Sprint(n, " dead letters"), func() (ok bool) {
		var err error
		if out, err = b.DeadLetters(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		return len(out) == n
	})
	return out
}

// What is mended is replayed, under the event's own id, once; what is not dies again.
func TestReplay(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.SMSDispatcher)
	operator, err := Visit(t.Context(), Options{URL: s.nats.URL(), Name: "sallyport", Log: b.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = operator.Close(context.Background()) })
	var mended atomic.Bool
	got := consume(t, b, func(r contract.ChallengeRequest) error {
		if !mended.Load() || r.Challenge == "poison" {
			return Dead(errors.New("not yet"))
		}
		return nil
	})
	for n, id := range []string{"fine", "poison"} {
		if err := Publish(WithRequestID(t.Context(), "rq1"), b, contract.ChallengeRequested, "requested-"+id, contract.ChallengeRequest{Challenge: id}); err != nil {
			t.Fatal(err)
		}
		lying(t, b, n+1)
	}
	letters := lying(t, b, 2)
	one, err := operator.DeadLetter(t.Context(), letters[0].Sequence)
	if err != nil || one.ID != "requested-fine" || one.Request != "rq1" || one.Reason != "not yet" || one.Subject != contract.ChallengeRequested.Subject {
		t.Errorf("%+v, %v", one, err)
	}
	mended.Store(true)
	for _, l := range letters {
		if err := operator.Replay(t.Context(), l.Sequence); err != nil {
			t.Fatal(err)
		}
	}
	if d := <-got; d.ID != "requested-fine" || d.Message.Challenge != "fine" {
		t.Errorf("replayed as %+v", d)
	}
	eventually(t, 5*time.Second, "the poison is dead again", func() bool {
		all, err := operator.DeadLetters(t.Context(), 10)
		return err == nil && len(all) == 1 && all[0].Sequence > letters[1].Sequence && all[0].ID == "requested-poison" && all[0].Request == "rq1"
	})
	for _, l := range letters {
		if err := operator.Replay(t.Context(), l.Sequence); contract.CodeOf(err) != contract.NotFound {
			t.Errorf("replayed twice: %v", err)
		}
	}
	if len(got) != 0 {
		t.Error("it came twice")
	}
}

// A replay that was cut short between its two steps is done again and publishes nothing new.
func TestReplayCutShort(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.SMSDispatcher)
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	replica := s.connect(contract.SMSDispatcher)
	consume(t, replica, func(contract.ChallengeRequest) error { return Dead(errors.New("no")) })
	if err := Publish(ctx, b, contract.ChallengeRequested, "x", contract.ChallengeRequest{}); err != nil {
		t.Fatal(err)
	}
	l := lying(t, b, 1)[0]
	if err := replica.Close(ctx); err != nil { // nobody consumes
		t.Fatal(err)
	}
	begun := &nats.Msg{Subject: l.Subject, Data: l.Data, Header: nats.Header{contract.HeaderVersion: {contract.Version}}}
	if _, err := b.js.PublishMsg(ctx, begun, jetstream.WithMsgID(fmt.Sprintf("replay-%d-%d", l.Sequence, l.At.UnixNano()))); err != nil {
		t.Fatal(err)
	}
	if err := b.Replay(ctx, l.Sequence); err != nil {
		t.Fatal(err)
	}
	if jobs, letters := messages(t, b, contract.StreamJobs), messages(t, b, contract.StreamDead); jobs != 1 || letters != 0 {
		t.Errorf("%d jobs and %d dead letters, want 1 and 0", jobs, letters)
	}
}

// Nothing is published on a subject that is no event, whatever a letter says; and what is dropped is gone.
func TestReplayRefusesAndDrop(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.SMSDispatcher)
	for _, subject := range []string{job.Subject, contract.SMSOpen.Subject, "$JS.API.STREAM.DELETE.SALLYPORT_JOBS", ""} {
		forged := &nats.Msg{Subject: contract.DeadSubject(b.name), Data: []byte("{}"), Header: nats.Header{headerDeadSubject: {subject}}}
		if _, err := b.js.PublishMsg(t.Context(), forged); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range lying(t, b, 4) {
		if err := b.Replay(t.Context(), l.Sequence); contract.CodeOf(err) != contract.InvalidRequest {
			t.Errorf("%q: %v", l.Subject, err)
		}
	}
	if err := b.Drop(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, f := range []func(context.Context, uint64) error{b.Drop, b.Replay} {
		for _, seq := range []uint64{0, 2, 99} {
			if err := f(t.Context(), seq); contract.CodeOf(err) != contract.NotFound {
				t.Errorf("%d: %v", seq, err)
			}
		}
	}
	var left []uint64
	for l, err := range b.AllDeadLetters(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, l.Sequence)
		// Letters that come meanwhile, as of a replay that dies again, are not gone through.
		again := &nats.Msg{Subject: contract.DeadSubject(b.name)}
		if _, err := b.js.PublishMsg(t.Context(), again); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(left) != "[1 3 4]" {
		t.Errorf("%v are left", left)
	}
}

// A stream that was lost and made again counts from one: its dead letters are others all the same.
func TestDeadLettersOfAStreamMadeAgain(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.SMSDispatcher)
	consume(t, b, func(contract.ChallengeRequest) error { return Dead(errors.New("no")) })
	for n := range 2 {
		eventually(t, 10*time.Second, "published", func() bool {
			return Publish(t.Context(), b, contract.ChallengeRequested, fmt.Sprint(n), contract.ChallengeRequest{}) == nil
		})
		lying(t, b, n+1)
		if err := b.js.DeleteStream(t.Context(), string(contract.StreamJobs)); err != nil {
			t.Fatal(err)
		}
	}
}

package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

type note struct{ Text string }

var (
	happened = contract.Event[note]{Subject: "sallyport.fact.test", Stream: contract.StreamFacts}
	job      = contract.Event[note]{Subject: "sallyport.job.test", Stream: contract.StreamJobs}
)

// messages counts what a stream holds.
func messages(tb testing.TB, b *Bus, stream contract.Stream) uint64 {
	tb.Helper()
	s, err := b.js.Stream(tb.Context(), string(stream))
	if err != nil {
		tb.Fatal(err)
	}
	info, err := s.Info(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return info.State.Msgs
}

func TestPublishOnceByID(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.Policy)
	for range 3 {
		if err := Publish(t.Context(), b, happened, "h1", note{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Publish(t.Context(), b, happened, "h2", note{"a"}); err != nil {
		t.Fatal(err)
	}
	if got := messages(t, b, contract.StreamFacts); got != 2 {
		t.Errorf("%d messages, want 2", got)
	}
}

func TestPublishWithoutServer(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.Policy)
	s.stop()
	begin := time.Now()
	err := Publish(t.Context(), b, happened, "h1", note{})
	if contract.CodeOf(err) != contract.Unavailable || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %v, want unavailable within 3 s", err, time.Since(begin))
	}
	s.start(s.addr)
	eventually(t, 10*time.Second, "published after the server is back", func() bool {
		return Publish(t.Context(), b, happened, "h1", note{}) == nil
	})
}

func TestConsumeAcknowledges(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.Policy)
	var got []Delivery[note]
	var mu sync.Mutex
	var request string
	if err := Consume(t.Context(), b, job, ConsumeOptions{}, func(ctx context.Context, d Delivery[note]) error {
		mu.Lock()
		defer mu.Unlock()
		got, request = append(got, d), RequestID(ctx)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := Publish(WithRequestID(t.Context(), "rq1"), b, job, "j1", note{"a"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the job is done and gone", func() bool { return messages(t, b, contract.StreamJobs) == 0 })
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 1 || got[0].ID != "j1" || got[0].Message.Text != "a" || got[0].Attempt != 1 || got[0].Subject != job.Subject || got[0].PublishedAt.IsZero() || request != "rq1" {
		t.Errorf("%+v under request %q", got, request)
	}
}

func TestConsumeTriesAgainLater(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.Policy)
	times := make(chan time.Time, 10)
	if err := Consume(t.Context(), b, job, ConsumeOptions{}, func(_ context.Context, d Delivery[note]) error {
		times <- time.Now()
		if d.Attempt < 3 {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := Publish(t.Context(), b, job, "j1", note{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "done", func() bool { return messages(t, b, contract.StreamJobs) == 0 })
	first, second, third := <-times, <-times, <-times
	if a, b := second.Sub(first), third.Sub(second); a < 240*time.Millisecond || b < 490*time.Millisecond || a > 3*time.Second || b > 3*time.Second {
		t.Errorf("waited %v and %v, want 250 ms and twice that", a, b)
	}
	if len(times) != 0 || messages(t, b, contract.StreamDead) != 0 {
		t.Error("it came again, or it is dead")
	}
}

func TestRetryDelay(t *testing.T) {
	for attempt, want := range map[uint64]time.Duration{1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 7: 16 * time.Second, 8: 30 * time.Second, 1000: 30 * time.Second} {
		if got := retryDelay(attempt); got != want {
			t.Errorf("after attempt %d: %v, want %v", attempt, got, want)
		}
	}
}

// Two replicas share the work; one that stops finishes what it has in hand and gives back what it has not begun.
func TestStopGivesBackWhatIsNotBegun(t *testing.T) {
	s := serve(t)
	one, two := s.connect(contract.Policy), s.connect(contract.Policy)
	release, begun := make(chan struct{}), make(chan struct{}, 100)
	var finished, cancelled atomic.Int64
	if err := Consume(t.Context(), one, job, ConsumeOptions{Workers: 1}, func(ctx context.Context, _ Delivery[note]) error {
		begun <- struct{}{}
		<-release
		if ctx.Err() != nil {
			cancelled.Add(1)
		}
		finished.Add(1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := Publish(t.Context(), two, job, fmt.Sprint(i), note{}); err != nil {
			t.Fatal(err)
		}
	}
	<-begun // one in hand, one waiting for the slot, none for others
	closed := make(chan error, 1)
	go func() { closed <- one.Close(context.Background()) }()
	var other atomic.Int64
	begin := time.Now()
	if err := Consume(t.Context(), two, job, ConsumeOptions{Workers: 1}, func(context.Context, Delivery[note]) error {
		other.Add(1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the other replica has the other nine", func() bool { return other.Load() == 9 })
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("they came after %v", took) // AckWait is 30 s
	}
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	eventually(t, 5*time.Second, "all jobs are gone", func() bool { return messages(t, two, contract.StreamJobs) == 0 })
	if finished.Load() != 1 || other.Load() != 9 {
		t.Errorf("%d finished, %d given back; cancelled: %d", finished.Load(), other.Load(), cancelled.Load())
	}
}

// Work in hand at stop is finished undisturbed if it is short, and asked to end if it is long.
func TestStopAsksLongWorkToEnd(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.Policy)
	ended := make(chan time.Duration, 1)
	begun := make(chan struct{})
	if err := Consume(t.Context(), b, job, ConsumeOptions{}, func(ctx context.Context, _ Delivery[note]) error {
		close(begun)
		at := time.Now()
		<-ctx.Done()
		ended <- time.Since(at)
		return ctx.Err()
	}); err != nil {
		t.Fatal(err)
	}
	if err := Publish(t.Context(), b, job, "1", note{}); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-ended; got < windDown/2 || got > 3*windDown {
		t.Errorf("asked to end after %v", got)
	}
}

// A consumer or a whole stream that the server has lost is made again, and what comes later is consumed.
func TestConsumeOutlivesItsConsumerAndStream(t *testing.T) {
	s := serve(t)
	b := s.connect(contract.Policy)
	var got sync.Map
	if err := Consume(t.Context(), b, job, ConsumeOptions{}, func(_ context.Context, d Delivery[note]) error {
		got.Store(d.ID, true)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	arrives := func(id string) {
		t.Helper()
		sent := time.Now()
		eventually(t, 10*time.Second, id+" arrives", func() bool {
			if _, ok := got.Load(id); ok {
				return true
			}
			_ = Publish(t.Context(), b, job, id, note{})
			return false
		})
		t.Logf("%s after %v", id, time.Since(sent))
	}
	arrives("a")
	if err := b.js.DeleteConsumer(t.Context(), string(job.Stream), "policy-svc-job-test"); err != nil {
		t.Fatal(err)
	}
	arrives("b")
	if err := b.js.DeleteStream(t.Context(), string(job.Stream)); err != nil {
		t.Fatal(err)
	}
	arrives("c")
	s.stop()
	s.start(s.addr)
	arrives("d")
}

// What waits and what is in hand is counted for the service, not for the replica.
func TestBacklog(t *testing.T) {
	s := serve(t)
	b, other := s.connect(contract.Policy), s.connect(contract.Policy)
	if _, _, err := Backlog(t.Context(), b, job); err == nil {
		t.Error("the backlog of a consumer that nobody made is known")
	}
	release, begun := make(chan struct{}), make(chan struct{}, 10)
	if err := Consume(t.Context(), b, job, ConsumeOptions{Workers: 1}, func(context.Context, Delivery[note]) error {
		begun <- struct{}{}
		<-release
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := Publish(t.Context(), b, job, fmt.Sprint(i), note{}); err != nil {
			t.Fatal(err)
		}
	}
	<-begun
	eventually(t, 5*time.Second, "two are given out, eight wait", func() bool {
		pending, unacknowledged, err := Backlog(t.Context(), other, job)
		return err == nil && pending == 8 && unacknowledged == 2
	})
	close(release)
	eventually(t, 5*time.Second, "nothing waits", func() bool {
		pending, unacknowledged, err := Backlog(t.Context(), other, job)
		return err == nil && pending == 0 && unacknowledged == 0
	})
}

func TestLetterKeepsItsForm(t *testing.T) {
	at := time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)
	l, err := NewLetter(WithRequestID(t.Context(), "rq1"), happened, "h1", note{"a"}, at)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"h1","subject":"sallyport.fact.test","data":"eyJUZXh0IjoiYSJ9","request":"rq1","at":"2026-03-12T09:14:00Z"}`; string(raw) != want {
		t.Errorf("got %s", raw)
	}
}

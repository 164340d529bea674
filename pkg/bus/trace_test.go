package bus

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
	"sallyport/pkg/trace/tracetest"
)

// tracer makes a tracer that is flushed by the returned function.
func tracer(tb testing.TB, name contract.Service, s trace.OTel) (*trace.Tracer, func()) {
	tb.Helper()
	t, err := trace.Open(string(name), "one", s, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return t, func() { _ = t.Close(context.Background()) }
}

// A letter goes on in the trace of what caused it, from wherever it was kept, and however often it is delivered.
func TestALetterKeepsItsTrace(t *testing.T) {
	collector := tracetest.New(t)
	s := serve(t)
	begins, flushOne := tracer(t, contract.SMSDispatcher, trace.OTel{Endpoint: collector.URL})
	hears, flushTwo := tracer(t, contract.Policy, trace.OTel{Endpoint: collector.URL})
	from := s.connect(contract.SMSDispatcher, func(o *Options) { o.Trace = begins })
	to := s.connect(contract.Policy, func(o *Options) { o.Trace = hears })
	ev := contract.ChallengeEnded
	done := make(chan string, 4)
	err := Consume(t.Context(), to, ev, ConsumeOptions{}, func(ctx context.Context, d Delivery[contract.ChallengeFact]) error {
		done <- trace.Header(ctx)
		if d.Attempt == 1 {
			return contract.NotAnswering()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, request := begins.Request(WithRequestID(t.Context(), "R1"), "")
	l, err := NewLetter(ctx, ev, "told", contract.ChallengeFact{Challenge: "c"}, time.Time{})
	request.End(trace.OK, false)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(l) // as an outbox keeps it
	if err != nil {
		t.Fatal(err)
	}
	var kept Letter
	if err := json.Unmarshal(raw, &kept); err != nil {
		t.Fatal(err)
	}
	if err := from.Send(context.Background(), kept); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if place := <-done; len(place) != len(l.Trace) || place[:35] != l.Trace[:35] {
			t.Errorf("a handler is at %q, the letter was written at %q", place, l.Trace)
		}
	}
	if err := to.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	flushOne()
	flushTwo()
	var names []string
	for _, span := range collector.Of(l.Trace[3:35]) {
		names = append(names, span.Kind+" "+span.Name+" "+span.Attributes["sallyport.outcome"]+" "+span.Attributes["sallyport.request_id"])
	}
	consumed := "consumer consume " + ev.Subject
	if want := []string{"server request ok ", "producer publish " + ev.Subject + " ok R1", consumed + " retried R1", consumed + " ok R1"}; !slices.Equal(names, want) {
		t.Errorf("the trace is %q, want %q", names, want)
	}
}

// BenchmarkCall is what a call costs: with nothing traced, with a sampler that leaves it out, and with all of it traced.
func BenchmarkCall(b *testing.B) {
	collector := tracetest.New(b)
	for _, row := range []struct {
		name string
		s    trace.OTel
	}{{"off", trace.OTel{}}, {"left out", trace.OTel{Endpoint: collector.URL, Sampler: "always_off"}}, {"traced", trace.OTel{Endpoint: collector.URL}}} {
		b.Run(row.name, func(b *testing.B) {
			s := serve(b)
			asks, flushOne := tracer(b, contract.AuthGateway, row.s)
			answers, flushTwo := tracer(b, contract.Policy, row.s)
			b.Cleanup(func() { flushOne(); flushTwo() })
			gateway := s.connect(contract.AuthGateway, func(o *Options) { o.Trace = asks })
			policy := s.connect(contract.Policy, func(o *Options) { o.Trace = answers })
			if err := Handle(policy, contract.PolicyDecide, func(context.Context, contract.DecideRequest) (contract.Decision, error) {
				return contract.Decision{}, nil
			}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx, request := asks.Request(b.Context(), "")
				if _, err := Request(ctx, gateway, contract.PolicyDecide, contract.DecideRequest{}); err != nil {
					b.Fatal(err)
				}
				request.End(trace.OK, false)
			}
		})
	}
}

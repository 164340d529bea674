package trace

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"sallyport/pkg/build"
)

// farewell is how long a stop waits for the collector to take what is left; one that did not take the spans before is
// given less.
const (
	farewell      = time.Second
	coldFarewell  = 200 * time.Millisecond
	mostOfAnError = 300
)

// Open makes the tracer of a service, or nil where nothing is traced. instance names the process. It connects to nobody: a
// collector that is away costs the spans that it misses, and one line in the log until it is back.
func Open(service, instance string, s OTel, log *slog.Logger) (*Tracer, error) {
	endpoint, err := s.endpoint()
	if err != nil || endpoint == "" {
		return nil, err
	}
	sampler, err := s.sampler()
	if err != nil {
		return nil, err
	}
	authorities, err := s.authorities()
	if err != nil {
		return nil, err
	}
	headers, err := pairs(s.Headers.Reveal())
	if err != nil {
		return nil, err
	}
	options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(endpoint)}
	if len(headers) > 0 {
		options = append(options, otlptracehttp.WithHeaders(headers))
	}
	if authorities != nil {
		options = append(options, otlptracehttp.WithTLSClientConfig(&tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}))
	}
	sink, err := otlptrace.New(context.Background(), otlptracehttp.NewClient(options...))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	out := &exporter{sink: sink, log: log}
	out.life, out.leave = context.WithCancel(context.Background())
	// What the SDK has to say besides (a collector that takes only part of a batch), it says of each batch.
	var once sync.Once
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		once.Do(func() { log.Warn("traces are not complete; this is said once", slog.String("error", short(err))) })
	}))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sampler), sdktrace.WithBatcher(out),
		sdktrace.WithResource(resource.NewSchemaless(s.resource(service, instance, build.Read().Version)...)),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer(scope), export: out}, nil
}

// Flush hands over what has ended by now, for a test that does not wait for the next batch.
func (t *Tracer) Flush(ctx context.Context) { _ = t.provider.ForceFlush(ctx) }

// Close hands over what is left, as far as the collector takes it within a second, and ends. Spans that are lost are no
// error: a stop is not unclean because nobody looks at it.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	patience := farewell
	if t.export.cold() {
		patience = coldFarewell
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer t.export.leave()
	defer context.AfterFunc(ctx, t.export.leave)()
	_ = t.provider.Shutdown(ctx) // what is lost is lost
	return nil
}

// exporter hands spans to the collector, and says once when it does not take them and once when it does again.
type exporter struct {
	sink *otlptrace.Exporter
	log  *slog.Logger
	// life ends when nobody waits for the collector any more.
	life  context.Context //nolint:containedctx // it is that of every export
	leave context.CancelFunc

	mu     sync.Mutex
	failed bool
	since  time.Time // when the export in hand began; zero where there is none
}

// ExportSpans hands over a batch. A collector that does not take it costs the batch.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()
	e.begin(time.Now())
	err := e.sink.ExportSpans(ctx, spans)
	e.mu.Lock()
	was := e.failed
	e.failed, e.since = err != nil, time.Time{}
	e.mu.Unlock()
	switch {
	case err != nil && !was:
		e.log.Warn("traces are not taken; requests go on without them", slog.String("error", short(err)))
	case err == nil && was:
		e.log.Info("traces are taken again")
	}
	return nil
}

func (e *exporter) begin(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since = now
}

// cold tells whether the collector did not take the last spans, or has not taken those in hand for longer than it is worth
// waiting for.
func (e *exporter) cold() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed || !e.since.IsZero() && time.Since(e.since) > farewell
}

// Shutdown ends the connection.
func (e *exporter) Shutdown(ctx context.Context) error {
	if err := e.sink.Shutdown(ctx); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}

// short is the beginning of an error: a collector may answer with a page.
func short(err error) string {
	text := err.Error()
	return text[:min(len(text), mostOfAnError)]
}

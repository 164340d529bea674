package trace_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/secret"
	"sallyport/pkg/trace"
	"sallyport/pkg/trace/tracetest"
)

func open(t *testing.T, s trace.OTel) (*trace.Tracer, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	tracer, err := trace.Open("test-svc", "one", s, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return tracer, &log
}

// path is a request that calls somebody, who writes a letter that is told later.
func path(t *testing.T, tracer *trace.Tracer, parent string) {
	t.Helper()
	ctx, request := tracer.Request(t.Context(), parent)
	request.Name("POST /v1/sign-ins")
	request.Set(trace.RequestID, "R1")
	calling, call := trace.Start(ctx, trace.Client, "call", "policy.decide")
	answering, answer := tracer.Continue(context.Background(), trace.Server, "answer", "policy.decide", trace.Header(calling))
	letter := trace.Header(answering)
	answer.End("unavailable", true)
	call.End("unavailable", true)
	request.End("5xx", true)
	_, told := tracer.Continue(context.Background(), trace.Producer, "publish", "fact", letter)
	told.End(trace.OK, false)
}

func TestAPathIsOneTrace(t *testing.T) {
	collector := tracetest.New(t)
	tracer, log := open(t, trace.OTel{Endpoint: collector.URL, ServiceName: "gate", ResourceAttributes: "deployment.environment.name=a%20test"})
	path(t, tracer, "")
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := collector.Spans()
	want := []struct {
		name, kind string
		parent     int // in this list; -1 for none
		fault      bool
	}{{"POST /v1/sign-ins", "server", -1, true}, {"call policy.decide", "client", 0, true}, {"answer policy.decide", "server", 1, true}, {"publish fact", "producer", 2, false}}
	if len(spans) != len(want) {
		t.Fatalf("%d spans, want %d: %+v\n%s", len(spans), len(want), spans, log)
	}
	for n, w := range want {
		s, parent := spans[n], ""
		if w.parent >= 0 {
			parent = spans[w.parent].ID
		}
		if s.Name != w.name || s.Kind != w.kind || s.Parent != parent || s.Fault != w.fault || s.Trace != spans[0].Trace || s.Said != "" {
			t.Errorf("span %d is %+v, want %+v", n, s, w)
		}
		if s.Service != "gate" || s.Resource["deployment.environment.name"] != "a test" || s.Resource["service.instance.id"] != "one" {
			t.Errorf("span %d says of its process %v", n, s.Resource)
		}
	}
	if spans[0].Attributes["sallyport.request_id"] != "R1" || spans[0].Attributes["sallyport.outcome"] != "5xx" {
		t.Errorf("the request's span has %v", spans[0].Attributes)
	}
}

func TestAParentIsContinuedIfItIsOne(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, row := range []struct {
		header    string
		continued bool
	}{
		{good, true},
		{"", false},
		{"01" + good[2:], false},
		{good + "-x", false},
		{strings.ToUpper(good), false},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz", false},
		{"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
	} {
		collector := tracetest.New(t)
		tracer, _ := open(t, trace.OTel{Endpoint: collector.URL})
		path(t, tracer, row.header)
		_ = tracer.Close(t.Context())
		spans := collector.Spans()
		if len(spans) != 4 || (spans[0].Trace == good[3:35]) != row.continued || (spans[0].Parent == good[36:52]) != row.continued {
			t.Errorf("after %q: %+v", row.header, spans)
		}
	}
}

func TestSamplers(t *testing.T) {
	const unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	for _, row := range []struct {
		sampler, arg, parent string
		spans                int
	}{
		{"", "", "", 4},
		{"", "", unsampled, 0},
		{"always_on", "", unsampled, 4},
		{"parentbased_always_on", "", unsampled, 0},
		{"always_off", "", "", 0},
		{"traceidratio", "0", "", 0},
		{"parentbased_traceidratio", "1", "", 4},
		{"traceidratio", "", "", 4},
	} {
		collector := tracetest.New(t)
		tracer, _ := open(t, trace.OTel{Endpoint: collector.URL, Sampler: row.sampler, SamplerArg: row.arg})
		path(t, tracer, row.parent)
		_ = tracer.Close(t.Context())
		if got := len(collector.Spans()); got != row.spans {
			t.Errorf("%+v: %d spans", row, got)
		}
	}
}

// Nothing is made, kept or sent where nobody asked for traces, and nothing is allocated.
func TestOffCostsNothing(t *testing.T) {
	tracer, _ := open(t, trace.OTel{Sampler: "always_on"})
	if tracer != nil {
		t.Fatal("there is a tracer without a collector")
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		ctx, request := tracer.Request(ctx, "")
		_, call := trace.Start(ctx, trace.Client, "call", "policy.decide")
		_, answer := tracer.Continue(ctx, trace.Server, "answer", "policy.decide", trace.Header(ctx))
		answer.Set(trace.RequestID, "R1")
		answer.End(trace.OK, false)
		call.End(trace.OK, false)
		request.End("2xx", false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if a := trace.Attr(ctx); !a.Equal(slog.Attr{}) {
		t.Errorf("a log says %v", a)
	}
	if err := tracer.Close(ctx); err != nil {
		t.Error(err)
	}
}

// A collector that refuses is told of once, and once more when it takes spans again.
func TestAFaultyCollectorIsToldOfOnce(t *testing.T) {
	var well atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer server.Close()
	tracer, log := open(t, trace.OTel{Endpoint: server.URL})
	for range 3 {
		path(t, tracer, "")
		tracer.Flush(t.Context())
	}
	if n := strings.Count(log.String(), "traces are not taken"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	well.Store(true)
	for range 2 {
		path(t, tracer, "")
		tracer.Flush(t.Context())
	}
	if n := strings.Count(log.String(), "traces are taken again"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	_ = tracer.Close(t.Context())
}

func TestASilentCollectorHoldsUpNobody(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	tracer, _ := open(t, trace.OTel{Endpoint: server.URL})
	begun := time.Now()
	for range 5000 { // more than the queue has room for
		path(t, tracer, "")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("5000 requests took %v", took)
	}
	begun = time.Now()
	if err := tracer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
}

func TestSettingsThatAreWrongAreNamed(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(garbage, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		s    trace.OTel
	}{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", trace.OTel{Endpoint: "127.0.0.1:4318"}},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", trace.OTel{Endpoint: "https://eve:hunter2@collector"}},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", trace.OTel{Endpoint: "https://collector/?token=hunter2"}},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", trace.OTel{Protocol: "grpc"}},
		{"OTEL_EXPORTER_OTLP_HEADERS", trace.OTel{Headers: secret.New("Bearer hunter2")}},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", trace.OTel{Certificate: "/nowhere"}},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", trace.OTel{Certificate: garbage}},
		{"OTEL_TRACES_SAMPLER", trace.OTel{Sampler: "jaeger_remote"}},
		{"OTEL_TRACES_SAMPLER", trace.OTel{Sampler: "parentbased_"}},
		{"OTEL_TRACES_SAMPLER_ARG", trace.OTel{SamplerArg: "1.5"}},
		{"OTEL_TRACES_SAMPLER_ARG", trace.OTel{SamplerArg: "NaN"}},
		{"OTEL_RESOURCE_ATTRIBUTES", trace.OTel{ResourceAttributes: "team"}},
		{"OTEL_RESOURCE_ATTRIBUTES", trace.OTel{ResourceAttributes: "team=%zz"}},
	} {
		problems := row.s.Problems()
		if len(problems) != 1 || !strings.HasPrefix(problems[0], row.name+": ") || strings.Contains(problems[0], "hunter2") {
			t.Errorf("%+v: %q", row.s, problems)
		}
	}
	good := trace.OTel{
		Endpoint: "https://collector.example/otlp", Protocol: "http/protobuf", Headers: secret.New("authorization=Bearer%20x"),
		Sampler: "parentbased_traceidratio", SamplerArg: "0.01", ResourceAttributes: "a=b, c=d%2C",
	}
	if problems := good.Problems(); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

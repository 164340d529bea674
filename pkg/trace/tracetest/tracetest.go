// Package tracetest answers: which spans arrived at the collector?
package tracetest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it arrived.
type Span struct {
	// Service is service.name of who made it.
	Service string
	Name    string
	Kind    string // server, client, producer, consumer or internal
	// Trace, ID and Parent are in hex; Parent is "" for the first of a trace.
	Trace, ID, Parent string
	// Attributes are its own, Resource those of the process.
	Attributes, Resource map[string]string
	// Fault is set where its status is an error; Said is what the status says besides.
	Fault      bool
	Said       string
	Start, End time.Time
}

// Collector takes spans as a real one does: OTLP over HTTP, in protobuf.
type Collector struct {
	// URL is for OTEL_EXPORTER_OTLP_ENDPOINT.
	URL string

	tb    testing.TB
	mu    sync.Mutex
	spans []Span
	raw   []byte
	posts int
}

var kinds = map[v1.Span_SpanKind]string{
	v1.Span_SPAN_KIND_INTERNAL: "internal", v1.Span_SPAN_KIND_SERVER: "server", v1.Span_SPAN_KIND_CLIENT: "client",
	v1.Span_SPAN_KIND_PRODUCER: "producer", v1.Span_SPAN_KIND_CONSUMER: "consumer",
}

// New starts a collector that ends with the test.
func New(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{tb: tb}
	server := httptest.NewServer(http.HandlerFunc(c.take))
	tb.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *Collector) take(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	var batch collector.ExportTraceServiceRequest
	if err != nil || req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(raw, &batch) != nil {
		c.tb.Errorf("the collector does not understand %s %s of %q: %v", req.Method, req.URL.Path, req.Header.Get("Content-Type"), err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts++
	c.raw = append(c.raw, raw...)
	for _, of := range batch.GetResourceSpans() {
		resource := texts(of.GetResource().GetAttributes())
		for _, group := range of.GetScopeSpans() {
			for _, s := range group.GetSpans() {
				c.spans = append(c.spans, Span{
					Service: resource["service.name"], Resource: resource, Name: s.GetName(), Kind: kinds[s.GetKind()],
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Attributes: texts(s.GetAttributes()), Fault: s.GetStatus().GetCode() == v1.Status_STATUS_CODE_ERROR, Said: s.GetStatus().GetMessage(),
					Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())),
				})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{}) // it is empty
	_, _ = w.Write(answer)
}

func texts(list []*common.KeyValue) map[string]string {
	out := make(map[string]string, len(list))
	for _, kv := range list {
		out[kv.GetKey()] = kv.GetValue().GetStringValue()
	}
	return out
}

// Spans are all that have arrived, the earliest first.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.spans)
	slices.SortStableFunc(out, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

// Raw is every byte that has arrived.
func (c *Collector) Raw() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.raw)
}

// Posts is how often somebody sent something.
func (c *Collector) Posts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posts
}

// Of are the spans of one trace, the earliest first.
func (c *Collector) Of(id string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Trace != id })
}

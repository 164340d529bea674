// Package trace answers: what path did one request take through the services?
//
// It is off unless an OpenTelemetry collector is named ([OTel]). A trace begins with a request at the gateway, or
// with a text message that the dispatcher sends on its own account; everything else continues one: calls and events
// carry their place in it in a header, and events that wait in an outbox keep it.
//
// What a span may hold is decided here. Names and attributes come from closed sets (routes, subjects, collections,
// outcomes); the one value that is made at run time is the request id. There is no way to put an error's text, a filter or
// a message into a span, and the SDK's global tracer stays unset, so that no library writes into our traces.
package trace

import (
	"context"
	"log/slog"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Kind is on which side of a message a span stands.
type Kind = oteltrace.SpanKind

// The kinds.
const (
	Internal = oteltrace.SpanKindInternal
	Server   = oteltrace.SpanKindServer
	Client   = oteltrace.SpanKindClient
	Producer = oteltrace.SpanKindProducer
	Consumer = oteltrace.SpanKindConsumer
)

// Key names an attribute of a span. The value of each but [RequestID] comes from a closed set.
type Key string

// The attributes.
const (
	// RequestID is the id of X-Request-Id, of logs and of the audit log.
	RequestID Key = "sallyport.request_id"
	// Outcome is what became of it: "ok", or the code or class of its refusal.
	Outcome Key = "sallyport.outcome"
	// StatusClass is 2xx, 3xx, 4xx or 5xx.
	StatusClass Key = "sallyport.status_class"
	// Route is the pattern of a route, never the path that somebody asked for.
	Route Key = "http.route"
	// Method is that of the route.
	Method Key = "http.request.method"
	// Subject is where a call or an event goes.
	Subject Key = "messaging.destination.name"
	// Operation and Collection say what is asked of a store.
	Operation  Key = "db.operation.name"
	Collection Key = "db.collection.name"
)

// OK is the outcome of what went well.
const OK = "ok"

// scope is the name under which all spans are made.
const scope = "sallyport"

// Tracer makes the spans of one service. A nil Tracer makes none.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   oteltrace.Tracer
	export   *exporter
}

// Span is one stretch of the path; the zero value is one that nobody looks at. Whoever starts one ends it.
type Span struct{ span oteltrace.Span }

// Request begins the span of somebody's request: a new trace, or one more stretch of the one that parent (a W3C
// traceparent) names. Only who trusts the sender passes a parent; one that is not well formed is none.
func (t *Tracer) Request(ctx context.Context, parent string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if from, ok := parse(parent); ok {
		ctx = oteltrace.ContextWithRemoteSpanContext(ctx, from)
	}
	return t.begin(ctx, Server, "request")
}

// Root begins a trace of what nobody asked for just now.
func (t *Tracer) Root(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.begin(oteltrace.ContextWithSpanContext(ctx, oteltrace.SpanContext{}), Internal, name)
}

// Continue begins a stretch of the trace that a message of ours belongs to; where it belongs to none, there is no span.
func (t *Tracer) Continue(ctx context.Context, kind Kind, operation, target, parent string) (context.Context, Span) {
	if t == nil || parent == "" {
		return ctx, Span{}
	}
	from, ok := parse(parent)
	if !ok {
		return ctx, Span{}
	}
	return t.begin(oteltrace.ContextWithRemoteSpanContext(ctx, from), kind, operation+" "+target)
}

func (t *Tracer) begin(ctx context.Context, kind Kind, name string) (context.Context, Span) {
	ctx, span := t.tracer.Start(ctx, name, oteltrace.WithSpanKind(kind))
	if !span.IsRecording() {
		return ctx, Span{}
	}
	return ctx, Span{span}
}

// Start begins a stretch within the one on ctx; where there is none, there is no span, and it costs nothing.
func Start(ctx context.Context, kind Kind, operation, target string) (context.Context, Span) {
	around := oteltrace.SpanFromContext(ctx)
	if !around.SpanContext().IsSampled() {
		return ctx, Span{}
	}
	ctx, span := around.TracerProvider().Tracer(scope).Start(ctx, operation+" "+target, oteltrace.WithSpanKind(kind))
	return ctx, Span{span}
}

// On tells whether somebody looks at the span.
func (s Span) On() bool { return s.span != nil }

// Name gives the span its name where that was not known when it began.
func (s Span) Name(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Set adds an attribute.
func (s Span) Set(key Key, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(string(key), value))
	}
}

// End ends the span with its outcome; fault marks one that an operator has to look at.
func (s Span) End(outcome string, fault bool) {
	if s.span == nil {
		return
	}
	s.Set(Outcome, outcome)
	if fault {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// Header is the place in the trace on ctx as a W3C traceparent, for a message; "" where there is none.
func Header(ctx context.Context) string {
	at := oteltrace.SpanContextFromContext(ctx)
	if !at.IsSampled() {
		return ""
	}
	return "00-" + at.TraceID().String() + "-" + at.SpanID().String() + "-01"
}

// Attr names the trace on ctx in a line of a log; where there is none, the line has no such attribute.
func Attr(ctx context.Context) slog.Attr {
	at := oteltrace.SpanContextFromContext(ctx)
	if !at.IsSampled() {
		return slog.Attr{}
	}
	return slog.String("trace_id", at.TraceID().String())
}

// parse reads a traceparent of version 00. What else a sender may say of its trace (tracestate, baggage) is not read: it
// would be a stranger's text in our spans.
func parse(header string) (oteltrace.SpanContext, bool) {
	const form = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if len(header) != len(form) || header[:3] != "00-" || header[35] != '-' || header[52] != '-' {
		return oteltrace.SpanContext{}, false
	}
	id, errTrace := oteltrace.TraceIDFromHex(header[3:35])
	span, errSpan := oteltrace.SpanIDFromHex(header[36:52])
	flags, errFlags := strconv.ParseUint(header[53:], 16, 8)
	if errTrace != nil || errSpan != nil || errFlags != nil {
		return oteltrace.SpanContext{}, false
	}
	return oteltrace.NewSpanContext(oteltrace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: oteltrace.TraceFlags(flags) & oteltrace.FlagsSampled, Remote: true,
	}), true
}

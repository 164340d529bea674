package trace

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"sallyport/pkg/secret"
)

// OTel are OpenTelemetry's own variables, as far as they are honoured here; the SDK reads those of its queue besides
// (OTEL_BSP_…, OTEL_EXPORTER_OTLP_TIMEOUT and _COMPRESSION).
type OTel struct {
	Endpoint           string        `env:"OTEL_EXPORTER_OTLP_ENDPOINT" help:"where traces go, e.g. http://127.0.0.1:4318 (OTLP over HTTP); nothing is traced without it"`
	Protocol           string        `env:"OTEL_EXPORTER_OTLP_PROTOCOL" envDefault:"http/protobuf" help:"the only one there is"`
	Headers            secret.String `env:"OTEL_EXPORTER_OTLP_HEADERS" help:"headers for the collector, such as a token: name=value,name=value (percent-encoded)"`
	Certificate        string        `env:"OTEL_EXPORTER_OTLP_CERTIFICATE" help:"who may have signed the collector's certificate (PEM); the system's authorities by default"`
	Sampler            string        `env:"OTEL_TRACES_SAMPLER" envDefault:"parentbased_always_on" help:"which requests are traced: always_on, always_off, traceidratio, or one of them after parentbased_"`
	SamplerArg         string        `env:"OTEL_TRACES_SAMPLER_ARG" help:"share of the traceidratio samplers, from 0 to 1; 1 by default"`
	ServiceName        string        `env:"OTEL_SERVICE_NAME" help:"what traces call this service; its own name by default"`
	ResourceAttributes string        `env:"OTEL_RESOURCE_ATTRIBUTES" help:"what else traces say of this process: name=value,name=value (percent-encoded)"`
}

// Problems returns what is wrong with them. Each names its variable.
func (s OTel) Problems() []string {
	var out []string
	say := func(name string, err error) {
		if err != nil {
			out = append(out, name+": "+err.Error())
		}
	}
	_, err := s.endpoint()
	say("OTEL_EXPORTER_OTLP_ENDPOINT", err)
	if s.Protocol != "" && s.Protocol != "http/protobuf" {
		say("OTEL_EXPORTER_OTLP_PROTOCOL", fmt.Errorf("must be http/protobuf"))
	}
	if _, err := pairs(s.Headers.Reveal()); err != nil {
		say("OTEL_EXPORTER_OTLP_HEADERS", errNotPairs) // without its value
	}
	_, err = s.authorities()
	say("OTEL_EXPORTER_OTLP_CERTIFICATE", err)
	_, err = s.sampler()
	say("OTEL_TRACES_SAMPLER", err)
	_, err = s.share()
	say("OTEL_TRACES_SAMPLER_ARG", err)
	_, err = pairs(s.ResourceAttributes)
	say("OTEL_RESOURCE_ATTRIBUTES", err)
	return out
}

// endpoint is where spans are posted to; "" where nothing is traced.
func (s OTel) endpoint() (string, error) {
	if s.Endpoint == "" {
		return "", nil
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("must be a URL such as http://127.0.0.1:4318, without a user (a token goes into OTEL_EXPORTER_OTLP_HEADERS) or a query")
	}
	return u.JoinPath("v1", "traces").String(), nil
}

// authorities are those of the collector; nil for the system's.
func (s OTel) authorities() (*x509.CertPool, error) {
	if s.Certificate == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	raw, err := os.ReadFile(s.Certificate)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no certificate (PEM)", s.Certificate)
	}
	return pool, nil
}

// sampler decides which traces are looked at.
func (s OTel) sampler() (sdktrace.Sampler, error) {
	name, ofParent := strings.CutPrefix(cmp.Or(s.Sampler, "parentbased_always_on"), "parentbased_")
	share, _ := s.share() // it is a problem of its own
	var root sdktrace.Sampler
	switch name {
	case "always_on":
		root = sdktrace.AlwaysSample()
	case "always_off":
		root = sdktrace.NeverSample()
	case "traceidratio":
		root = sdktrace.TraceIDRatioBased(share)
	default:
		return nil, fmt.Errorf("%q is not always_on, always_off, traceidratio, or one of them after parentbased_", s.Sampler)
	}
	if ofParent {
		return sdktrace.ParentBased(root), nil
	}
	return root, nil
}

func (s OTel) share() (float64, error) {
	if s.SamplerArg == "" {
		return 1, nil
	}
	share, err := strconv.ParseFloat(s.SamplerArg, 64)
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("must be a number from 0 to 1")
	}
	return share, nil
}

var errNotPairs = fmt.Errorf("must be of the form name=value,name=value, percent-encoded")

// pairs reads a list of names and values as OpenTelemetry writes it.
func pairs(list string) (map[string]string, error) {
	out := make(map[string]string)
	for part := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || name == "" || err != nil {
			return nil, errNotPairs
		}
		out[name] = value
	}
	return out, nil
}

// resource is what every span says of this process.
func (s OTel) resource(service, instance, version string) []attribute.KeyValue {
	said, _ := pairs(s.ResourceAttributes) // checked when the settings were
	all := map[string]string{"service.name": service, "service.namespace": "sallyport", "service.instance.id": instance, "service.version": version}
	for name, value := range said {
		all[name] = value
	}
	if s.ServiceName != "" {
		all["service.name"] = s.ServiceName
	}
	var out []attribute.KeyValue
	for name, value := range all {
		if value != "" {
			out = append(out, attribute.String(name, value))
		}
	}
	return out
}

package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace/tracetest"
	"sallyport/test/sut"
)

// traced is an environment in which every request is traced, and spans leave soon.
func traced(endpoint string, more map[string]string) map[string]string {
	env := sut.Fast(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"})
	maps.Copy(env, more)
	return env
}

// paths are the spans of the trace that a request began, each by the way to it: "service name < service name < …". It waits
// for those that are wanted, and fails where spans of the request are in several traces, or one has no way to it.
func paths(t *testing.T, c *tracetest.Collector, a sut.Answer, want ...string) map[string]tracetest.Span {
	t.Helper()
	id := a.Header.Get("X-Request-Id")
	var out map[string]tracetest.Span
	look := func() (missing string) {
		out = make(map[string]tracetest.Span)
		all := c.Spans()
		first := slices.IndexFunc(all, func(s tracetest.Span) bool { return s.Attributes["sallyport.request_id"] == id && s.Parent == "" })
		if first < 0 {
			return "the request"
		}
		byID := make(map[string]tracetest.Span)
		for _, s := range all {
			byID[s.ID] = s
		}
		for _, s := range all {
			if s.Trace != all[first].Trace {
				if s.Attributes["sallyport.request_id"] == id {
					t.Errorf("%s of %s is in another trace than its request", s.Name, s.Service)
				}
				continue
			}
			way := s.Service + " " + s.Name
			for s := s; s.Parent != ""; {
				around, ok := byID[s.Parent]
				if !ok {
					return "what is around " + way
				}
				s, way = around, around.Service+" "+around.Name+" > "+way
			}
			out[way] = s
		}
		for _, w := range want {
			if _, ok := out[w]; !ok {
				return w
			}
		}
		return ""
	}
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for missing := look(); missing != ""; missing = look() {
		if time.Now().After(deadline) {
			t.Fatalf("the trace of %s %s lacks %s; it has\n  %s", a.Method, a.Path, missing, strings.Join(slices.Sorted(maps.Keys(out)), "\n  "))
		}
		<-tick.C
	}
	return out
}

// TestOneTraceFromTheDoorToTheStore signs people in on separate processes: each request is one trace through the gateway,
// the bus, the service that answers and its store, and goes on with the events that it causes, as far as AWS.
func TestOneTraceFromTheDoorToTheStore(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: traced(collector.URL, nil)})
	const begin, verify = "auth-gateway POST /v1/sign-ins", "auth-gateway POST /v1/sign-ins/:id/verify"
	calls := func(from, subject, by string) string {
		return fmt.Sprintf("%s > auth-gateway call %s > %s answer %s", from, subject, by, subject)
	}
	tells := func(from, by, subject, to string) string {
		return fmt.Sprintf("%s > %s publish %s > %s consume %s", from, by, subject, to, subject)
	}

	// A text message: the gateway's event goes on to AWS.
	s.EnrolSMS(clerk, clerkPhone)
	seen := len(s.Messages(clerkPhone))
	begun := s.Do("POST", "/v1/sign-ins", "", sut.Credentials(clerk))
	texted := sut.Want[sut.SignIn](t, http.StatusCreated, begun)
	job := tells(begin, "auth-gateway", contract.ChallengeRequested.Subject, "sms-dispatcher")
	spans := paths(t, collector, begun,
		begin+" > auth-gateway argon2id hash",
		begin+" > auth-gateway get users",
		begin+" > auth-gateway create SALLYPORT_SIGN_INS",
		calls(begin, contract.PolicyDecide.Subject, "policy-svc")+" > policy-svc get standings",
		calls(begin, contract.SMSOpen.Subject, "sms-dispatcher")+" > sms-dispatcher insert challenges",
		job+" > sms-dispatcher SNS Publish",
		job+" > sms-dispatcher apply challenges",
	)
	if got := spans[job+" > sms-dispatcher SNS Publish"]; got.Attributes["sallyport.outcome"] != "sent" || got.Fault {
		t.Errorf("the call of SNS is %+v", got)
	}
	answered := s.Do("POST", texted.Path("/verify"), texted.Token, code(s.CodeAfter(clerkPhone, seen)))
	sut.Expect(t, answered, http.StatusOK, "")
	paths(t, collector, answered, calls(verify, contract.SMSVerify.Subject, "sms-dispatcher")+" > sms-dispatcher update challenges")

	// An authenticator: the owner's letter waits in its outbox and goes on in the trace of who caused it.
	first := s.BeginSignIn(agent)
	e := sut.Want[sut.Enrollment](t, http.StatusCreated, s.Do("POST", first.Path("/enrollment"), first.Token, map[string]string{"factor": "totp"}))
	confirmed := s.Do("POST", first.Path("/enrollment/confirm"), first.Token, code(sut.CodeAt(t, e.Key, time.Now())))
	sut.Expect(t, confirmed, http.StatusOK, "")
	confirm := calls("auth-gateway POST /v1/sign-ins/:id/enrollment/confirm", contract.TOTPConfirm.Subject, "totp-svc")
	paths(t, collector, confirmed, tells(confirm, "totp-svc", contract.EnrolmentConfirmed.Subject, "policy-svc"))
	asked := s.BeginSignIn(agent)
	typed := sut.CodeAt(t, e.Key, time.Now().Add(sut.Step)) // its window takes the next step too
	wrong := s.Do("POST", asked.Path("/verify"), asked.Token, code(sut.WrongCode(t, e.Key, time.Now())))
	sut.Expect(t, wrong, http.StatusUnprocessableEntity, "invalid_code")
	answer := calls(verify, contract.TOTPVerify.Subject, "totp-svc")
	if got := paths(t, collector, wrong, answer)[answer]; got.Attributes["sallyport.outcome"] != "invalid_code" || got.Fault {
		t.Errorf("a wrong code is %+v", got)
	}
	answered = s.Do("POST", asked.Path("/verify"), asked.Token, code(typed))
	sut.Expect(t, answered, http.StatusOK, "")
	paths(t, collector, answered, answer+" > totp-svc apply authenticators", verify+" > auth-gateway create SALLYPORT_SESSIONS")

	// What anybody may write is in no span: paths, methods, and the trace that a stranger says it is in.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodTrace, s.Base+"/tea?of="+clerk, nil)
	if err != nil {
		t.Fatal(err)
	}
	const strangers = "4bf92f3577b34da6a3ce929d0e0e4736"
	req.Header.Set("traceparent", "00-"+strangers+"-00f067aa0ba902b7-01")
	req.Header.Set("tracestate", "tea=oolong")
	req.Header.Set("baggage", "tea=oolong")
	odd, err := s.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	s.Do("GET", "/nowhere/"+texted.ID, "", nil)
	if got := paths(t, collector, odd, "auth-gateway _OTHER none"); len(collector.Of(strangers)) > 0 {
		t.Errorf("a stranger's trace goes on: %v", got)
	}
	for _, name := range sut.Services {
		s.Service[name].Terminate() // what is left is handed over
	}
	sane(t, collector, clerk, clerkPhone, agent, e.Key, typed, texted.ID, texted.Token, "clerk", "agent-demo", "oolong", "tea", "127.0.0.1")
}

// sane holds every span against what one may hold, and the bytes as they came against what they must not.
func sane(t *testing.T, c *tracetest.Collector, never ...string) {
	t.Helper()
	allowed := []string{
		"db.collection.name", "db.operation.name", "http.request.method", "http.route", "messaging.destination.name",
		"sallyport.outcome", "sallyport.request_id", "sallyport.status_class",
	}
	of := []string{"service.instance.id", "service.name", "service.namespace", "service.version"}
	spans := c.Spans()
	for _, s := range spans {
		for name := range s.Attributes {
			if !slices.Contains(allowed, name) {
				t.Errorf("%s has an attribute %s", s.Name, name)
			}
		}
		for name := range s.Resource {
			if !slices.Contains(of, name) {
				t.Errorf("%s says of its process %s", s.Name, name)
			}
		}
		if s.Attributes["sallyport.outcome"] == "" || s.Said != "" {
			t.Errorf("%s has outcome %q and says %q", s.Name, s.Attributes["sallyport.outcome"], s.Said)
		}
	}
	raw := string(c.Raw())
	for _, secret := range never {
		if strings.Contains(raw, secret) {
			t.Errorf("%q is in a span", secret)
		}
	}
	t.Logf("%d spans in %d batches, %d bytes", len(spans), c.Posts(), len(raw))
}

// A proxy of ours may say in which trace a request is, and everything goes on in one process.
func TestATrustedProxysTraceGoesOn(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	p := sut.Start(t, sut.Options{Demo: true, Env: traced(collector.URL, map[string]string{"TRUSTED_PROXIES": "127.0.0.1"})})
	p.EnrolTOTP(agent)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.Base+"/sign-in?return=/account", nil)
	if err != nil {
		t.Fatal(err)
	}
	const ours = "4bf92f3577b34da6a3ce929d0e0e4736"
	req.Header.Set("traceparent", "00-"+ours+"-00f067aa0ba902b7-01")
	if a, err := p.Send(req); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%v %v", a, err)
	}
	p.Stop()
	if spans := collector.Of(ours); len(spans) == 0 || spans[0].Parent != "00f067aa0ba902b7" || spans[0].Name != "GET /sign-in" {
		t.Errorf("the proxy's trace has %+v", spans)
	}
	made := make(map[string]bool)
	for _, s := range collector.Spans() {
		made[s.Service] = true
	}
	for _, name := range []string{"auth-gateway", "totp-svc", "policy-svc"} {
		if !made[name] {
			t.Errorf("no span is of %s", name)
		}
	}
	sane(t, collector, agent)
}

// A collector that is away, or says nothing, is nobody's trouble but its own: people sign in, and the end is in time.
func TestWithoutItsCollectorAllGoesOn(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{"away": gone.Addr().String(), "silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			p := sut.Start(t, sut.Options{Demo: true, Env: traced("http://"+at, map[string]string{"LOG_LEVEL": "INFO"})})
			key, _ := p.EnrolTOTP(agent)
			begun := time.Now()
			p.SignInTOTP(agent, key)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("a sign-in took %v", took)
			}
			if name == "away" {
				sut.Eventually(t, 10*time.Second, "the log says so", func() bool { return strings.Contains(p.Output(), "traces are not taken") })
				p.SignInTOTP(agent, key)
			}
			begun = time.Now()
			p.Stop()
			t.Logf("stopped in %v", time.Since(begun))
			for _, service := range sut.Services {
				said := 0
				for line := range strings.Lines(p.Output()) {
					if strings.Contains(line, "traces are not taken") && strings.Contains(line, `"`+service+`"`) {
						said++
					}
				}
				if said > 1 {
					t.Errorf("%s says it %d times", service, said)
				}
			}
		})
	}
}

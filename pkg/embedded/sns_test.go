package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sallyport/pkg/clock"
)

const somebody = "+17015550123"

func startTestSNS(tb testing.TB, c *clock.Virtual) *SNS {
	tb.Helper()
	s, err := StartSNS(SNSOptions{Addr: "127.0.0.1:0", Clock: c})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// sdk returns Amazon's own client, which tries once.
func sdk(s *SNS) *sns.Client {
	return sns.New(sns.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
}

func send(ctx context.Context, s *SNS, to, body string) (*sns.PublishOutput, error) {
	return sdk(s).Publish(ctx, &sns.PublishInput{
		PhoneNumber: &to, Message: &body,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"AWS.SNS.SMS.SMSType":  {DataType: aws.String("String"), StringValue: aws.String("Transactional")},
			"AWS.SNS.SMS.MaxPrice": {DataType: aws.String("Number"), StringValue: aws.String("0.50")},
		},
	})
}

// call makes a plain request and returns the status and the body.
func call(tb testing.TB, method, url, body string, header ...string) (int, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func inbox(tb testing.TB, s *SNS, query string) []message {
	tb.Helper()
	status, body := call(tb, "GET", s.URL()+"/messages"+query, "")
	var out []message
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != 200 || out == nil {
		tb.Fatalf("GET /messages%s: %d %s", query, status, body)
	}
	return out
}

func TestPublishThroughTheSDK(t *testing.T) {
	c := clock.NewVirtual(clock.NewFixed(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	s := startTestSNS(t, c)
	if got := inbox(t, s, ""); len(got) != 0 {
		t.Errorf("a new inbox has %v", got)
	}
	out, err := send(t.Context(), s, somebody, "123456 is your code.\n\n@example.test #123456")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := send(t.Context(), s, "+447700900123", "another"); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"?to=" + somebody, "?to=" + url.QueryEscape(somebody)} {
		got := inbox(t, s, query)
		if len(got) != 1 || got[0].ID != *out.MessageId || got[0].To != somebody || !strings.HasSuffix(got[0].Body, "#123456") ||
			!got[0].At.Equal(c.Now()) || got[0].Attributes["AWS.SNS.SMS.SMSType"] != "Transactional" || got[0].Attributes["AWS.SNS.SMS.MaxPrice"] != "0.50" {
			t.Errorf("inbox of %s: %+v", query, got)
		}
	}
	if got := inbox(t, s, ""); len(got) != 2 || got[0].To != somebody {
		t.Errorf("inbox, oldest first: %+v", got)
	}
	if got := inbox(t, s, "?to=%2B49"); len(got) != 0 {
		t.Errorf("inbox of nobody: %+v", got)
	}
}

func TestFaults(t *testing.T) {
	s := startTestSNS(t, nil)
	tests := []struct {
		mode      string
		code      string // of the API error; "" where there is no answer
		status    int
		delivered bool
	}{
		{mode: "throttle", code: "Throttling", status: 400},
		{mode: "error500", code: "InternalError", status: 500},
		{mode: "opted_out", code: "OptedOut", status: 400},
		{mode: "invalid", code: "InvalidParameter", status: 400},
		{mode: "spend_limit", code: "SMSSpendLimitExceeded", status: 400},
		{mode: "credentials", code: "InvalidClientTokenId", status: 403},
		{mode: "signature", code: "SignatureDoesNotMatch", status: 403},
		{mode: "accepted_500", code: "InternalError", status: 500, delivered: true},
		{mode: "reset", delivered: true},
		{mode: "hang"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			before := len(inbox(t, s, ""))
			if status, body := call(t, "PUT", s.URL()+"/faults", `{"mode":"`+tt.mode+`","times":1}`); status != 200 || !strings.Contains(body, tt.mode) {
				t.Fatalf("PUT /faults: %d %s", status, body)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sent := make(chan error, 1)
			go func() { _, err := send(ctx, s, somebody, "x"); sent <- err }()
			if tt.mode == "hang" {
				eventually(t, "the request has arrived", func() bool { return s.currentFault().Mode == "none" })
				cancel() // the client gives up
			}
			err := <-sent
			var api smithy.APIError
			var response *smithyhttp.ResponseError
			switch {
			case tt.code == "":
				if errors.As(err, &api) || err == nil {
					t.Errorf("got %v, want no answer", err)
				}
				if tt.mode == "reset" && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("got %v, want a connection reset", err)
				}
			case !errors.As(err, &api) || api.ErrorCode() != tt.code || !errors.As(err, &response) || response.HTTPStatusCode() != tt.status:
				t.Errorf("got %v, want %s with status %d", err, tt.code, tt.status)
			}
			if got := len(inbox(t, s, "")) > before; got != tt.delivered {
				t.Errorf("delivered: %v, want %v", got, tt.delivered)
			}
			if _, err := send(t.Context(), s, somebody, "after"); err != nil {
				t.Errorf("the fault was for one message, the next failed: %v", err)
			}
		})
	}

	t.Run("until changed", func(t *testing.T) {
		call(t, "PUT", s.URL()+"/faults", `{"mode":"throttle"}`)
		for range 3 {
			if _, err := send(t.Context(), s, somebody, "x"); err == nil {
				t.Error("a message got through")
			}
		}
		if _, body := call(t, "GET", s.URL()+"/faults", ""); strings.TrimSpace(body) != `{"mode":"throttle","times":0}` {
			t.Errorf("GET /faults: %s", body)
		}
		call(t, "PUT", s.URL()+"/faults", `{"mode":"none"}`)
		if _, err := send(t.Context(), s, somebody, "x"); err != nil {
			t.Error(err)
		}
	})
	for _, bad := range []string{
		`{"mode":"sometimes"}`, `{"mode":"hang","times":-1}`, `{"mood":"hang"}`, `hang`, ``, `{}`, `{"times":3}`, `{"delay":"50ms","times":3}`,
		`{"mode":"none","delay":"soon"}`, `{"delay":"-1s"}`, `{"delay":"11s"}`, `{"delay":50}`,
	} {
		status, body := call(t, "PUT", s.URL()+"/faults", bad)
		if status != 400 || strings.HasPrefix(bad, `{"mode":"s`) && !strings.Contains(body, "spend_limit") {
			t.Errorf("PUT /faults %s: %d %s", bad, status, body)
		}
	}
}

// How long answers take is one thing, what goes wrong another: each stays while the other is changed.
func TestDelay(t *testing.T) {
	s := startTestSNS(t, nil)
	const delay = 80 * time.Millisecond
	for _, step := range []struct{ body, now string }{
		{`{"delay":"80ms"}`, `{"mode":"none","times":0,"delay":"80ms"}`},
		{`{"mode":"throttle","times":1}`, `{"mode":"throttle","times":1,"delay":"80ms"}`},
	} {
		if status, body := call(t, "PUT", s.URL()+"/faults", step.body); status != 200 || strings.TrimSpace(body) != step.now {
			t.Errorf("PUT /faults %s: %d %s", step.body, status, body)
		}
	}
	for _, fails := range []bool{true, false} {
		began := time.Now()
		if _, err := send(t.Context(), s, somebody, "x"); (err != nil) != fails || time.Since(began) < delay {
			t.Errorf("%v after %v, want an error: %v, after %v", err, time.Since(began), fails, delay)
		}
	}
	if _, page := call(t, "GET", s.URL()+"/", ""); !strings.Contains(page, "answers take 80ms") {
		t.Error("the page does not say why answers are slow")
	}
	if _, body := call(t, "PUT", s.URL()+"/faults", `{"delay":"10s"}`); !strings.Contains(body, `"10s"`) {
		t.Error(body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan error, 1)
	before := len(inbox(t, s, ""))
	go func() { _, err := send(ctx, s, somebody, "y"); sent <- err }()
	eventually(t, "it is delivered before it is answered", func() bool { return len(inbox(t, s, "")) > before })
	cancel()
	if err := <-sent; err == nil {
		t.Error("answered before its time")
	}
	go func() { _, err := send(t.Context(), s, somebody, "z"); sent <- err }()
	eventually(t, "the next has arrived", func() bool { return len(inbox(t, s, "")) > before+1 })
	if err := s.Close(t.Context()); err != nil { // would time out if it waited for the delay
		t.Error(err)
	}
	if err := <-sent; err != nil {
		t.Errorf("an endpoint that stops answers what it has taken: %v", err)
	}
}

// TestCloseEndsRequestsThatHang would time out if Close waited for them.
func TestCloseEndsRequestsThatHang(t *testing.T) {
	s := startTestSNS(t, nil)
	call(t, "PUT", s.URL()+"/faults", `{"mode":"hang","times":1}`)
	done := make(chan error, 1)
	go func() { _, err := send(t.Context(), s, somebody, "x"); done <- err }()
	eventually(t, "the request has arrived", func() bool { return s.currentFault().Mode == "none" })
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the request was answered")
	}
}

func TestPublishRefuses(t *testing.T) {
	s := startTestSNS(t, nil)
	var invalid *types.InvalidParameterException
	for _, to := range []string{"7015550123", "+1 701 555 0123", "+0", "tel:+17015550123", "+17015550123456789", "+١٧٠١٥٥٥٠١٢٣"} {
		if _, err := send(t.Context(), s, to, "x"); !errors.As(err, &invalid) {
			t.Errorf("to %q: got %v, want InvalidParameter", to, err)
		}
	}
	if _, err := send(t.Context(), s, somebody, ""); !errors.As(err, &invalid) {
		t.Errorf("empty message: got %v, want InvalidParameter", err)
	}
	var api smithy.APIError
	if _, err := sdk(s).ListTopics(t.Context(), nil); !errors.As(err, &api) || api.ErrorCode() != "InvalidAction" {
		t.Errorf("another action: got %v, want InvalidAction", err)
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	if status, body := call(t, "POST", s.URL(), "Action=Publish&Message="+strings.Repeat("x", maxPublish), form...); status != 400 {
		t.Errorf("oversized message: %d %s", status, body)
	}
	if got := inbox(t, s, ""); len(got) != 0 {
		t.Errorf("delivered all the same: %v", got)
	}
}

func TestInboxKeepsTheNewest(t *testing.T) {
	s := startTestSNS(t, nil)
	for i := range maxMessages + 5 {
		s.deliver(message{ID: string(rune('a' + i%26)), To: somebody, Body: time.Duration(i).String()})
	}
	if got := inbox(t, s, ""); len(got) != maxMessages || got[0].Body != "5ns" {
		t.Errorf("%d messages, the oldest %q", len(got), got[0].Body)
	}
}

func TestInboxPage(t *testing.T) {
	s := startTestSNS(t, clock.NewVirtual(clock.System()))
	if _, err := send(t.Context(), s, somebody, `<script>alert(1)</script> "042137" & more`); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t.Context(), s, "+447700900123", "no code, 1234567 has seven digits"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for _, want := range []string{`<b class="code">042137</b>`, `&lt;script&gt;`, `action="/clock"`, somebody[1:]} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if regexp.MustCompile(`(?i)<script|<style|\sstyle=|\son[a-z]+=`).MatchString(page) {
		t.Error("the page has a script or an inline style")
	}
	if strings.Index(page, "seven digits") > strings.Index(page, "042137") {
		t.Error("the newest message is not first")
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
	if _, only := call(t, "GET", s.URL()+"/?to="+somebody, ""); strings.Contains(only, "+447700900123") || strings.Contains(only, "&#43;447700900123") {
		t.Error("the page of one number shows another")
	}
	if status, css := call(t, "GET", s.URL()+"/inbox.css", ""); status != 200 || !bytes.Contains([]byte(css), []byte("prefers-color-scheme")) {
		t.Errorf("style sheet: %d", status)
	}
}

func TestClockRoutes(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := clock.NewVirtual(clock.NewFixed(start))
	s := startTestSNS(t, c)
	if status, body := call(t, "POST", s.URL()+"/clock", `{"advance":"30s"}`); status != 200 || strings.TrimSpace(body) != `{"now":"2026-01-02T03:04:35Z"}` {
		t.Errorf("POST /clock: %d %s", status, body)
	}
	if status, _ := call(t, "POST", s.URL()+"/clock", "advance=5m", "Content-Type", "application/x-www-form-urlencoded"); status != 303 {
		t.Errorf("the page's form: %d", status)
	}
	if status, body := call(t, "POST", s.URL()+"/clock", `{"advance":"0s"}`, "Content-Type", "application/x-www-form-urlencoded"); status != 200 {
		t.Errorf("JSON as curl -d sends it: %d %s", status, body)
	}
	if status, body := call(t, "GET", s.URL()+"/clock", ""); status != 200 || strings.TrimSpace(body) != `{"now":"2026-01-02T03:09:35Z"}` {
		t.Errorf("GET /clock: %d %s", status, body)
	}
	for _, bad := range []string{`{"advance":"-1s"}`, `{"advance":"soon"}`, `{"advance":30}`, `{}`} {
		if status, body := call(t, "POST", s.URL()+"/clock", bad); status != 400 || !strings.Contains(body, "invalid_request") {
			t.Errorf("POST /clock %s: %d %s", bad, status, body)
		}
	}
	if status, _ := call(t, "GET", startTestSNS(t, nil).URL()+"/clock", ""); status != 404 {
		t.Errorf("without a clock: %d, want 404", status)
	}
}

// TestOtherOriginsAreRefused plays a web page that a visitor of the sandbox has open too.
func TestOtherOriginsAreRefused(t *testing.T) {
	c := clock.NewVirtual(clock.NewFixed(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
	s := startTestSNS(t, c)
	before := c.Now()
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, attack := range []struct {
		method, path, body string
		header             []string
	}{
		{"POST", "/clock", "advance=30s", append(form, "Origin", "https://evil.test")},
		{"POST", "/clock", `{"advance":"30s"}`, []string{"Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site"}},
		{"PUT", "/faults", `{"mode":"hang"}`, []string{"Origin", "null"}},
		{"POST", "/faults", "mode=hang", append(form, "Origin", "http://127.0.0.1:1")},
		{"POST", "/", "Action=Publish&Message=x&PhoneNumber=%2B17015550123", append(form, "Origin", "https://evil.test")},
		{"GET", "/messages", "", []string{"Host", "evil.test"}},
		{"GET", "/", "", []string{"Host", "127.0.0.1.evil.test:8025"}},
		{"POST", "/clock", `{"advance":"30s"}`, []string{"Host", "192.0.2.1"}},
	} {
		if status, body := call(t, attack.method, s.URL()+attack.path, attack.body, attack.header...); status < 400 {
			t.Errorf("%s %s with %v: %d %s", attack.method, attack.path, attack.header, status, body)
		}
	}
	if !c.Now().Equal(before) || s.currentFault().Mode != "none" || len(inbox(t, s, "")) != 0 {
		t.Error("an attack had an effect")
	}
	for _, host := range []string{"localhost", "localhost:8025", "127.0.0.1", "[::1]:8025", "[::1]"} {
		if status, body := call(t, "GET", s.URL()+"/messages", "", "Host", host); status != 200 {
			t.Errorf("host %s: %d %s", host, status, body)
		}
	}
}

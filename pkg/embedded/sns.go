package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"sallyport/pkg/clock"
)

// SNSOptions say where the embedded SNS endpoint listens and what time it is there.
type SNSOptions struct {
	Addr  string         // loopback host:port; port 0 picks a free one
	Clock *clock.Virtual // nil: no clock routes and no clock on the page
	Now   clock.Clock    // stamps the messages; nil means Clock, and the host's clock without one
	Log   *slog.Logger   // nil discards
}

// SNS is a running endpoint. Close it.
type SNS struct {
	clock   *clock.Virtual
	now     clock.Clock
	srv     *http.Server
	l       net.Listener
	closing chan struct{} // closed when requests that hang must end
	close   func()

	mu       sync.Mutex
	messages []message // oldest first, at most maxMessages
	fault    fault
}

// message is a text message that was accepted.
type message struct {
	ID         string            `json:"message_id"`
	To         string            `json:"to"`
	Body       string            `json:"body"`
	At         time.Time         `json:"at"`
	Attributes map[string]string `json:"attributes"`
}

const (
	maxMessages = 1000      // the oldest are dropped
	maxPublish  = 256 << 10 // SNS's own limit for a message, and enough for what surrounds it
	maxJSON     = 16 << 10
)

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// StartSNS starts an endpoint that takes text messages as Amazon SNS does (the Query protocol's Publish with a phone
// number), so that the AWS SDK works against it unchanged, and delivers them to an inbox instead of to telephones:
//
//	POST /              SNS Publish
//	GET  /?to=+1701…    the inbox as a page, newest first
//	GET  /messages?to=  the inbox as JSON, oldest first
//	GET, PUT /faults    {"mode","times"}: what goes wrong with the next messages; times 0 means until changed.
//	                    {"delay":"50ms"}, with them or alone: how long each answer takes, until changed
//	GET, POST /clock    {"now"}, {"advance":"30s"}: the virtual clock, where there is one
//
// The last 1,000 messages are kept in memory. Credentials and signatures are not checked. The fault modes: throttle
// and error500 refuse as SNS does; hang holds the request, undelivered, until the client gives up; reset delivers and
// then resets the connection instead of answering; accepted_500 delivers and answers as error500 does; opted_out and
// invalid refuse the number, spend_limit, credentials and signature the account.
//
// Only requests for a loopback host are served, and none that a page of another origin makes a browser send.
func StartSNS(o SNSOptions) (*SNS, error) {
	l, err := listen(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("start embedded SNS: %w", err)
	}
	s := &SNS{clock: o.Clock, now: o.Now, l: l, closing: make(chan struct{}), fault: fault{Mode: "none"}}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	if s.now == nil {
		s.now = clock.System()
		if s.clock != nil {
			s.now = s.clock
		}
	}
	log := orDiscard(o.Log)
	s.srv = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := s.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("embedded SNS stopped", slog.Any("error", err))
		}
	}()
	return s, nil
}

// URL returns the endpoint, as http://127.0.0.1:8025; it is also the address of the inbox page.
func (s *SNS) URL() string { return "http://" + s.l.Addr().String() }

// Close lets requests in progress finish, cuts off those that hang, and stops. It returns ctx's error when that takes
// longer than ctx allows; the rest is then cut off. Closing twice is harmless.
func (s *SNS) Close(ctx context.Context) error {
	s.close()
	if err := s.srv.Shutdown(ctx); err != nil {
		_ = s.srv.Close()
		return fmt.Errorf("stop embedded SNS: %w", err)
	}
	return nil
}

func (s *SNS) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", s.publish)
	mux.HandleFunc("GET /{$}", s.inbox)
	mux.HandleFunc("GET /inbox.css", inboxCSS)
	mux.HandleFunc("GET /messages", s.list)
	mux.HandleFunc("GET /faults", s.getFault)
	mux.HandleFunc("PUT /faults", s.setFault)
	mux.HandleFunc("POST /faults", s.setFault) // the page's form
	if s.clock != nil {
		mux.HandleFunc("GET /clock", s.getClock)
		mux.HandleFunc("POST /clock", s.advanceClock)
	}
	sameOrigin := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A name that some page made resolve to 127.0.0.1 is not ours.
		if _, _, err := loopback(hostWithPort(r.Host)); err != nil {
			problem(w, http.StatusMisdirectedRequest, "This listener answers for loopback hosts only.")
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		sameOrigin.ServeHTTP(w, r)
	})
}

func hostWithPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	return host
}

// publish is SNS's Publish.
func (s *SNS) publish(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxPublish)
	if err := r.ParseForm(); err != nil {
		snsError(w, http.StatusBadRequest, "MalformedQueryString", "The request body is not a form of at most 256 KiB.")
		return
	}
	if action := r.PostForm.Get("Action"); action != "Publish" {
		snsError(w, http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %s for version %s", action, r.PostForm.Get("Version")))
		return
	}
	to, body := r.PostForm.Get("PhoneNumber"), r.PostForm.Get("Message")
	switch {
	case to == "":
		snsError(w, http.StatusBadRequest, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: no value for required parameter")
		return
	case !e164.MatchString(to):
		snsError(w, http.StatusBadRequest, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: "+to+" is not valid to publish to")
		return
	case body == "":
		snsError(w, http.StatusBadRequest, "InvalidParameter", "Invalid parameter: Empty message")
		return
	}

	m := message{ID: uuid.NewString(), To: to, Body: body, Attributes: map[string]string{}}
	for i := 1; r.PostForm.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		entry := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		m.Attributes[r.PostForm.Get(entry+"Name")] = r.PostForm.Get(entry + "Value.StringValue")
	}

	s.answer(w, r, m)
}

// accepted is SNS's answer to a message that it took.
func accepted(w http.ResponseWriter, m message) {
	writeXML(w, http.StatusOK, publishResponse{XMLNS: snsNamespace, MessageID: m.ID, RequestID: uuid.NewString()})
}

// deliver stamps a message and puts it into the inbox.
func (s *SNS) deliver(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.At = s.now.Now()
	s.messages = append(s.messages, m)
	if n := len(s.messages) - maxMessages; n > 0 {
		s.messages = slices.Delete(s.messages, 0, n)
	}
}

// received returns the messages to one number, or to all when to is empty, oldest first. A plus sign that arrived as a
// space, as it does in a query where it is not escaped, is one again.
func (s *SNS) received(to string) []message {
	if strings.HasPrefix(to, " ") {
		to = "+" + to[1:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]message, 0, len(s.messages))
	for _, m := range s.messages {
		if to == "" || m.To == to {
			out = append(out, m)
		}
	}
	return out
}

func (s *SNS) list(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.received(r.URL.Query().Get("to")))
}

type clockNow struct {
	Now time.Time `json:"now"`
}

func (s *SNS) getClock(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, clockNow{s.clock.Now()})
}

func (s *SNS) advanceClock(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Advance string `json:"advance"`
	}
	form, ok := readInput(w, r, &in, func() { in.Advance = r.PostForm.Get("advance") })
	if !ok {
		return
	}
	d, err := time.ParseDuration(in.Advance)
	if err != nil || d < 0 {
		problem(w, http.StatusBadRequest, "advance must be a duration that is not negative, as 30s or 1h30m")
		return
	}
	now, err := s.clock.Advance(d)
	if err != nil {
		problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	if form {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusOK, clockNow{now})
}

// readInput reads a JSON body into v or, where the page's form was sent, calls fromForm. It answers bad input itself.
func readInput(w http.ResponseWriter, r *http.Request, v any, fromForm func()) (form, ok bool) {
	body := bufio.NewReader(http.MaxBytesReader(w, r.Body, maxJSON))
	first, _ := body.Peek(1)
	r.Body = io.NopCloser(body)
	// curl -d calls everything a form; a brace says that it is JSON.
	isJSON := len(first) == 1 && first[0] == '{'
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t == "application/x-www-form-urlencoded" && r.Method == http.MethodPost && !isJSON {
		if err := r.ParseForm(); err != nil {
			problem(w, http.StatusBadRequest, "the form cannot be read")
			return true, false
		}
		fromForm()
		return true, true
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		problem(w, http.StatusBadRequest, "the body must be JSON: "+err.Error())
		return false, false
	}
	return false, true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; nothing to do about it
}

// problem answers with an RFC 9457 problem document.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client has gone; nothing to do about it
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail, "code": "invalid_request",
	})
}

const snsNamespace = "http://sns.amazonaws.com/doc/2010-03-31/"

type publishResponse struct {
	XMLName   xml.Name `xml:"PublishResponse"`
	XMLNS     string   `xml:"xmlns,attr"`
	MessageID string   `xml:"PublishResult>MessageId"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type errorResponse struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	XMLNS     string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func snsError(w http.ResponseWriter, status int, code, message string) {
	fault := "Sender"
	if status >= 500 {
		fault = "Receiver"
	}
	writeXML(w, status, errorResponse{XMLNS: snsNamespace, Type: fault, Code: code, Message: message, RequestID: uuid.NewString()})
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "text/xml")
	switch v := v.(type) {
	case publishResponse:
		w.Header().Set("X-Amzn-Requestid", v.RequestID)
	case errorResponse:
		w.Header().Set("X-Amzn-Requestid", v.RequestID)
	}
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(v) // the client has gone; nothing to do about it
}

package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// endpoint is what takes the text messages of one dispatcher, as SNS does (the Query protocol's Publish). Which process
// asks is known by the listener it asks at.
type endpoint struct {
	l net.Listener
	d *dispatcher
}

// startEndpoint listens until the test ends.
func startEndpoint(tb testing.TB, d *dispatcher) *endpoint {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	e := &endpoint{l, d}
	srv := &http.Server{Handler: http.HandlerFunc(e.publish), ReadHeaderTimeout: time.Minute, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, lifeKey{}, c.(unread).life)
	}}
	go func() {
		if err := srv.Serve(door{l, d}); !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	}()
	tb.Cleanup(func() { _ = srv.Close() })
	return e
}

// lifeKey is where a request's context says whose it is.
type lifeKey struct{}

func (e *endpoint) url() string { return "http://" + e.l.Addr().String() }

// door gives out connections that a trap can leave unread.
type door struct {
	net.Listener
	d *dispatcher
}

// Accept takes the next connection.
func (o door) Accept() (net.Conn, error) {
	c, err := o.Listener.Accept()
	return unread{c, o.d.current(), &o.d.house.traps}, err
}

// unread is a connection whose bytes may arrive and never be seen.
type unread struct {
	net.Conn
	life  *life
	traps *traps
}

// Read reads, and hides what it has read where a trap says so.
func (u unread) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	for _, t := range u.traps.all(unreadStage) {
		if t.armedFor(u.life) {
			if err := t.hold(u.life); err != nil {
				return 0, err
			}
		}
	}
	return n, err
}

// lastLine is that of every text: it names the host, which is another one for each challenge, and the code.
var lastLine = regexp.MustCompile(`\n@([A-Za-z0-9-]+)\.test #([0-9]{6})$`)

// publish takes a request down, asks the house how to answer, and answers so.
func (e *endpoint) publish(w http.ResponseWriter, r *http.Request) {
	l := r.Context().Value(lifeKey{}).(*life)
	if err := r.ParseForm(); err != nil {
		return // cut off on the way: never a complete request
	}
	h := Handoff{By: l.name, At: time.Now()}
	if m := lastLine.FindStringSubmatch(r.PostForm.Get("Message")); m != nil && r.PostForm.Get("Action") == "Publish" {
		h.Challenge, h.Code = m[1], m[2]
	} else {
		e.d.house.tb.Errorf("not our text: %q", r.PostForm.Get("Message"))
	}
	book := e.d.house.book
	n := book.arrives(h)
	h.Answer = e.d.house.plans.next(r.Context(), h.Challenge)
	if t := e.d.house.traps.of(h.Challenge, callStage); t != nil && t.hold(l) != nil {
		h.Answer = Cut
	}
	if t := e.d.house.traps.of(h.Challenge, answeredStage); t != nil {
		t.arm(l)
	}
	// Written down before the answer goes: what the caller does with it comes later for sure.
	if h.Answer == Hang {
		<-r.Context().Done()
	}
	book.answers(n, h.Answer)
	switch h.Answer {
	case Accepted:
		xmlAnswer(w, http.StatusOK, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m-%d</MessageId></PublishResult><ResponseMetadata><RequestId>r-%d</RequestId></ResponseMetadata></PublishResponse>`, n, n)
	case Error500:
		refuse(w, http.StatusInternalServerError, "InternalError")
	case Error503:
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	case Throttled:
		refuse(w, http.StatusBadRequest, "Throttling")
	case OptedOut:
		refuse(w, http.StatusBadRequest, "OptedOut")
	case Credentials:
		refuse(w, http.StatusForbidden, "InvalidClientTokenId")
	case SpendLimit:
		refuse(w, http.StatusBadRequest, "SMSSpendLimitExceeded")
	case Reset:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if u, ok := conn.(unread); ok {
				_ = u.Conn.(*net.TCPConn).SetLinger(0)
			}
			_ = conn.Close()
		}
	default: // hang, cut
		panic(http.ErrAbortHandler)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	xmlAnswer(w, status, `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>`, code)
}

func xmlAnswer(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, format, args...) // who is gone cannot be told
}

// plans say how requests are answered: by what is planned for a challenge, else by what is planned for all.
type plans struct {
	mu    sync.Mutex
	each  map[string][]plan // the last one stays
	rest  plan
	count map[string]int
}

// plan answers one request; ctx ends when the caller gives up.
type plan func(ctx context.Context) Answer

func always(a Answer) plan { return func(context.Context) Answer { return a } }

// set plans the answers to the requests for a challenge: one after the other, and then the last for ever.
func (p *plans) set(challenge string, answers ...plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.each == nil {
		p.each, p.count = make(map[string][]plan), make(map[string]int)
	}
	p.each[challenge] = answers
}

// others plans the answers to all other requests.
func (p *plans) others(a plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = a
}

func (p *plans) next(ctx context.Context, challenge string) Answer {
	p.mu.Lock()
	chosen := p.rest
	if own := p.each[challenge]; len(own) > 0 {
		chosen = own[min(p.count[challenge], len(own)-1)]
		p.count[challenge]++
	}
	p.mu.Unlock()
	if chosen == nil {
		return Accepted
	}
	return chosen(ctx)
}

// hosted is the host that a challenge's text names.
func hosted(challenge string) string { return strings.ToLower(challenge) + ".test" }

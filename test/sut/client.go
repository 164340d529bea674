package sut

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Client speaks the JSON API.
type Client struct {
	tb   testing.TB
	base string
	host string // instead of that of base, if any
	from string // what X-Forwarded-For says, if anything
	http *http.Client
	see  func(*http.Request, Answer)
}

// Watched is a client that shows every request with its answer to see, which is called from the caller's goroutine.
func (c *Client) Watched(see func(*http.Request, Answer)) *Client {
	watched := *c
	watched.see = see
	return &watched
}

// At is a client of the portal at a host, wherever the connection goes.
func (c *Client) At(host string) *Client {
	at := *c
	at.host = host
	return &at
}

// From is a client whose requests say that they come from an address, as a proxy would. It counts where the product
// trusts this machine.
func (c *Client) From(forwarded string) *Client {
	from := *c
	from.from = forwarded
	return &from
}

// NewClient returns a client of the API at base. It follows no redirect and keeps no cookies.
func NewClient(tb testing.TB, base string) *Client {
	// A slow answer must fail by what it says, not by the client's impatience.
	transport := &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}
	tb.Cleanup(transport.CloseIdleConnections)
	return &Client{tb: tb, base: base, http: &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer is what came back for a request.
type Answer struct {
	Method, Path string
	Status       int
	Header       http.Header
	Body         []byte
	Took         time.Duration
}

// Raw is a body that is sent as it is, with a content type; any other body is sent as JSON.
type Raw struct{ Type, Body string }

// Do sends a request; token, if any, goes as Authorization: Bearer. No answer at all fails the test.
func (c *Client) Do(method, path, token string, body any) Answer {
	c.tb.Helper()
	a, err := c.Try(context.Background(), method, path, token, body)
	if err != nil {
		c.tb.Fatal(err)
	}
	return a
}

// Try is Do that returns what went wrong. Usable from any goroutine.
func (c *Client) Try(ctx context.Context, method, path, token string, body any) (Answer, error) {
	var r io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case Raw:
		r, kind = strings.NewReader(b.Body), b.Type
	default:
		raw, err := json.Marshal(body)
		if err != nil {
			return Answer{}, fmt.Errorf("%s %s: %w", method, path, err)
		}
		r, kind = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return Answer{}, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.Send(req)
}

// Send sends a request of the caller's making. Usable from any goroutine.
func (c *Client) Send(req *http.Request) (Answer, error) {
	if c.host != "" {
		req.Host = c.host
	}
	if c.from != "" {
		req.Header.Set("X-Forwarded-For", c.from)
	}
	begun := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	raw, err := io.ReadAll(resp.Body)
	a := Answer{
		Method: req.Method, Path: req.URL.Path, Status: resp.StatusCode, Header: resp.Header, Body: raw, Took: time.Since(begun),
	}
	if c.see != nil {
		c.see(req, a)
	}
	note(a)
	return a, err
}

// idLength is that of the ids which the product makes.
const idLength = 26

// Outcome is what of an answer the API's description tells beforehand.
type Outcome struct {
	Method, Path string
	Status       int
	Code         string
}

var given struct {
	sync.Mutex
	outcomes map[Outcome]bool
}

func note(a Answer) {
	if !strings.HasPrefix(a.Path, "/v1/") {
		return
	}
	words := strings.Split(a.Path, "/")
	for i, w := range words {
		if len(w) == idLength {
			words[i] = "-" // one of many
		}
	}
	o := Outcome{a.Method, strings.Join(words, "/"), a.Status, a.Problem().Code}
	given.Lock()
	defer given.Unlock()
	if given.outcomes == nil {
		given.outcomes = make(map[Outcome]bool)
	}
	given.outcomes[o] = true
}

// Given are the answers of the JSON API that clients of this process were given so far, in the order of paths.
func Given() []Outcome {
	given.Lock()
	defer given.Unlock()
	return slices.SortedFunc(maps.Keys(given.outcomes), func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code))
	})
}

// String is the answer for a failure message. It is a test's, and may show what a log must not.
func (a Answer) String() string {
	return fmt.Sprintf("%s %s: %d %s", a.Method, a.Path, a.Status, bytes.TrimSpace(a.Body))
}

// Decode reads the body as JSON.
func (a Answer) Decode(v any) error {
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	return nil
}

// Problem reads the body of a refusal; for anything else its code is empty.
func (a Answer) Problem() Problem {
	var p Problem
	if a.Status >= 400 {
		_ = json.Unmarshal(a.Body, &p) // what is no JSON has no code
	}
	return p
}

// Is reports whether an answer has this status and, for a refusal, this code.
func (a Answer) Is(status int, code string) bool {
	return a.Status == status && a.Problem().Code == code
}

// Want decodes an answer that must have the given status; any other fails the test.
func Want[T any](tb testing.TB, status int, a Answer) T {
	tb.Helper()
	var t T
	if a.Status != status {
		tb.Fatalf("%s; want status %d", a, status)
	}
	if err := a.Decode(&t); err != nil {
		tb.Fatal(err)
	}
	return t
}

// Expect fails the test unless an answer has this status and code ("" for success).
func Expect(tb testing.TB, a Answer, status int, code string) {
	tb.Helper()
	if !a.Is(status, code) {
		tb.Fatalf("%s; want %d %s", a, status, code)
	}
}

// SignIn is a sign-in as clients see it.
type SignIn struct {
	ID             string        `json:"id"`
	Token          string        `json:"token"`
	Status         string        `json:"status"`
	Factor         string        `json:"factor"`
	CanSkip        bool          `json:"can_skip"`
	Destination    string        `json:"destination"`
	ResendIn       *int          `json:"resend_in"`
	Delivery       string        `json:"delivery"`
	DeliveryPaused bool          `json:"delivery_paused"`
	DeliveryReason string        `json:"delivery_reason"`
	OtherWays      []string      `json:"other_ways"`
	AttemptsLeft   *int          `json:"attempts_left"`
	LockedUntil    time.Time     `json:"locked_until"`
	ExpiresAt      time.Time     `json:"expires_at"`
	Session        *SessionToken `json:"session"`
	Reset          *Reset        `json:"reset"`
	CodesLeft      *int          `json:"recovery_codes_left"`
}

// Path is the sign-in's path, with something after it.
func (s SignIn) Path(more string) string { return "/v1/sign-ins/" + s.ID + more }

// Enrollment is what is needed to enrol.
type Enrollment struct {
	Factor      string `json:"factor"`
	OtpauthURI  string `json:"otpauth_uri"`
	Key         string `json:"key"`
	QRPNG       []byte `json:"qr_png"`
	Destination string `json:"destination"`
	ResendIn    *int   `json:"resend_in"`
}

// Problem is a refusal (RFC 9457).
type Problem struct {
	Type         string    `json:"type"`
	Title        string    `json:"title"`
	Status       int       `json:"status"`
	Code         string    `json:"code"`
	Detail       string    `json:"detail"`
	AttemptsLeft *int      `json:"attempts_left"`
	LockedUntil  time.Time `json:"locked_until"`
	RetryAfter   int       `json:"retry_after"`
	Reason       string    `json:"reason"`
	ClockOffset  *int      `json:"clock_offset"`
	Errors       []struct {
		Field  string `json:"field"`
		Detail string `json:"detail"`
	} `json:"errors"`
	RequestID string `json:"request_id"`
}

// User is a person as clients see them.
type User struct {
	ID                string   `json:"id"`
	Email             string   `json:"email"`
	Name              string   `json:"name"`
	Audience          string   `json:"audience"`
	Organization      string   `json:"organization"`
	MasterAdmin       bool     `json:"master_admin"`
	OrganizationAdmin bool     `json:"organization_admin"`
	Federated         bool     `json:"federated"`
	Standing          string   `json:"standing"`
	Factors           []Factor `json:"factors"` // nil where they are absent
}

// Factor is an enrolled factor.
type Factor struct {
	Factor string    `json:"factor"`
	Label  string    `json:"label"`
	Since  time.Time `json:"since"`

	Destination string `json:"destination"`
}

// Session is who is signed in.
type Session struct {
	User      User      `json:"user"`
	AMR       []string  `json:"amr"`
	AuthTime  time.Time `json:"auth_time"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Account is a person's own view.
type Account struct {
	User              User          `json:"user"`
	Factors           []Factor      `json:"factors"`
	RecoveryCodesLeft int           `json:"recovery_codes_left"`
	MayEnroll         bool          `json:"may_enroll"`
	MayRemove         bool          `json:"may_remove"`
	Reset             *Reset        `json:"reset"`
	Session           *SessionToken `json:"session"`
}

// SessionToken is a new session.
type SessionToken struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Reset is why a person must enrol again.
type Reset struct {
	At    time.Time `json:"at"`
	Cause string    `json:"cause"`
}

// OwnSessions are where a person is signed in.
type OwnSessions struct {
	Items []struct {
		ID         string    `json:"id"`
		Current    bool      `json:"current"`
		Device     string    `json:"device"`
		Network    string    `json:"network"`
		AMR        []string  `json:"amr"`
		AuthTime   time.Time `json:"auth_time"`
		LastSeenAt time.Time `json:"last_seen_at"`
	} `json:"items"`
}

// Settings are a portal's.
type Settings struct {
	Internal struct {
		Mode string `json:"mode"`
	} `json:"internal"`
	Organizations struct {
		Mode        string `json:"mode"`
		AllowOptOut bool   `json:"allow_opt_out"`
	} `json:"organizations"`
	Version int64 `json:"version"`
}

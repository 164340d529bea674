package sut

import (
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Sandbox speaks to the embedded SNS endpoint: its inbox, its faults and, with the demo, the clock of all services.
type Sandbox struct {
	tb testing.TB
	c  *Client
}

// NewSandbox returns the sandbox at a URL.
func NewSandbox(tb testing.TB, base string) *Sandbox { return &Sandbox{tb, NewClient(tb, base)} }

// Message is a text message that arrived.
type Message struct {
	ID         string            `json:"message_id"`
	To         string            `json:"to"`
	Body       string            `json:"body"`
	At         time.Time         `json:"at"`
	Attributes map[string]string `json:"attributes"`
}

// Now is the time of the services.
func (s *Sandbox) Now() time.Time {
	s.tb.Helper()
	type clock struct {
		Now time.Time `json:"now"`
	}
	return Want[clock](s.tb, http.StatusOK, s.c.Do(http.MethodGet, "/clock", "", nil)).Now
}

// Advance moves the time of the services and returns the new one.
func (s *Sandbox) Advance(d time.Duration) time.Time {
	s.tb.Helper()
	type clock struct {
		Now time.Time `json:"now"`
	}
	return Want[clock](s.tb, http.StatusOK, s.c.Do(http.MethodPost, "/clock", "", map[string]string{"advance": d.String()})).Now
}

// Messages lists what arrived for a number, oldest first; "" for all.
func (s *Sandbox) Messages(to string) []Message {
	s.tb.Helper()
	path := "/messages"
	if to != "" {
		path += "?to=" + url.QueryEscape(to)
	}
	return Want[[]Message](s.tb, http.StatusOK, s.c.Do(http.MethodGet, path, "", nil))
}

// Faults makes the next messages fail: throttle, error500, hang, reset, accepted_500, opted_out, invalid, spend_limit,
// credentials, signature, or none; times 0 is until changed.
func (s *Sandbox) Faults(mode string, times int) {
	s.tb.Helper()
	Expect(s.tb, s.c.Do(http.MethodPut, "/faults", "", map[string]any{"mode": mode, "times": times}), http.StatusOK, "")
}

// Delay makes each answer of the endpoint take d, until changed; at most ten seconds.
func (s *Sandbox) Delay(d time.Duration) {
	s.tb.Helper()
	Expect(s.tb, s.c.Do(http.MethodPut, "/faults", "", map[string]any{"delay": d.String()}), http.StatusOK, "")
}

// LastCode waits for the first message to a number and returns the code of the last one.
func (s *Sandbox) LastCode(to string) string {
	s.tb.Helper()
	return s.CodeAfter(to, 0)
}

// CodeAfter waits until more than so many messages came for a number and returns the code of the last one. Count
// them before what sends the next.
func (s *Sandbox) CodeAfter(to string, seen int) string {
	s.tb.Helper()
	var all []Message
	Eventually(s.tb, time.Minute, "a text message to "+to, func() bool {
		all = s.Messages(to)
		return len(all) > seen
	})
	return CodeIn(s.tb, all[len(all)-1].Body)
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// CodeIn finds the code in the body of a message.
func CodeIn(tb testing.TB, body string) string {
	tb.Helper()
	code := sixDigits.FindString(body)
	if code == "" {
		tb.Fatalf("no code in %q", body)
	}
	return code
}

// CodeAt is what an authenticator app with this key shows at a time. oathtool is the app: written by others.
func CodeAt(tb testing.TB, key string, at time.Time) string {
	tb.Helper()
	cmd := exec.Command("oathtool", "--totp", "--base32", "--now="+at.UTC().Format("2006-01-02 15:04:05 UTC"), "-")
	cmd.Stdin = strings.NewReader(key)
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("oathtool: %v (scripts/setup installs it)", err)
	}
	return strings.TrimSpace(string(out))
}

// WrongCode is a code that the key shows at no time near the given one.
func WrongCode(tb testing.TB, key string, at time.Time) string {
	tb.Helper()
	near := map[string]bool{}
	for step := -2; step <= 2; step++ {
		near[CodeAt(tb, key, at.Add(time.Duration(step)*Step))] = true
	}
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444", "555555"} {
		if !near[code] {
			return code
		}
	}
	panic("unreachable: five codes cannot be six")
}

// Step is how long an authenticator's code lives.
const Step = 30 * time.Second

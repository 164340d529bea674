package embedded

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fault is what goes wrong with the next messages, and how long each answer takes meanwhile.
type fault struct {
	Mode  string `json:"mode"`
	Times int    `json:"times"` // messages still to go; 0: until changed
	// Delay is how long after its message an answer comes, a refusal too; until changed, whatever Times says.
	Delay wait `json:"delay,omitzero"`
}

// wait is a duration in the form "50ms".
type wait time.Duration

// MarshalJSON writes the form that UnmarshalJSON reads.
func (d wait) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a duration of at most maxDelay.
func (d *wait) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("delay must be a duration, as 50ms")
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 || v > maxDelay {
		return fmt.Errorf("delay must be a duration from 0s to %s, as 50ms", maxDelay)
	}
	*d = wait(v)
	return nil
}

// String is the form of the page.
func (d wait) String() string { return time.Duration(d).String() }

const maxDelay = 10 * time.Second

// refusal is a fault that answers with an error and delivers nothing.
type refusal struct {
	status  int
	code    string
	message string // %s, where it stands, is the number
}

var (
	faultModes = []string{
		"none", "throttle", "error500", "hang", "reset", "accepted_500", "opted_out", "invalid", "spend_limit", "credentials", "signature",
	}
	refusals = map[string]refusal{
		"throttle": {http.StatusBadRequest, "Throttling", "Rate exceeded"},
		"error500": {http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again."},
		// OptedOut is the code in SNS's API model; the number is in the text, as in InvalidParameter's.
		"opted_out": {http.StatusBadRequest, "OptedOut", "Invalid parameter: PhoneNumber Reason: %s is opted out"},
		"invalid":   {http.StatusBadRequest, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: %s is not valid to publish to"},
		// SNS documents no error for this: with the spend limit reached it accepts messages and says "No quota left for
		// account" in the delivery log only. An error of its own lets the handling of a used-up account be seen.
		"spend_limit": {http.StatusBadRequest, "SMSSpendLimitExceeded", "No quota left for account: the monthly SMS spend limit is reached"},
		"credentials": {http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."},
		"signature": {
			http.StatusForbidden, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
		},
	}
)

// answer delivers a message, or does what the fault of the moment does instead.
func (s *SNS) answer(w http.ResponseWriter, r *http.Request, m message) {
	f := s.nextFault()
	if f.Mode == "hang" {
		select {
		case <-r.Context().Done():
		case <-s.closing:
		}
		panic(http.ErrAbortHandler) // no answer
	}
	refused, refuse := refusals[f.Mode]
	if !refuse {
		s.deliver(m)
	}
	if !s.pause(r, time.Duration(f.Delay)) {
		panic(http.ErrAbortHandler) // nobody waits for the answer
	}
	switch {
	case refuse:
		snsError(w, refused.status, refused.code, strings.ReplaceAll(refused.message, "%s", m.To))
	case f.Mode == "reset":
		reset(w)
	case f.Mode == "accepted_500":
		internal := refusals["error500"]
		snsError(w, internal.status, internal.code, internal.message)
	default:
		accepted(w, m)
	}
}

// pause waits before an answer, and is false when the client has gone. An endpoint that closes waits no longer.
func (s *SNS) pause(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closing:
		return true
	case <-r.Context().Done():
		return false
	}
}

// nextFault returns the fault for one message and counts it.
func (s *SNS) nextFault() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fault
	if s.fault.Times > 0 {
		if s.fault.Times--; s.fault.Times == 0 {
			s.fault.Mode = "none"
		}
	}
	return f
}

// reset answers with a TCP reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the connection ends without an answer, if less abruptly
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (s *SNS) currentFault() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

func (s *SNS) getFault(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.currentFault())
}

// setFault takes a fault. A delay that is not named stays, and so does the fault where only a delay is named.
func (s *SNS) setFault(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Mode  *string `json:"mode"`
		Times int     `json:"times"`
		Delay *wait   `json:"delay"`
	}
	form, ok := readInput(w, r, &in, func() { mode := r.PostForm.Get("mode"); in.Mode = &mode })
	if !ok {
		return
	}
	alone := in.Mode == nil && in.Delay != nil && in.Times == 0
	if !alone && (in.Mode == nil || !slices.Contains(faultModes, *in.Mode)) {
		problem(w, http.StatusBadRequest, "mode must be one of "+strings.Join(faultModes, ", "))
		return
	}
	if in.Times < 0 {
		problem(w, http.StatusBadRequest, "times must be 0 (until changed) or the number of messages")
		return
	}
	s.mu.Lock()
	if in.Mode != nil {
		s.fault.Mode, s.fault.Times = *in.Mode, in.Times
	}
	if in.Delay != nil {
		s.fault.Delay = *in.Delay
	}
	now := s.fault
	s.mu.Unlock()
	if form {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusOK, now)
}

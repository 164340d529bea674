package sms

import (
	"slices"
	"time"

	"sallyport/pkg/contract"
)

// The limits of texting one person, whatever the sign-in, the number or the door.
const (
	// firstWait is how long the second text waits; each further one waits twice as long, up to longestWait.
	firstWait   = 30 * time.Second
	longestWait = 5 * time.Minute
	// memory is how long an unanswered text makes the next one wait longer.
	memory = time.Hour
	// In any window there are no more than mostUnanswered texts whose code was not typed, and no more than mostTexts
	// at all: who types each code rightly may go on, but not for ever.
	window         = 10 * time.Minute
	mostUnanswered = 5
	mostTexts      = 20
	// codeLife is how long a code may be typed.
	codeLife = 5 * time.Minute
)

// sends is what is remembered of one person's texts. Serial counts them for ever; a new one is written under the
// condition that Serial is still what the decision was made from, so that two decisions cannot both hold.
type sends struct {
	Serial int64 `bson:"serial"`
	// Forgiven is the Serial at the last right code: texts up to it make nobody wait.
	Forgiven int64 `bson:"forgiven"`
	// Recent are the texts that still count for anything, oldest first.
	Recent []sent `bson:"recent"`
}

// sent is one text that was asked for.
type sent struct {
	N         int64     `bson:"n"`
	At        time.Time `bson:"at"`
	Challenge string    `bson:"challenge"`
	Flow      string    `bson:"flow"`
}

// next tells when the person may be texted again, and what a try before that is refused with.
func (s sends) next() (at time.Time, refusal contract.Code) {
	var unanswered []sent
	for _, t := range s.Recent {
		if t.N > s.Forgiven {
			unanswered = append(unanswered, t)
		}
	}
	if n := len(unanswered); n > 0 {
		last := unanswered[n-1].At
		level := 0
		for _, t := range unanswered {
			if last.Sub(t.At) < memory {
				level++
			}
		}
		at, refusal = last.Add(resendWait(level)), contract.TooSoon
	}
	if n := len(unanswered); n >= mostUnanswered {
		if free := unanswered[n-mostUnanswered].At.Add(window); unanswered[n-1].At.Before(free) {
			at, refusal = later(at, free), contract.RateLimited
		}
	}
	if n := len(s.Recent); n >= mostTexts {
		if free := s.Recent[n-mostTexts].At.Add(window); s.Recent[n-1].At.Before(free) {
			at, refusal = later(at, free), contract.RateLimited
		}
	}
	return at, refusal
}

// allowed is nil if the person may be texted now.
func (s sends) allowed(now time.Time) *contract.Error {
	at, refusal := s.next()
	switch wait := at.Sub(now); {
	case wait <= 0:
		return nil
	case refusal == contract.RateLimited:
		return contract.Wait(refusal, wait, "Too many codes were sent. Please wait a few minutes, or sign in another way.")
	default:
		return contract.Wait(refusal, wait, "Please wait a moment before you ask for another code.")
	}
}

// with returns the memory after one more text.
func (s sends) with(now time.Time, challenge, flow string) sends {
	recent := slices.DeleteFunc(slices.Clone(s.Recent), func(t sent) bool {
		age := now.Sub(t.At)
		return age >= memory || age >= window && t.N <= s.Forgiven
	})
	s.Serial++
	s.Recent = append(recent, sent{N: s.Serial, At: now, Challenge: challenge, Flow: flow})
	return s
}

// opened tells whether a challenge was let through already.
func (s sends) opened(challenge string) bool {
	return slices.ContainsFunc(s.Recent, func(t sent) bool { return t.Challenge == challenge })
}

// superseded tells whether a newer challenge of the same flow was let through.
func (s sends) superseded(challenge, flow string) bool {
	i := slices.IndexFunc(s.Recent, func(t sent) bool { return t.Challenge == challenge })
	return i >= 0 && slices.ContainsFunc(s.Recent[i+1:], func(t sent) bool { return t.Flow == flow })
}

// earlier lists the challenges that a new one of this flow replaces.
func (s sends) earlier(now time.Time, challenge, flow string) []string {
	var out []string
	for _, t := range s.Recent {
		if t.Challenge == challenge {
			break
		}
		if t.Flow == flow && now.Before(t.At.Add(codeLife)) {
			out = append(out, t.Challenge)
		}
	}
	return out
}

// resendWait is how long the next text waits after this many unanswered ones.
func resendWait(unanswered int) time.Duration {
	if unanswered == 0 {
		return 0
	}
	wait := firstWait
	for range unanswered - 1 {
		if wait *= 2; wait >= longestWait {
			return longestWait
		}
	}
	return wait
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

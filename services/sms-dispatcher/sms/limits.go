package sms

import (
	"slices"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
)

// The limits of texting one person, whatever the sign-in, the number or the door.
const (
	// firstWait is how long the second text waits; each further one waits twice as long, up to longestWait.
	firstWait   = 30 * time.Second
	longestWait = 5 * time.Minute
	// memory is how long an unanswered text makes the next one wait longer.
	memory = time.Hour
	// In any window there are no more than mostTexts: who types each code rightly may go on, but not for ever.
	window    = 10 * time.Minute
	mostTexts = 20
	// mostADay is how many there are in a day (UTC), typed or not: who has numbers that pay can type their codes.
	mostADay = 60
	// mostPerson is the highest limit that can be set for texts whose code was not typed; so many of them are kept.
	mostPerson = 100
	mostKept   = mostPerson + mostTexts
	// codeLife is how long a code may be typed.
	codeLife = 5 * time.Minute
)

// usualPerson are the limits of a person that are set by default.
var usualPerson = meter.Limits{{Most: 5, Window: 10 * time.Minute}, {Most: 15, Window: meter.Day}}

// sends is what is remembered of one person's texts. Serial counts them for ever; a new one is written under the
// condition that Serial is still what the decision was made from, so that two decisions cannot both hold.
type sends struct {
	Serial int64 `bson:"serial"`
	// Forgiven is the Serial at the last right code: texts up to it make nobody wait.
	Forgiven int64 `bson:"forgiven"`
	// Recent are the texts that still count for anything, oldest first.
	Recent []sent `bson:"recent"`
	// Today counts the texts of Day, a date in UTC.
	Day   string `bson:"day"`
	Today int    `bson:"today"`
}

// sent is one text that was asked for.
type sent struct {
	N         int64     `bson:"n"`
	At        time.Time `bson:"at"`
	Challenge string    `bson:"challenge"`
	Flow      string    `bson:"flow"`
	// Epoch is the person's generation in which it was asked for.
	Epoch int64 `bson:"epoch"`
}

// next tells when the person may be texted again, and what a try before that is refused with: by which limit, if it is
// one.
func (s sends) next(limits meter.Limits) (at time.Time, refusal contract.Code, by meter.Limit) {
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
	limit := func(texts []sent, l meter.Limit) {
		n := len(texts)
		if n < l.Most {
			return
		}
		if free := texts[n-l.Most].At.Add(l.Window); texts[n-1].At.Before(free) {
			if by == (meter.Limit{}) || !free.Before(at) {
				by = l
			}
			at, refusal = later(at, free), contract.RateLimited
		}
	}
	for _, l := range limits {
		limit(unanswered, l)
	}
	limit(s.Recent, meter.Limit{Most: mostTexts, Window: window})
	if day, err := time.Parse(time.DateOnly, s.Day); err == nil && s.Today >= mostADay && at.Before(day.Add(meter.Day)) {
		at, refusal, by = day.Add(meter.Day), contract.RateLimited, meter.Limit{Most: mostADay, Window: meter.Day}
	}
	return at, refusal, by
}

// allowed is nil if the person may be texted now; by is the limit that refuses, if it is one.
func (s sends) allowed(limits meter.Limits, now time.Time) (refused *contract.Error, by meter.Limit) {
	at, refusal, by := s.next(limits)
	switch wait := at.Sub(now); {
	case wait <= 0:
		return nil, meter.Limit{}
	case refusal == contract.RateLimited:
		return overLimit(contract.GuardPerson, wait), by
	default:
		return contract.Wait(refusal, wait, "Please wait a moment before you ask for another code."), meter.Limit{}
	}
}

// with returns the memory after one more text.
func (s sends) with(now time.Time, challenge, flow string, epoch int64) sends {
	recent := slices.DeleteFunc(slices.Clone(s.Recent), func(t sent) bool {
		age := now.Sub(t.At)
		return age >= meter.Day || age >= window && t.N <= s.Forgiven
	})
	s.Serial++
	if today := now.UTC().Format(time.DateOnly); s.Day == today {
		s.Today++
	} else {
		s.Day, s.Today = today, 1
	}
	recent = recent[max(len(recent)+1-mostKept, 0):]
	s.Recent = append(recent, sent{N: s.Serial, At: now, Challenge: challenge, Flow: flow, Epoch: epoch})
	return s
}

// without returns the memory as if a challenge had not been asked for, and whether it was.
func (s sends) without(challenge string) (sends, bool) {
	i := slices.IndexFunc(s.Recent, func(t sent) bool { return t.Challenge == challenge })
	if i < 0 {
		return s, false
	}
	if s.Recent[i].At.UTC().Format(time.DateOnly) == s.Day {
		s.Today = max(0, s.Today-1)
	}
	s.Recent = slices.Delete(slices.Clone(s.Recent), i, i+1)
	return s, true
}

// opened tells whether a challenge was let through already.
func (s sends) opened(challenge string) bool {
	return slices.ContainsFunc(s.Recent, func(t sent) bool { return t.Challenge == challenge })
}

// askedAt is when a challenge was let through.
func (s sends) askedAt(challenge string) time.Time {
	if i := slices.IndexFunc(s.Recent, func(t sent) bool { return t.Challenge == challenge }); i >= 0 {
		return s.Recent[i].At
	}
	return time.Time{}
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

// older lists the challenges of generations before this one whose codes are not over by themselves.
func (s sends) older(now time.Time, epoch int64) []string {
	var out []string
	for _, t := range s.Recent {
		if t.Epoch < epoch && now.Before(t.At.Add(codeLife)) {
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

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

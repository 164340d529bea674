// Package lockout answers: how many wrong codes may be tried, and when?
//
// Failures are counted per person and factor, over all doors, before a code is compared. Every fifth failure in a row
// closes the factor: for 30 seconds at first, doubling up to an hour. After fifty in a row it stays closed until
// recovery or reset (NIST SP 800-63B §5.2.2 asks for no more than 100). Only a right code or a new enrolment starts
// the count again.
//
// Everything here is a pure function of a state and a time; the store turns [Windows] into the condition of one
// atomic update, so that parallel guesses cannot exceed the count.
package lockout

import "time"

// The limits.
const (
	// Round is how many failures close the factor.
	Round = 5
	// Limit is how many failures in a row disable it.
	Limit = 50
	// FirstWait is the first lock; it doubles up to LongestWait.
	FirstWait   = 30 * time.Second
	LongestWait = time.Hour
)

// State is the count as it is kept in a document.
type State struct {
	// Failures in a row. A guess counts as one until it proves right.
	Failures int `bson:"failures"`
	// LastAt is when the last guess was counted.
	LastAt time.Time `bson:"last_at"`
}

// Wait is how long the factor is closed by this many failures: zero unless it is a multiple of [Round].
func Wait(failures int) time.Duration {
	if failures <= 0 || failures%Round != 0 {
		return 0
	}
	wait := FirstWait
	for range failures/Round - 1 {
		if wait *= 2; wait >= LongestWait {
			return LongestWait
		}
	}
	return wait
}

// Disabled tells whether only recovery or a reset helps.
func (s State) Disabled() bool { return s.Failures >= Limit }

// LockedUntil returns when the factor opens, and whether it is closed at now. A disabled factor is closed and has no
// such time.
func (s State) LockedUntil(now time.Time) (until time.Time, locked bool) {
	if s.Disabled() {
		return time.Time{}, true
	}
	wait := Wait(s.Failures)
	until = s.LastAt.Add(wait)
	// Where there is nothing to wait for, a replica's clock that runs ahead closes nothing.
	return until, wait > 0 && now.Before(until)
}

// Left is how many wrong codes are left before the next lock; 0 right after the one that locked.
func (s State) Left() int {
	if s.Disabled() || s.Failures > 0 && s.Failures%Round == 0 {
		return 0
	}
	return Round - s.Failures%Round
}

// LeftAt is how many wrong codes are left before the next lock; 0 while closed. Where a lock is over and nothing was
// counted since, a whole round is left.
func (s State) LeftAt(now time.Time) int {
	if !s.Allowed(now) {
		return 0
	}
	return Round - s.Failures%Round
}

// Window is a count at which a guess is allowed only if the last one is at least so long ago.
type Window struct {
	Failures int
	Wait     time.Duration
}

// Windows lists the counts that close the factor for a while. At any other count below [Limit] a guess is allowed.
func Windows() []Window {
	var out []Window
	for f := Round; f < Limit; f += Round {
		out = append(out, Window{f, Wait(f)})
	}
	return out
}

// Allowed is the rule that the store enforces: may a guess be counted and compared now?
func (s State) Allowed(now time.Time) bool {
	_, locked := s.LockedUntil(now)
	return !locked
}

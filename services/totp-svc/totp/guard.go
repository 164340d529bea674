package totp

import (
	"hash/fnv"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
)

// drift remembers a code that was right at another time: the phone's clock may be off.
type drift struct {
	// Seed names the secret whose code it was.
	Seed string `bson:"seed"`
	// Step is the step whose code it was, Offset how many steps that is ahead of our clock.
	Step   int64 `bson:"step"`
	Offset int64 `bson:"offset"`
	// Failures is the count after this guess, by which the next one knows whether it is the next one in a row.
	Failures int `bson:"failures"`
	// Sure is set by the second one in a row: then the person is told.
	Sure bool `bson:"sure"`
}

// judgeDrift decides what a wrong code says about the phone's clock. found are the steps outside the window whose code
// it is, failures the count after this guess. Two in a row that agree, the second of a later step than the first, are
// no coincidence and no code kept from before. ok is false when there is nothing to remember.
func judgeDrift(before *drift, seed string, found []int64, current int64, failures int) (next drift, ok bool) {
	if len(found) == 0 {
		return drift{}, false
	}
	for _, step := range found {
		d := drift{Seed: seed, Step: step, Offset: step - current, Failures: failures}
		if before != nil && before.Seed == seed {
			if before.Failures == failures && before.Step == step {
				return *before, true // this very guess, looked at again
			}
			apart := d.Offset - before.Offset
			d.Sure = before.Failures == failures-1 && step > before.Step && -1 <= apart && apart <= 1
		}
		if d.Sure || !ok || abs(d.Offset) < abs(next.Offset) {
			next, ok = d, true
		}
		if d.Sure {
			break
		}
	}
	return next, ok
}

func abs(n int64) int64 { return max(n, -n) }

// Sentences that a person may see.
const (
	sayWrong    = "The code is not right."
	sayClosed   = "Too many wrong codes. Please try again later."
	sayDisabled = "Too many wrong codes. Only a recovery code or a reset by an admin helps now."
)

// refuseMalformed answers what cannot be a code, of an app or a recovery code. It is not counted: nothing was compared,
// so nothing was learnt. A closed factor says that it is closed, whatever was typed.
func refuseMalformed(s lockout.State, now time.Time) (result, *contract.Error) {
	if !s.Allowed(now) {
		return closed, refuseLocked(s, now)
	}
	left := s.LeftAt(now)
	e := contract.Refuse(contract.InvalidCode, sayWrong)
	e.AttemptsLeft, e.Reason = &left, contract.CodeMalformed
	return malformed, e
}

// refuseWrong answers a guess that was counted and is wrong.
func refuseWrong(s lockout.State, now time.Time) *contract.Error {
	e := contract.Refuse(contract.InvalidCode, sayWrong)
	left := s.Left()
	e.AttemptsLeft = &left
	if until, closed := s.LockedUntil(now); closed {
		e.Detail = sayDisabled
		if !s.Disabled() {
			e.Detail, e.LockedUntil = sayClosed, &until
		}
	}
	return e
}

// refuseLocked answers a guess that may not be counted, and therefore is not compared.
func refuseLocked(s lockout.State, now time.Time) *contract.Error {
	if s.Disabled() {
		return contract.Wait(contract.Locked, lockout.LongestWait, sayDisabled)
	}
	until, _ := s.LockedUntil(now)
	e := contract.Wait(contract.Locked, until.Sub(now), sayClosed)
	e.LockedUntil = &until
	return e
}

// lockOf is what a page may know of a count: nil while it is open.
func lockOf(s lockout.State, now time.Time) *contract.Lock {
	until, locked := s.LockedUntil(now)
	switch {
	case !locked:
		return nil
	case s.Disabled():
		return &contract.Lock{Failures: s.Failures}
	default:
		until = until.UTC()
		return &contract.Lock{Failures: s.Failures, Until: &until}
	}
}

// slot is where a document remembers a call: one of sixteen places, by the id. Remembering is bounded, and a call is
// forgotten only when a later one of the same person falls into its place. Forgetting is safe: a repeated call is
// then counted once more, and a spent code is a spent code.
func slot(call string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(call)) // a hash never fails
	return string(rune('a' + h.Sum32()%16))
}

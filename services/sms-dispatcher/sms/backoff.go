package sms

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Waits between two attempts at one message.
const (
	firstBackOff   = 500 * time.Millisecond
	longestBackOff = 8 * time.Second
)

// fullJitter draws each wait evenly from zero to a bound that doubles: many messages that failed together do not come
// back together. The library's own exponential back-off only spreads around its interval.
type fullJitter struct{ bound time.Duration }

var _ backoff.BackOff = (*fullJitter)(nil)

// NextBackOff returns the next wait; it never stops by itself.
func (f *fullJitter) NextBackOff() time.Duration {
	f.bound = min(max(firstBackOff, 2*f.bound), longestBackOff)
	return rand.N(f.bound) //nolint:gosec // spreading load needs no secret
}

// Reset starts again with the first wait.
func (f *fullJitter) Reset() { f.bound = 0 }

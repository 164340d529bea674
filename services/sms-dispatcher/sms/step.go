package sms

import (
	"time"

	"sallyport/pkg/contract"
)

const (
	// maxAttempts is how often SNS may be asked to send one message, whatever happens.
	maxAttempts = 3
	// lease is how long a worker has a challenge to itself: longer than a call, the wait after it and their writes.
	// Whoever holds one longer has crashed.
	lease = 20 * time.Second
)

// step is what a worker does next with a challenge.
type step int

const (
	// stepNothing: it has its outcome, or is in somebody else's hands.
	stepNothing step = iota
	// stepSend: reserve an attempt and make it.
	stepSend
	// stepEnd: write the outcome that comes with it.
	stepEnd
)

// ending is an outcome with its reason, and what it does to the code.
type ending struct {
	outcome   contract.Outcome
	reason    contract.FailureReason
	closed    closing
	messageID string
}

// next decides from the record alone. A worker that reserves or ends does so under the condition that the record is
// still the one decided from.
func next(c challenge, worker string, now time.Time) (step, ending) {
	switch {
	case c.ended():
		return stepNothing, ending{}
	case c.Worker != worker && now.Before(c.LeaseUntil):
		return stepNothing, ending{}
	case c.Closed == closedVerified:
		// Who typed the code has got it, whatever SNS's answer was.
		return stepEnd, ending{outcome: contract.OutcomeSent}
	case !now.Before(c.ExpiresAt):
		return stepEnd, ending{outcome: contract.OutcomeExpired, reason: contract.ReasonExpired, closed: closedExpired}
	case c.Attempts >= maxAttempts:
		// The code stays good: one of the attempts may have reached the phone.
		return stepEnd, ending{outcome: contract.OutcomeFailed, reason: contract.ReasonCarrier}
	default:
		return stepSend, ending{}
	}
}

// lateness says why a job is laid aside.
type lateness string

const (
	notLate     lateness = ""
	lateExpired lateness = "expired"
	lateWaited  lateness = "late"
)

// tooLate tells whether a job came too late to be worked on from the queue. Without an expiry it did not.
func tooLate(expires, now time.Time) lateness {
	switch {
	case expires.IsZero():
		return notLate
	case !now.Before(expires):
		return lateExpired
	case now.Sub(expires.Add(-codeLife)) >= grace:
		return lateWaited
	default:
		return notLate
	}
}

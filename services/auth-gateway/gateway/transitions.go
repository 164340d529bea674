package gateway

import (
	"time"

	"sallyport/pkg/contract"
)

// Status is where a sign-in stands.
type Status string

// The statuses of a sign-in. Complete and Relogin are ends.
const (
	// StatusEnroll: the password was right; a factor must be enrolled (or skipped, where policy allows).
	StatusEnroll Status = "enroll"
	// StatusChallenge: the password was right; a code is asked for.
	StatusChallenge Status = "challenge"
	// StatusRelogin: the number is confirmed; the person signs in again with password and code.
	StatusRelogin Status = "relogin"
	// StatusComplete: the person is in; the session was handed out with this answer.
	StatusComplete Status = "complete"
)

// step is something that happened to a sign-in after another service said so.
type step string

const (
	stepAllowed   step   = "allowed"   // policy asks for nothing
	stepEnroll    step   = "enroll"    // policy asks for an enrolment
	stepChallenge step   = "challenge" // policy asks for a code
	stepConfirmed step   = "confirmed" // the new factor is active and recorded
	stepReenter   step   = "reenter"   // the same, and the person must sign in again
	stepElsewhere step   = "elsewhere" // there is a factor by now, from another sign-in: the person must sign in again
	stepSkipped   step   = "skipped"   // policy remembered the skip
	stepVerified  step   = "verified"  // the code was right
	stepRecovered step   = "recovered" // a recovery code was spent, the old factor is dead
	stepNothing   step   = "nothing"   // data changed, the status did not
	statusNone    Status = ""          // before the password was checked
)

// transitions is the whole life of a sign-in. A session is made by arriving at complete, and by nothing else.
var transitions = map[Status]map[step]Status{
	statusNone: {
		stepAllowed:   StatusComplete,
		stepEnroll:    StatusEnroll,
		stepChallenge: StatusChallenge,
	},
	StatusEnroll: {
		stepConfirmed: StatusComplete,
		stepReenter:   StatusRelogin,
		stepElsewhere: StatusRelogin,
		stepSkipped:   StatusComplete,
		stepNothing:   StatusEnroll,
	},
	StatusChallenge: {
		stepVerified:  StatusComplete,
		stepRecovered: StatusEnroll,
		stepNothing:   StatusChallenge,
	},
}

// next returns the status after a step; ok is false where the table has no such way.
func next(from Status, s step) (to Status, ok bool) {
	to, ok = transitions[from][s]
	return to, ok
}

// firstStep is what a decision of policy-svc makes of a sign-in whose password was right. An action that is not known
// lets nobody in.
func firstStep(a contract.Action) (step, bool) {
	switch a {
	case contract.Allow:
		return stepAllowed, true
	case contract.Enroll:
		return stepEnroll, true
	case contract.Challenge:
		return stepChallenge, true
	}
	return "", false
}

// usable tells whether a sign-in may be acted upon now.
func usable(status Status, expiresAt, now time.Time) *contract.Error {
	switch {
	case status == StatusComplete || status == StatusRelogin:
		return contract.Refuse(contract.Conflict, "This sign-in is finished.")
	case !now.Before(expiresAt):
		return contract.Refuse(contract.Expired, "This sign-in took too long. Please start again.")
	}
	return nil
}

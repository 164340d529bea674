package sms

import (
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
)

// person is what is kept of one person: numbers, texts and guesses. Its _id is portal "/" user.
type person struct {
	ID string `bson:"_id"`
	// Epoch is the newest person generation heard of; everything older than it is gone from this document.
	Epoch int64 `bson:"epoch"`
	// Pending waits for its first right code; Active is the number that sign-ins are sent to.
	Pending *number `bson:"pending,omitempty"`
	Active  *number `bson:"active,omitempty"`
	// Guess counts typed codes over all challenges and doors.
	Guess lockout.State `bson:"guess"`
	// Calls are those whose guesses make up the count: their repetitions are not counted again.
	Calls map[string]time.Time `bson:"calls"`
	// Told is the guess (by its time) whose lock was told last.
	Told time.Time `bson:"told"`
	// Unlocked is the unlock that started the count again last.
	Unlocked string `bson:"unlocked,omitempty"`
	Sends    sends  `bson:"sends"`
	// Limited is the letter that told last that the person's limit was reached.
	Limited string `bson:"limited,omitempty"`
}

// number is one telephone number of a person.
type number struct {
	Enrolment string `bson:"enrolment"`
	// Ref is the challenge that brought the number. A code confirms and proves the number it was sent to, and no
	// other that took its place meanwhile.
	Ref   string         `bson:"ref"`
	Phone []byte         `bson:"phone"` // sealed
	Last4 string         `bson:"last4"`
	Epoch contract.Epoch `bson:"epoch"`
	Since time.Time      `bson:"since,omitempty"`
}

// state is how far a challenge's text message is.
type state string

const (
	// queued: nobody is sending it now.
	queued state = "queued"
	// sending: an attempt was reserved, and what became of it is not written yet.
	sending state = "sending"
	// The other states are the outcomes; a challenge has exactly one of them, once.
	stateSent       = state(contract.OutcomeSent)
	stateFailed     = state(contract.OutcomeFailed)
	stateExpired    = state(contract.OutcomeExpired)
	stateSuperseded = state(contract.OutcomeSuperseded)
)

// closing says why a challenge's code is no longer good for anything. It is erased by the same write.
type closing string

const (
	// stillOpen: the code may be typed until it expires.
	stillOpen        closing = ""
	closedVerified   closing = "verified"
	closedSuperseded closing = "superseded"
	closedExpired    closing = "expired"
)

// challenge is one text message and its code: how its delivery goes (State) and whether its code is good (Closed).
type challenge struct {
	ID         string           `bson:"_id"`
	Portal     string           `bson:"portal"`
	User       string           `bson:"user"`
	Order      string           `bson:"order"` // see orderOf
	Flow       string           `bson:"flow"`
	Purpose    contract.Purpose `bson:"purpose"`
	Enrolment  string           `bson:"enrolment"`
	Ref        string           `bson:"ref"`
	Phone      []byte           `bson:"phone,omitempty"` // sealed
	Last4      string           `bson:"last4"`
	PortalName string           `bson:"portal_name"`
	Host       string           `bson:"host"`
	// Region is the number's country, Meters are those that count the text as unanswered until it is settled.
	Region string   `bson:"region"`
	Meters []string `bson:"meters,omitempty"`
	// CountedAt is when the limits let the text through: the time under which it is counted.
	CountedAt time.Time `bson:"counted_at"`
	CreatedAt time.Time `bson:"created_at"`
	ExpiresAt time.Time `bson:"expires_at"`

	State  state                  `bson:"state"`
	Reason contract.FailureReason `bson:"reason"`
	// Attempts are the calls of SNS that count, Ambiguous those of them that may have been sent.
	Attempts  int `bson:"attempts"`
	Ambiguous int `bson:"ambiguous"`
	// Worker is who works on it, alone until LeaseUntil.
	Worker     string    `bson:"worker"`
	LeaseUntil time.Time `bson:"lease_until"`
	MessageID  string    `bson:"message_id,omitempty"`
	EndedAt    time.Time `bson:"ended_at,omitempty"`

	Closed closing `bson:"closed"`
	Code   []byte  `bson:"code,omitempty"` // sealed
	// Due is when the reconciler looks at it next, at the latest: nothing is forgotten, whatever becomes of the stream.
	Due time.Time `bson:"due"`
	// Settled is true once the challenge is over: ended, its code closed, and the outcome told.
	Settled bool `bson:"settled"`
	// ClaimedBy is the call that succeeded with the code, VerifiedAt when.
	ClaimedBy  string    `bson:"claimed_by,omitempty"`
	VerifiedAt time.Time `bson:"verified_at,omitempty"`
}

func (c challenge) account() contract.Account {
	return contract.Account{Portal: c.Portal, User: c.User}
}

func (c challenge) ended() bool { return c.State != queued && c.State != sending }

// budget counts the texts of one day; its _id is the date in UTC.
type budget struct {
	ID   string `bson:"_id"`
	Sent int    `bson:"sent"`
	// Told are the letters that told that it is spent, by themselves.
	Told map[string]string `bson:"told,omitempty"`
}

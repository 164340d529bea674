package fault

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sallyport/pkg/contract"
)

// Ledger is what everybody saw of a number of challenges. All times are of one host.
type Ledger struct {
	Told      []Told
	Closings  []Closing
	Handoffs  []Handoff
	Reserved  []Reservation
	Incidents []Incident
	Facts     []contract.ChallengeFact
	// Records are the challenges as the store has them at the end, Shown as an admin sees them.
	Records map[string]Record
	Shown   map[string]contract.DeliveryInfo
}

// Told is a challenge that a client was told about: the reply to its request had arrived At.
type Told struct {
	Challenge     string
	At, ExpiresAt time.Time
}

// Why says why no text may follow.
type Why string

// The ends of a challenge's life.
const (
	Expired    Why = "expired"
	Verified   Why = "verified"
	Superseded Why = "superseded"
)

// Closing is the end of a challenge's life as a client knows it: the reply that says so had arrived At.
type Closing struct {
	Challenge string
	Why       Why
	At        time.Time
}

// Answer says how the endpoint answered a request.
type Answer string

// The answers. Whether a text may have gone out is in [Answer.handed], whether the caller can know in [Answer.definite].
const (
	Accepted    Answer = "accepted"
	Error500    Answer = "500"
	Error503    Answer = "503"
	Hang        Answer = "hang"
	Reset       Answer = "reset"
	Cut         Answer = "cut" // the caller died first
	Throttled   Answer = "throttled"
	OptedOut    Answer = "opted out"
	Credentials Answer = "credentials"
	SpendLimit  Answer = "spend limit"
)

// handed: the number may have been texted.
func (a Answer) handed() bool {
	switch a {
	case Throttled, OptedOut, Credentials, SpendLimit:
		return false
	default:
		return true
	}
}

// definite: a caller that got this answer knows whether the number was texted.
func (a Answer) definite() bool { return a == Accepted || !a.handed() }

// Handoff is one complete Publish request that had reached the endpoint At: its last byte was read. It counts as handed
// over unless it was refused by a definite answer, whether or not the caller lived to read the answer.
type Handoff struct {
	Challenge, Code string
	// By is the process that asked: one life of one dispatcher.
	By           string
	At, Answered time.Time
	Answer       Answer
}

// Reservation is an attempt that the store has granted: asked for At, as seen on the way to the store.
type Reservation struct {
	Challenge, By string
	At            time.Time
}

// Incident is a time in which a process could not write down what it knew: killed, suspended, or held.
type Incident struct {
	By       string
	From, To time.Time // To is zero where it never ended
}

// Record is a challenge as the store has it.
type Record struct {
	ID        string                 `bson:"_id"`
	State     string                 `bson:"state"`
	Reason    contract.FailureReason `bson:"reason"`
	Closed    string                 `bson:"closed"`
	Attempts  int                    `bson:"attempts"`
	Ambiguous int                    `bson:"ambiguous"`
	EndedAt   time.Time              `bson:"ended_at"`
}

// ended tells whether the record has one of the four outcomes.
func (r Record) ended() bool {
	switch contract.Outcome(r.State) {
	case contract.OutcomeSent, contract.OutcomeFailed, contract.OutcomeExpired, contract.OutcomeSuperseded:
		return true
	default:
		return false
	}
}

const (
	// cap3 is how many hand-offs a challenge may have, whatever happens.
	cap3 = 3
	// underWay is the tolerance of I4: how long after its reservation a call may still arrive that was reserved before
	// the client heard that the challenge was over. A call cannot be taken back from the wire.
	underWay = 2 * time.Second
	// slow is how long an answer may take and still count as one that the caller has surely got.
	slow = time.Second
	// writes is how long a caller may need to write down what an answer said. Who is killed within it may not have.
	writes = 5 * time.Second
	// overdue is how long after its code has expired a challenge may still be without outcome.
	overdue = 30 * time.Second
)

// Complaint is a broken invariant.
type Complaint struct {
	Invariant, Challenge, What string
}

// String is the complaint as a test prints it.
func (c Complaint) String() string { return c.Invariant + ": " + c.Challenge + " " + c.What }

// Check returns every way in which the logs break I2, I3 or I4, in the order of the challenges' ids.
func (l Ledger) Check() []Complaint {
	c := l.byChallenge()
	var out []Complaint
	for _, id := range c.ids() {
		say := func(invariant, format string, args ...any) {
			out = append(out, Complaint{invariant, id, fmt.Sprintf(format, args...)})
		}
		for _, t := range c.told[id] {
			l.checkEnd(t, c, say)
		}
		l.checkCount(id, c, say)
		l.checkStale(id, c, say)
	}
	return out
}

type sayer func(invariant, format string, args ...any)

// checkEnd is I2: what a client was told about has one outcome, and everybody says the same.
func (l Ledger) checkEnd(t Told, c cases, say sayer) {
	id := t.Challenge
	r, ok := l.Records[id]
	switch {
	case !ok:
		say("I2", "is not in the store")
		return
	case !r.ended():
		say("I2", "has no outcome: it is %q", r.State)
		return
	case r.EndedAt.After(t.ExpiresAt.Add(overdue)):
		say("I2", "ended %v after its code had expired", r.EndedAt.Sub(t.ExpiresAt))
	}
	facts := distinct(c.facts[id])
	if len(facts) != 1 {
		say("I2", "has %d different facts; want 1", len(facts))
	}
	for _, f := range facts {
		if string(f.Outcome) != r.State || f.Reason != r.Reason {
			say("I2", "is %s (%s) in the store, and %s (%s) was told", r.State, r.Reason, f.Outcome, f.Reason)
		}
	}
	want := contract.DeliveryFailed
	if r.State == string(contract.OutcomeSent) {
		want = contract.DeliverySent
	}
	if s, ok := l.Shown[id]; !ok {
		say("I2", "is in no admin's list")
	} else if s.Delivery != want || s.Attempts != r.Attempts {
		say("I2", "is %s after %d attempts in the store, and shown as %s after %d", r.State, r.Attempts, s.Delivery, s.Attempts)
	}
	if r.State == string(contract.OutcomeSent) && len(c.handed[id]) == 0 {
		say("I2", "is said to be sent, and nobody was handed it")
	}
}

// distinct are the facts that say different things.
func distinct(facts []contract.ChallengeFact) []contract.ChallengeFact {
	var out []contract.ChallengeFact
	for _, f := range facts {
		if !slices.ContainsFunc(out, func(g contract.ChallengeFact) bool {
			return g.Outcome == f.Outcome && g.Reason == f.Reason && g.Attempts == f.Attempts
		}) {
			out = append(out, f)
		}
	}
	return out
}

// checkCount is I3: at most one hand-off more than there are ambiguous ones, at most three, each reserved before, all
// with one code. What is ambiguous is judged twice: by the store's own count, and by the logs alone.
func (l Ledger) checkCount(id string, c cases, say sayer) {
	handed := c.handed[id]
	if len(handed) > cap3 {
		say("I3", "was handed over %d times", len(handed))
	}
	if r, ok := l.Records[id]; ok {
		if len(handed) > 1+r.Ambiguous {
			say("I3", "was handed over %d times; the store knows of %d ambiguous outcomes", len(handed), r.Ambiguous)
		}
		if len(handed) > r.Attempts {
			say("I3", "was handed over %d times; the store counts %d attempts", len(handed), r.Attempts)
		}
	}
	for i, h := range handed {
		if h.Code == "" || h.Code != handed[0].Code {
			say("I3", "was handed over with another code the %s time", nth(i))
		}
		before := 0
		for _, r := range c.reserved[id] {
			if r.At.Before(h.At) {
				before++
			}
		}
		if before <= i {
			say("I3", "was handed over the %s time after %d reservations", nth(i), before)
		}
		if i > 0 && !l.ambiguous(handed[i-1]) {
			say("I3", "was handed over the %s time after an outcome that was clear: %s, %v before", nth(i), handed[i-1].Answer, h.At.Sub(handed[i-1].At))
		}
		if r := l.Records[id]; r.ended() && r.State != string(contract.OutcomeSuperseded) && h.At.After(r.EndedAt.Add(underWay)) {
			say("I3", "was handed over %v after it had its outcome", h.At.Sub(r.EndedAt))
		}
	}
}

// ambiguous tells by the logs whether the caller may not have known what became of a hand-off: it was given no
// definite answer, or late, or could not write it down.
func (l Ledger) ambiguous(h Handoff) bool {
	if !h.Answer.definite() || h.Answered.Sub(h.At) > slow {
		return true
	}
	return slices.ContainsFunc(l.Incidents, func(i Incident) bool {
		return i.By == h.By && i.From.Before(h.Answered.Add(writes)) && (i.To.IsZero() || i.To.After(h.At))
	})
}

// checkStale is I4: no hand-off begins after the challenge was expired, verified or superseded, but for the one call
// that was under way (see [underWay]).
func (l Ledger) checkStale(id string, c cases, say sayer) {
	for _, end := range c.closings[id] {
		for _, h := range c.handed[id] {
			if !h.At.After(end.At) {
				continue
			}
			if r, ok := last(c.reserved[id], h); ok && r.At.Before(end.At) && h.At.Sub(r.At) <= underWay {
				continue
			}
			say("I4", "was handed over %v after it was %s", h.At.Sub(end.At), end.Why)
		}
	}
}

// last is the reservation that a hand-off was made under.
func last(reserved []Reservation, h Handoff) (Reservation, bool) {
	for _, r := range slices.Backward(reserved) {
		if r.By == h.By && r.At.Before(h.At) {
			return r, true
		}
	}
	return Reservation{}, false
}

// cases are the logs by challenge, in the order of time.
type cases struct {
	told     map[string][]Told
	closings map[string][]Closing
	handed   map[string][]Handoff
	reserved map[string][]Reservation
	facts    map[string][]contract.ChallengeFact
}

func (l Ledger) byChallenge() cases {
	c := cases{
		told:     group(l.Told, func(t Told) (string, time.Time) { return t.Challenge, t.At }),
		closings: group(l.Closings, func(c Closing) (string, time.Time) { return c.Challenge, c.At }),
		reserved: group(l.Reserved, func(r Reservation) (string, time.Time) { return r.Challenge, r.At }),
		facts:    group(l.Facts, func(f contract.ChallengeFact) (string, time.Time) { return f.Challenge, f.At }),
	}
	c.handed = group(slices.DeleteFunc(slices.Clone(l.Handoffs), func(h Handoff) bool { return !h.Answer.handed() }),
		func(h Handoff) (string, time.Time) { return h.Challenge, h.At })
	for id, told := range c.told {
		c.closings[id] = append(c.closings[id], Closing{id, Expired, told[0].ExpiresAt})
	}
	return c
}

func group[T any](all []T, of func(T) (id string, at time.Time)) map[string][]T {
	out := make(map[string][]T)
	for _, one := range all {
		id, _ := of(one)
		out[id] = append(out[id], one)
	}
	for _, some := range out {
		slices.SortStableFunc(some, func(a, b T) int {
			_, at := of(a)
			_, bt := of(b)
			return at.Compare(bt)
		})
	}
	return out
}

// ids are all challenges that anybody has heard of.
func (c cases) ids() []string {
	all := make(map[string]bool)
	for id := range c.told {
		all[id] = true
	}
	for id := range c.handed {
		all[id] = true
	}
	out := make([]string, 0, len(all))
	for id := range all {
		out = append(out, id)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}

func nth(i int) string { return [...]string{"1st", "2nd", "3rd", "4th"}[min(i, 3)] }

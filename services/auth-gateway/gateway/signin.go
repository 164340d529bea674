package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
	"sallyport/pkg/trace"
)

const (
	// signInLife is how long a sign-in may take from the password to the end.
	signInLife = 10 * time.Minute
	// republishAfter is when a text message without an outcome is asked for again, while somebody waits.
	republishAfter = 3 * time.Second
)

// signIn is one journey from the right password to a session: one entry of the bucket, changed by compare-and-set
// along the transition table.
type signIn struct {
	ID        string    `json:"id"`
	Hash      []byte    `json:"hash"`
	Portal    string    `json:"portal"`
	User      string    `json:"user"`
	Who       profile   `json:"who"` // as it was when the password was checked
	Status    Status    `json:"status"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`

	Factor  contract.Factor `json:"factor,omitempty"`
	CanSkip bool            `json:"can_skip,omitempty"`
	Again   bool            `json:"again,omitempty"` // the person had a factor before
	// Enrolment is the one that is made here, or the living one that is asked for.
	Enrolment string         `json:"enrolment,omitempty"`
	Epoch     contract.Epoch `json:"epoch"`
	Label     string         `json:"label,omitempty"` // of the living factor
	// EnrolledAt is since when the factor counts with which the person proves who they are, by its owner's clock.
	EnrolledAt time.Time `json:"enrolled_at,omitzero"`
	Started    bool      `json:"started,omitempty"`

	// Of a text message.
	Challenge   string    `json:"challenge,omitempty"`
	Destination string    `json:"destination,omitempty"`
	ResendAt    time.Time `json:"resend_at,omitzero"`
	PublishedAt time.Time `json:"published_at,omitzero"`
	// CodeExpiresAt is when the code of that message does.
	CodeExpiresAt time.Time `json:"code_expires_at,omitzero"`
	// Resent tells that the person asked for another one to the same number.
	Resent bool `json:"resent,omitempty"`
	// Limited is the limit that refused the last one, LimitedUntil when it may let the next one through.
	Limited      contract.Reason `json:"limited,omitempty"`
	LimitedUntil time.Time       `json:"limited_until,omitzero"`

	// LockedUntil is when the factor opens that was closed by a code typed here. Locked tells that it was closed at any
	// time of this sign-in, or disabled.
	LockedUntil time.Time `json:"locked_until,omitzero"`
	Locked      bool      `json:"locked,omitempty"`
	// starts and locks tell that the next write is the one that sets Started, or Locked: whoever wrote it counts it.
	starts, locks bool

	// Unanswered are the codes typed here of which nobody knows what became.
	Unanswered unanswered `json:"unanswered,omitempty"`

	// Reset is when and why the person must enrol again, where that was not their own doing.
	Reset *contract.ResetNote `json:"reset,omitempty"`
	// CodesLeft is how many recovery codes are left after one was spent here; nil when none was.
	CodesLeft *int `json:"codes_left,omitempty"`
	// CanEnable is for the session; see there.
	CanEnable bool `json:"can_enable,omitempty"`

	// ReturnTo is the page first asked for: a path of ours.
	ReturnTo string `json:"return_to,omitempty"`

	// Door is set where the portal has checked the first factor.
	Door *doorway `json:"door,omitempty"`
	// Methods are how the person proved who they are, and CompletedAt when; of a sign-in that is complete.
	Methods     []string  `json:"amr,omitempty"`
	CompletedAt time.Time `json:"completed_at,omitzero"`
}

func (s signIn) account() contract.Account {
	return contract.Account{Portal: s.Portal, User: s.User}
}

// signIns runs sign-ins. Its methods are what the pages and the JSON API both call.
type signIns struct {
	kv        *bus.KV[signIn]
	bus       *bus.Bus
	accounts  accounts
	passwords *passwords
	guesses   *guesses
	sessions  *sessions
	seal      fieldSealer
	now       func() time.Time
	log       *slog.Logger
	// here is the portal that a request is for.
	here func(context.Context) (portal, error)
	// arrived is told of every session that is opened; it returns at once.
	arrived func(who contract.Account, at time.Time, news bool)
	counts  *metrics
}

// fieldSealer seals and opens the secret fields of messages.
type fieldSealer interface {
	SealField(plain secret.String, purpose string, who contract.Account) (contract.Sealed, error)
	OpenField(sealed contract.Sealed, purpose string, who contract.Account) (secret.String, error)
}

// outcome is what a step of a sign-in leads to: the sign-in as it is now, and when it is complete the session, once.
type outcome struct {
	signIn
	session *session
	token   secret.String // of the session
	// ticket is the browser's way in, once, of a sign-in that came through the portal door.
	ticket secret.String

	// Of the text message, when it was asked.
	delivery    contract.Delivery
	reason      contract.FailureReason
	requestedAt time.Time
	// paused is true while it is queued and nothing is sent.
	paused bool
	// Of the factor, when its owner was asked: lockedUntil is set when no code is taken before then, attemptsLeft how many
	// wrong ones are left before that; 0 where no time opens it.
	lockedUntil  *time.Time
	attemptsLeft *int
}

// begin checks e-mail address and password and asks policy what this person must do. Unknown address, wrong password
// and disabled account are the same refusal after the same time, and count the same.
func (f *signIns) begin(ctx context.Context, p portal, email string, password secret.String, returnTo string) (outcome, secret.String, error) {
	address, ok := canonicalEmail(email)
	if !ok {
		return outcome{}, secret.String{}, &contract.Error{Code: contract.InvalidRequest, Detail: "Please enter valid email.", Field: "email"}
	}
	if password.Empty() {
		return outcome{}, secret.String{}, &contract.Error{Code: contract.InvalidRequest, Detail: "Please enter password.", Field: "password"}
	}
	floor := f.passwords.floor(p.HashForms)
	begun := time.Now() // real time: how long it takes, to whoever measures it
	var u user
	right, err := f.guesses.try(ctx, p.ID, address, func() (bool, error) {
		var err error
		if u, err = f.accounts.byEmail(ctx, p.ID, address); err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		match, err := f.passwords.judge(ctx, u, p.HashForms, password)
		// A federated person has one door, which is not this one; whoever tries it learns nothing.
		return match && !u.Disabled && (!u.Federated || p.standsIn()), err
	})
	if err != nil || !right {
		f.passwords.even(ctx, begun, floor)
	}
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	if !right {
		return outcome{}, secret.String{}, contract.Refuse(contract.InvalidCredentials, "That email and password do not match.")
	}
	f.rehash(ctx, u, password)
	return f.enter(ctx, p, u, signIn{ReturnTo: returnTo})
}

// enter begins the sign-in of a person whose first factor was right; s says which way they came.
func (f *signIns) enter(ctx context.Context, p portal, u user, s signIn) (outcome, secret.String, error) {
	s.Portal, s.User, s.Who = p.ID, u.User, s.sees(u)
	d, err := f.decide(ctx, p.ID, s.Who)
	if err == nil {
		err = s.enrols(u, d)
	}
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	var token secret.String
	s.ID, token, s.Hash = newToken(signInToken)
	s.CreatedAt = f.now()
	s.ExpiresAt = s.CreatedAt.Add(signInLife)
	way, ok := firstStep(d.Action)
	if !ok {
		return outcome{}, secret.String{}, contract.Refuse(contract.InternalError, "Something went wrong on our side.")
	}
	s.follow(d)
	if s.Status, _ = next(statusNone, way); s.Status == StatusComplete {
		s.Methods, s.CompletedAt = []string{s.first()}, s.CreatedAt
	}
	ticket := s.issueTicket()
	revision, err := f.kv.Create(ctx, s.ID, s)
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	f.counts.begun(s)
	out := outcome{signIn: s}
	switch {
	case !ticket.Empty(): // what the person sees begins with their browser
		out.ticket = ticket
	case s.Status == StatusComplete:
		out, err = f.open(ctx, s, s.Methods)
	case s.Status == StatusChallenge && s.Factor == contract.FactorSMS:
		out, err = f.firstText(ctx, p, s, revision)
	}
	return out, token, err
}

// rehash gives an account whose hash was imported one of ours, at the first right password. What fails is done at the next.
func (f *signIns) rehash(ctx context.Context, u user, password secret.String) {
	if u.HashForm == "" {
		return
	}
	hash, err := f.passwords.hash(ctx, password)
	if err == nil {
		_, err = f.accounts.users.Update(ctx, u.ID, rehashing(u, hash))
	}
	if err != nil {
		f.log.Warn("imported password hash not replaced yet", slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx), slog.Any("error", err))
	}
}

// firstText sends the text message that a sign-in begins with. One that may not be sent yet does not end the sign-in: the
// page says when it may.
func (f *signIns) firstText(ctx context.Context, p portal, s signIn, revision uint64) (outcome, error) {
	now := f.now()
	out, err := f.text(ctx, p, s, revision, "")
	var refusal *contract.Error
	if errors.As(err, &refusal) {
		switch refusal.Code { //nolint:exhaustive // every other refusal is the caller's
		case contract.TooSoon, contract.RateLimited:
			out, err = f.look(ctx, f.noteLimit(ctx, s, revision, refusal))
			if err == nil && !out.ResendAt.After(now) {
				out.ResendAt = now.Add(time.Duration(refusal.RetryAfter) * time.Second)
			}
		case contract.Locked:
			out, err = outcome{signIn: s}, nil
			out.counted(&contract.Lock{Until: refusal.LockedUntil}, 0)
			f.noteLock(ctx, s, revision, refusal)
		}
	}
	return out, err
}

// follow takes over what a decision says.
func (s *signIn) follow(d contract.Decision) {
	s.Factor, s.CanSkip, s.Epoch = d.Factor, d.CanSkip, d.Epoch
	s.Enrolment, s.Label, s.EnrolledAt, s.Reset, s.CanEnable = "", "", time.Time{}, nil, canEnable(d, s.Who.Audience)
	switch d.Action { //nolint:exhaustive // nothing more to know when allowed
	case contract.Enroll:
		s.Enrolment, s.Reset = bus.NewID(), toldReset(d)
		s.Again = s.Again || s.Reset != nil
	case contract.Challenge:
		for _, i := range d.Factors {
			if i.Factor == d.Factor {
				s.Enrolment, s.Label, s.EnrolledAt = i.Enrolment, i.Label, i.Since
			}
		}
	}
}

// canEnable tells whether "Enable 2FA SMS" is for this person: a contact who may have a second factor, has none, and was
// let in without.
func canEnable(d contract.Decision, a contract.Audience) bool {
	return a == contract.Organization && d.Action == contract.Allow && d.MayEnroll && len(d.Factors) == 0
}

// toldReset is the reset that a person is told of: one that somebody else made.
func toldReset(d contract.Decision) *contract.ResetNote {
	if d.Reset != nil && (d.Reset.Cause == contract.ResetByAdmin || d.Reset.Cause == contract.ResetByOperator) {
		return d.Reset
	}
	return nil
}

// decide asks policy about a person. A Master Admin may enrol even where nobody else does: only who has a second factor
// may switch it on for others, so that a portal where it is off could never be switched on again.
func (f *signIns) decide(ctx context.Context, portalID string, who profile) (contract.Decision, error) {
	d, err := bus.Request(ctx, f.bus, contract.PolicyDecide, who.decideRequest(portalID))
	d.MayEnroll = d.MayEnroll || err == nil && who.MasterAdmin && !who.Federated
	return d, err
}

// still asks policy about a person once more: what counts now, where it was asked when this began.
func (f *signIns) still(ctx context.Context, portalID string, who profile) (contract.Decision, error) {
	req := who.decideRequest(portalID)
	req.Again = true
	return bus.Request(ctx, f.bus, contract.PolicyDecide, req)
}

// decideRequest asks policy about a person.
func (p profile) decideRequest(portalID string) contract.DecideRequest {
	return contract.DecideRequest{
		Account: contract.Account{Portal: portalID, User: p.ID}, Audience: p.Audience, Federated: p.Federated,
	}
}

// load returns the sign-in of a token, with the revision that the next write must meet. id is the one in the request,
// "" to take the token's.
func (f *signIns) load(ctx context.Context, id, token string) (signIn, uint64, error) {
	own, word, ok := parseToken(signInToken, token)
	if !ok {
		return signIn{}, 0, contract.Refuse(contract.Unauthenticated, "The token of this sign-in is needed.")
	}
	if id == "" {
		id = own
	}
	if !isID(id) {
		return signIn{}, 0, contract.Refuse(contract.NotFound, "There is no such sign-in.")
	}
	s, revision, err := f.kv.Get(ctx, id)
	if errors.Is(err, bus.ErrKeyNotFound) {
		return signIn{}, 0, contract.Refuse(contract.NotFound, "There is no such sign-in.")
	}
	if err != nil {
		return signIn{}, 0, err
	}
	if own != id || !sameToken(s.Hash, word) {
		return signIn{}, 0, contract.Refuse(contract.Unauthenticated, "The token of this sign-in is needed.")
	}
	// Begun at another portal, it goes on there: here it would speak in the name of this one (B36).
	if p, err := f.here(ctx); err != nil {
		return signIn{}, 0, err
	} else if p.ID != s.Portal {
		return signIn{}, 0, contract.Refuse(contract.NotFound, "There is no such sign-in.")
	}
	return s, revision, nil
}

// at loads a sign-in that stands at one of the given statuses and may be acted upon.
func (f *signIns) at(ctx context.Context, id, token string, want ...Status) (signIn, uint64, error) {
	s, revision, err := f.load(ctx, id, token)
	if err != nil {
		return signIn{}, 0, err
	}
	if refusal := usable(s.Status, s.ExpiresAt, f.now()); refusal != nil {
		return signIn{}, 0, refusal
	}
	for _, w := range want {
		if s.Status == w {
			return s, revision, nil
		}
	}
	return signIn{}, 0, contract.Refuse(contract.Conflict, "This sign-in is not at that step.")
}

var errWentOn = contract.Refuse(contract.Conflict, "This sign-in went on elsewhere. Please look again.")

// advance writes the sign-in's next status by compare-and-set. Of two writers one wins; the other is a conflict.
func (f *signIns) advance(ctx context.Context, s signIn, revision uint64, way step) (signIn, uint64, error) {
	to, ok := next(s.Status, way)
	if !ok {
		return signIn{}, 0, contract.Refuse(contract.Conflict, "This sign-in is not at that step.")
	}
	if s.Status = to; to == StatusComplete {
		s.CompletedAt = f.now()
	}
	revision, err := f.kv.Update(ctx, s.ID, s, revision)
	if errors.Is(err, bus.ErrKeyChanged) {
		return signIn{}, 0, errWentOn
	}
	if err == nil {
		f.counts.moved(s, way)
	}
	s.starts, s.locks = false, false
	return s, revision, err
}

// look returns a sign-in with what the owner of its factor knows: whether codes are taken, and how far its text message
// is. An expired one is a refusal.
func (f *signIns) look(ctx context.Context, s signIn) (outcome, error) {
	out := outcome{signIn: s}
	if s.Status == StatusComplete || s.Status == StatusRelogin {
		return out, nil
	}
	if refusal := usable(s.Status, s.ExpiresAt, f.now()); refusal != nil {
		return out, refusal
	}
	if s.Factor != contract.FactorSMS {
		return f.count(ctx, out), nil
	}
	if s.Status == StatusEnroll && s.Challenge == "" {
		return out, nil
	}
	r, err := bus.Request(ctx, f.bus, contract.SMSStatus, contract.SMSStatusRequest{Account: s.account(), Challenge: s.Challenge})
	if err != nil {
		return out, err
	}
	out.counted(r.Lock, r.AttemptsLeft)
	out.delivery, out.reason, out.requestedAt, out.ResendAt = r.Delivery, r.Reason, r.RequestedAt, r.ResendAt
	out.paused = r.Paused && r.Delivery == contract.DeliveryQueued
	if out.Destination == "" {
		out.Destination = r.Destination
	}
	if r.Delivery == contract.DeliveryQueued && f.now().Sub(s.PublishedAt) > republishAfter {
		f.publish(ctx, s.account(), s.Challenge, s.CodeExpiresAt) // somebody waits and there is no outcome: the job may be lost
	}
	return out, nil
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

const (
	// signInLife is how long a sign-in may take from the password to the end.
	signInLife = 10 * time.Minute
	// signInKept is how long a finished or expired sign-in can still be told from one that never was.
	signInKept = 30 * time.Minute
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
	Started   bool           `json:"started,omitempty"`

	// Of a text message.
	Challenge   string    `json:"challenge,omitempty"`
	Destination string    `json:"destination,omitempty"`
	ResendAt    time.Time `json:"resend_at,omitzero"`
	PublishedAt time.Time `json:"published_at,omitzero"`

	// LockedUntil is when the factor opens that was closed by a code typed here.
	LockedUntil time.Time `json:"locked_until,omitzero"`

	// ReturnTo is the page first asked for: a path of ours.
	ReturnTo string `json:"return_to,omitempty"`
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
	sessions  *sessions
	seal      fieldSealer
	now       func() time.Time
	log       *slog.Logger
	// arrived is told of every session that is opened; it returns at once.
	arrived func(contract.Account, time.Time)
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

	// Of the text message, when it was asked.
	delivery contract.Delivery
	reason   contract.FailureReason
	// lockedUntil is set when no code is taken now.
	lockedUntil *time.Time
}

// begin checks e-mail address and password and asks policy what this person must do. Unknown address, wrong password
// and disabled account are the same refusal after the same time.
func (f *signIns) begin(ctx context.Context, p portal, email string, password secret.String, returnTo string) (outcome, secret.String, error) {
	address, ok := canonicalEmail(email)
	if !ok {
		return outcome{}, secret.String{}, &contract.Error{Code: contract.InvalidRequest, Detail: "Please enter valid email.", Field: "email"}
	}
	if password.Empty() {
		return outcome{}, secret.String{}, &contract.Error{Code: contract.InvalidRequest, Detail: "Please enter password.", Field: "password"}
	}
	u, err := f.accounts.byEmail(ctx, p.ID, address)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return outcome{}, secret.String{}, err
	}
	match, err := f.passwords.match(ctx, u.Password, password)
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	// A federated person has one door, which is not this one; whoever tries it learns nothing.
	if !match || u.Disabled || u.Federated && !p.standsIn() {
		return outcome{}, secret.String{}, contract.Refuse(contract.InvalidCredentials, "That email and password do not match.")
	}
	d, err := f.decide(ctx, p.ID, profileOf(u))
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	id, token, hash := newToken(signInToken)
	now := f.now()
	s := signIn{
		ID: id, Hash: hash, Portal: p.ID, User: u.User, Who: profileOf(u), CreatedAt: now, ExpiresAt: now.Add(signInLife), ReturnTo: returnTo,
	}
	way, ok := firstStep(d.Action)
	if !ok {
		return outcome{}, secret.String{}, contract.Refuse(contract.InternalError, "Something went wrong on our side.")
	}
	s.follow(d)
	s.Status, _ = next(statusNone, way)
	revision, err := f.kv.Create(ctx, id, s)
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	out := outcome{signIn: s}
	switch {
	case s.Status == StatusComplete:
		out, err = f.open(ctx, s, []string{"pwd"})
	case s.Status == StatusChallenge && s.Factor == contract.FactorSMS:
		out, err = f.text(ctx, p, s, revision, "")
		// A text that may not be sent yet does not end the sign-in: the page says when it may.
		var refusal *contract.Error
		if errors.As(err, &refusal) {
			switch refusal.Code { //nolint:exhaustive // every other refusal is the caller's
			case contract.TooSoon, contract.RateLimited:
				out, err = f.look(ctx, s)
				if err == nil && !out.ResendAt.After(now) {
					out.ResendAt = now.Add(time.Duration(refusal.RetryAfter) * time.Second)
				}
			case contract.Locked:
				out.signIn, out.lockedUntil, err = s, refusal.LockedUntil, nil
				f.noteLock(ctx, s, revision, refusal)
			}
		}
	}
	return out, token, err
}

// follow takes over what a decision says.
func (s *signIn) follow(d contract.Decision) {
	s.Factor, s.CanSkip, s.Epoch = d.Factor, d.CanSkip, d.Epoch
	s.Enrolment, s.Label = "", ""
	switch d.Action { //nolint:exhaustive // nothing more to know when allowed
	case contract.Enroll:
		s.Enrolment = bus.NewID()
	case contract.Challenge:
		for _, i := range d.Factors {
			if i.Factor == d.Factor {
				s.Enrolment, s.Label = i.Enrolment, i.Label
			}
		}
	}
}

func (f *signIns) decide(ctx context.Context, portalID string, who profile) (contract.Decision, error) {
	return bus.Request(ctx, f.bus, contract.PolicyDecide, who.decideRequest(portalID))
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
	s.Status = to
	revision, err := f.kv.Update(ctx, s.ID, s, revision)
	if errors.Is(err, bus.ErrKeyChanged) {
		return signIn{}, 0, errWentOn
	}
	return s, revision, err
}

// open hands out the session of a sign-in that is complete. Only who moved it there (or created it there) calls this.
// The account is looked at once more: who was disabled, or lost rights, since the password was checked gets no session
// that says otherwise.
func (f *signIns) open(ctx context.Context, s signIn, methods []string) (outcome, error) {
	u, err := f.accounts.byID(ctx, s.account())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return outcome{}, err
	}
	if err != nil || u.Disabled || u.Deleted {
		return outcome{}, contract.Refuse(contract.Expired, "This sign-in is over. Please sign in again.")
	}
	s.Who = profileOf(u)
	f.arrived(s.account(), f.now())
	v, token, err := f.sessions.create(ctx, s.Portal, s.Who, methods)
	if err != nil {
		return outcome{}, err
	}
	return outcome{signIn: s, session: &v, token: token}, nil
}

// finish moves a sign-in to its end and opens the session if that end is complete.
func (f *signIns) finish(ctx context.Context, s signIn, revision uint64, way step, methods []string) (outcome, error) {
	moved, _, err := f.advance(ctx, s, revision, way)
	for errors.Is(err, errWentOn) {
		// A code that was right is spent: that a wrong one beside it left a note must not cost the person theirs.
		now, latest, readErr := f.kv.Get(ctx, s.ID)
		if readErr != nil || now.Status != s.Status || now.Enrolment != s.Enrolment || now.Challenge != s.Challenge {
			return outcome{}, err
		}
		moved, _, err = f.advance(ctx, now, latest, way)
	}
	if err != nil {
		return outcome{}, err
	}
	if moved.Status != StatusComplete {
		return outcome{signIn: moved}, nil
	}
	return f.open(ctx, moved, methods)
}

// look returns a sign-in with the state of its text message. An expired one is a refusal.
func (f *signIns) look(ctx context.Context, s signIn) (outcome, error) {
	out := outcome{signIn: s}
	if s.LockedUntil.After(f.now()) {
		out.lockedUntil = &s.LockedUntil
	}
	if s.Status == StatusComplete || s.Status == StatusRelogin {
		return out, nil
	}
	if refusal := usable(s.Status, s.ExpiresAt, f.now()); refusal != nil {
		return out, refusal
	}
	if s.Factor != contract.FactorSMS || s.Status == StatusEnroll && s.Challenge == "" {
		return out, nil
	}
	r, err := bus.Request(ctx, f.bus, contract.SMSStatus, contract.SMSStatusRequest{Account: s.account(), Challenge: s.Challenge})
	if err != nil {
		return out, err
	}
	out.delivery, out.reason, out.ResendAt = r.Delivery, r.Reason, r.ResendAt
	if out.Destination == "" {
		out.Destination = r.Destination
	}
	if r.Delivery == contract.DeliveryQueued && f.now().Sub(s.PublishedAt) > republishAfter {
		f.publish(ctx, s) // somebody waits and there is no outcome: the job may be lost
	}
	return out, nil
}

// publish asks for a challenge's text message. A failure is logged only: the challenge is written, and sms-dispatcher
// finds it without the event.
func (f *signIns) publish(ctx context.Context, s signIn) {
	err := bus.Publish(ctx, f.bus, contract.ChallengeRequested, "challenge-"+s.Challenge, contract.ChallengeRequest{Account: s.account(), Challenge: s.Challenge})
	if err != nil {
		f.log.Warn("challenge not published", slog.String("challenge", s.Challenge), slog.Any("error", err))
	}
}

// text opens a challenge by text message, notes it in the sign-in and publishes it, in this order. phone is what the
// person typed, for an enrolment's first message.
func (f *signIns) text(ctx context.Context, p portal, s signIn, revision uint64, phone string) (outcome, error) {
	purpose := contract.ForSignIn
	if s.Status == StatusEnroll {
		purpose = contract.ForEnrolment
	}
	req := contract.SMSOpenRequest{
		Account: s.account(), Challenge: bus.NewID(), Flow: s.ID, Purpose: purpose, Enrolment: s.Enrolment, Epoch: s.Epoch,
		PortalName: p.Name, Host: hostOf(p.PublicURL),
	}
	if phone != "" {
		sealed, err := f.seal.SealField(secret.New(phone), contract.PurposePhone, s.account())
		if err != nil {
			return outcome{}, err
		}
		req.Phone = sealed
	}
	r, err := bus.Request(ctx, f.bus, contract.SMSOpen, req)
	if err != nil {
		return outcome{}, err
	}
	s.Challenge, s.Destination, s.ResendAt, s.PublishedAt = req.Challenge, r.Destination, r.ResendAt, f.now()
	if s, _, err = f.advance(ctx, s, revision, stepNothing); err != nil {
		return outcome{}, err
	}
	f.publish(ctx, s)
	return outcome{signIn: s, delivery: contract.DeliveryQueued}, nil
}

// hostOf is the host of a URL without its port: what the last line of a text message is bound to.
func hostOf(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// seed is what an enrolment page shows of an authenticator's secret.
type seed struct {
	uri secret.String
	key secret.String
}

// startTOTP shows the secret of the enrolment; the same one until it is confirmed.
func (f *signIns) startTOTP(ctx context.Context, p portal, id, token string) (signIn, seed, error) {
	s, revision, err := f.at(ctx, id, token, StatusEnroll)
	if err != nil {
		return signIn{}, seed{}, err
	}
	if s.Factor != contract.FactorTOTP {
		return signIn{}, seed{}, wrongFactor(s.Factor)
	}
	if _, err := f.unenrolled(ctx, s, revision); err != nil {
		return signIn{}, seed{}, err
	}
	r, err := bus.Request(ctx, f.bus, contract.TOTPBegin, contract.TOTPBeginRequest{
		Account: s.account(), Enrolment: s.Enrolment, Issuer: p.Name, Label: s.Who.Email, Epoch: s.Epoch,
	})
	if err != nil {
		return signIn{}, seed{}, err
	}
	uri, err := f.seal.OpenField(r.URI, contract.PurposeSeed, s.account())
	if err != nil {
		return signIn{}, seed{}, err
	}
	parsed, err := url.Parse(uri.Reveal())
	if err != nil {
		return signIn{}, seed{}, errors.New("totp-svc sent a key URI that does not parse")
	}
	if s, err = f.started(ctx, s, revision); err != nil {
		return signIn{}, seed{}, err
	}
	return s, seed{uri: uri, key: secret.New(parsed.Query().Get("secret"))}, nil
}

// unenrolled makes sure that the person still has no factor. Of an enrolling sign-in only the password is known, which
// must never replace a factor; so where there is one by now, the sign-in is over and the person signs in again. own
// tells that it is the factor of this very sign-in, whose confirmation was answered by nobody.
func (f *signIns) unenrolled(ctx context.Context, s signIn, revision uint64) (own bool, err error) {
	d, err := f.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return false, err
	}
	for _, living := range d.Factors {
		if living.Factor == s.Factor {
			if _, _, err := f.advance(ctx, s, revision, stepReenter); err != nil {
				return false, err
			}
			return living.Enrolment == s.Enrolment, contract.Refuse(contract.Conflict, "Your second factor is set up. Please sign in again.")
		}
	}
	return false, nil
}

// started tells once that somebody began to enrol.
func (f *signIns) started(ctx context.Context, s signIn, revision uint64) (signIn, error) {
	if s.Started {
		return s, nil
	}
	s.Started = true
	s, _, err := f.advance(ctx, s, revision, stepNothing)
	if err != nil {
		return signIn{}, err
	}
	f.tellStarted(ctx, s)
	return s, nil
}

func (f *signIns) tellStarted(ctx context.Context, s signIn) {
	err := bus.Publish(ctx, f.bus, contract.EnrolmentStarted, "started-"+s.Enrolment, contract.EnrolmentFact{
		Account: s.account(), FactorInfo: contract.FactorInfo{Factor: s.Factor, Enrolment: s.Enrolment, Since: f.now()}, Epoch: s.Epoch,
	})
	if err != nil {
		f.log.Warn("enrolment start not published", slog.Any("error", err))
	}
}

func wrongFactor(want contract.Factor) error {
	name := "an authenticator app"
	if want == contract.FactorSMS {
		name = "a text message"
	}
	return &contract.Error{Code: contract.InvalidRequest, Detail: "Your account is protected with " + name + ".", Field: "factor"}
}

// startSMS sends a code to a number that is to be enrolled.
func (f *signIns) startSMS(ctx context.Context, p portal, id, token, phone string) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusEnroll)
	if err != nil {
		return outcome{}, err
	}
	if s.Factor != contract.FactorSMS {
		return outcome{}, wrongFactor(s.Factor)
	}
	if strings.TrimSpace(phone) == "" {
		return outcome{}, &contract.Error{Code: contract.InvalidRequest, Detail: "Please enter a mobile number.", Field: "phone"}
	}
	if _, err := f.unenrolled(ctx, s, revision); err != nil {
		return outcome{}, err
	}
	first := !s.Started
	s.Started = true
	out, err := f.text(ctx, p, s, revision, phone)
	if err == nil && first {
		f.tellStarted(ctx, out.signIn)
	}
	return out, err
}

// sealCode seals a typed code for the service that compares it.
func (f *signIns) sealCode(code secret.String, who contract.Account) (contract.Sealed, error) {
	return f.seal.SealField(code, contract.PurposeTypedCode, who)
}

// confirm takes the code that proves a new factor, makes the enrolment count, and then moves the sign-in on.
func (f *signIns) confirm(ctx context.Context, p portal, id, token string, code secret.String, label string) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusEnroll)
	if err != nil {
		return outcome{}, err
	}
	if own, err := f.unenrolled(ctx, s, revision); own {
		s.Status = StatusRelogin
		return outcome{signIn: s}, nil
	} else if err != nil {
		return outcome{}, err
	}
	sealed, err := f.sealCode(code, s.account())
	if err != nil {
		return outcome{}, err
	}
	var c contract.Confirmation
	way, methods := stepConfirmed, []string{"pwd", "otp"}
	switch s.Factor {
	case contract.FactorTOTP:
		c, err = bus.Request(ctx, f.bus, contract.TOTPConfirm, contract.TOTPConfirmRequest{Account: s.account(), Enrolment: s.Enrolment, Code: sealed, Label: label})
		switch contract.CodeOf(err) { //nolint:exhaustive // every other refusal is the person's to see
		case contract.Conflict:
			// Active already, and its answer was lost before policy-svc heard of it. The person has a factor now, and
			// proves it by signing in.
			return f.finish(ctx, s, revision, stepReenter, nil)
		case contract.NotFound:
			return outcome{}, contract.Refuse(contract.Conflict, "This QR code was replaced on another device. Please scan the new one.")
		}
	case contract.FactorSMS:
		if s.Challenge == "" {
			return outcome{}, contract.Refuse(contract.Conflict, "No code has been sent yet.")
		}
		c, err = bus.Request(ctx, f.bus, contract.SMSConfirm, contract.SMSConfirmRequest{Account: s.account(), Challenge: s.Challenge, Flow: s.ID, Enrolment: s.Enrolment, Code: sealed})
		methods = []string{"pwd", "sms"}
		if !p.SMSWithoutRelogin {
			way = stepReenter
		}
	}
	if err != nil {
		f.noteLock(ctx, s, revision, err)
		return outcome{}, err
	}
	// Recorded before the person is told: an enrolment that nobody counts would let a stranger with the password
	// enrol again. Should this process die here, the confirming service's own event records it.
	record := contract.RecordRequest{Account: s.account(), FactorInfo: c.FactorInfo, Epoch: c.Epoch}
	if _, err := bus.Request(ctx, f.bus, contract.PolicyRecord, record); err != nil {
		return outcome{}, err
	}
	if err := f.sessions.endOthers(ctx, s.account(), ""); err != nil {
		return outcome{}, err
	}
	return f.finish(ctx, s, revision, way, methods)
}

// skip remembers that the person declined to enrol, where policy allows it.
func (f *signIns) skip(ctx context.Context, id, token string) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusEnroll)
	if err != nil {
		return outcome{}, err
	}
	if !s.CanSkip {
		return outcome{}, contract.Refuse(contract.Forbidden, "Your portal asks you to set this up.")
	}
	if _, err := bus.Request(ctx, f.bus, contract.PolicySkip, contract.SkipRequest{DecideRequest: s.Who.decideRequest(s.Portal)}); err != nil {
		return outcome{}, err
	}
	return f.finish(ctx, s, revision, stepSkipped, []string{"pwd"})
}

// resend sends a new code, which kills the one before. The server says when it may.
func (f *signIns) resend(ctx context.Context, p portal, id, token string) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusEnroll, StatusChallenge)
	if err != nil {
		return outcome{}, err
	}
	if s.Factor != contract.FactorSMS || s.Status == StatusEnroll && s.Challenge == "" {
		return outcome{}, contract.Refuse(contract.Conflict, "There is no text message to send again.")
	}
	return f.text(ctx, p, s, revision, "")
}

// verify takes the code of a challenge.
func (f *signIns) verify(ctx context.Context, id, token string, code secret.String) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusChallenge)
	if err != nil {
		return outcome{}, err
	}
	method, err := f.check(ctx, s.account(), s.Factor, s.Enrolment, textChallenge{s.Challenge, s.ID, contract.ForSignIn}, code)
	if err != nil {
		f.noteLock(ctx, s, revision, err)
		return outcome{}, err
	}
	return f.finish(ctx, s, revision, stepVerified, []string{"pwd", method})
}

// noteLock keeps in the sign-in until when its factor is closed, so that the page still says so when it is opened
// again. Who decides is the factor's owner; this only shows, and a lost race or a fault shows nothing.
func (f *signIns) noteLock(ctx context.Context, s signIn, revision uint64, refusal error) {
	var e *contract.Error
	if !errors.As(refusal, &e) || e.LockedUntil == nil || e.LockedUntil.Equal(s.LockedUntil) {
		return
	}
	s.LockedUntil = *e.LockedUntil
	if _, _, err := f.advance(ctx, s, revision, stepNothing); err != nil {
		f.log.Debug("lock not noted", slog.Any("error", err))
	}
}

// textChallenge names the text message whose code is typed.
type textChallenge struct {
	challenge, flow string
	purpose         contract.Purpose
}

// check asks the owner of a factor about a code, for every door alike, and returns the method's name for the session.
func (f *signIns) check(ctx context.Context, who contract.Account, factor contract.Factor, enrolment string, text textChallenge, code secret.String) (string, error) {
	sealed, err := f.sealCode(code, who)
	if err != nil {
		return "", err
	}
	switch factor {
	case contract.FactorTOTP:
		_, err = bus.Request(ctx, f.bus, contract.TOTPVerify, contract.TOTPVerifyRequest{Account: who, Enrolment: enrolment, Code: sealed})
		return "otp", err
	case contract.FactorSMS:
		if text.challenge == "" {
			return "", contract.Refuse(contract.Conflict, "No code has been sent yet.")
		}
		_, err = bus.Request(ctx, f.bus, contract.SMSVerify, contract.SMSVerifyRequest{Account: who, Challenge: text.challenge, Flow: text.flow, Purpose: text.purpose, Code: sealed})
		return "sms", err
	}
	return "", contract.Refuse(contract.Forbidden, "There is no second factor on this account.")
}

// recoverWith spends a recovery code: the old factor is dead, every session ends, and enrolment starts at once.
func (f *signIns) recoverWith(ctx context.Context, id, token string, code secret.String) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusChallenge)
	if err != nil {
		return outcome{}, err
	}
	sealed, err := f.sealCode(code, s.account())
	if err != nil {
		return outcome{}, err
	}
	r, err := bus.Request(ctx, f.bus, contract.TOTPRecover, contract.RecoverRequest{Account: s.account(), Code: sealed})
	if err != nil {
		return outcome{}, err
	}
	// Should this process die here, totp-svc's own event resets the person.
	reset := contract.ResetRequest{Account: s.account(), Reset: "recovery-" + r.Recovery, Actor: "recovery", Reason: "recovery code used"}
	if _, err := bus.Request(ctx, f.bus, contract.PolicyReset, reset); err != nil {
		return outcome{}, err
	}
	if err := f.sessions.endOthers(ctx, s.account(), ""); err != nil {
		return outcome{}, err
	}
	d, err := f.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return outcome{}, err
	}
	s.Challenge, s.Destination, s.ResendAt, s.Started, s.Again = "", "", time.Time{}, false, true
	s.follow(d)
	if d.Action != contract.Enroll {
		// Policy no longer requires a factor of this person; who recovered one enrols all the same.
		s.Enrolment, s.Factor = bus.NewID(), factorOf(s.Who.Audience)
	}
	s.CanSkip = false // this journey is about a new factor; who wants none may decline at a later sign-in, where policy lets them
	s, _, err = f.advance(ctx, s, revision, stepRecovered)
	return outcome{signIn: s}, err
}

func factorOf(a contract.Audience) contract.Factor {
	if a == contract.Internal {
		return contract.FactorTOTP
	}
	return contract.FactorSMS
}

// openCodes takes fresh recovery codes out of their envelope.
func (f *signIns) openCodes(sealed contract.Sealed, who contract.Account) ([]string, error) {
	plain, err := f.seal.OpenField(sealed, contract.PurposeRecoveryCodes, who)
	if err != nil {
		return nil, err
	}
	var codes []string
	if err := json.Unmarshal([]byte(plain.Reveal()), &codes); err != nil {
		return nil, errors.New("totp-svc sent recovery codes that do not decode")
	}
	return codes, nil
}

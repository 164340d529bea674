package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// This file answers: how does a person prove the factor they have?

// publish asks for a challenge's text message; expires is when its code does. A failure is logged only: the challenge
// is written, and sms-dispatcher finds it without the event.
func (f *signIns) publish(ctx context.Context, who contract.Account, challenge string, expires time.Time) {
	job := contract.ChallengeRequest{Account: who, Challenge: challenge, ExpiresAt: expires}
	if err := bus.Publish(ctx, f.bus, contract.ChallengeRequested, "challenge-"+challenge, job); err != nil {
		f.log.Warn("challenge not published", slog.String("challenge", challenge), slog.Any("error", err))
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
		PortalName: p.Name, Host: hostOf(p.PublicURL), Network: s.network(ctx),
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
	resent, at := s.Challenge != "" && phone == "", f.now()
	s, err = f.noteText(ctx, s, revision, r.ExpiresAt, func(s *signIn) {
		s.Challenge, s.Destination, s.ResendAt, s.PublishedAt, s.CodeExpiresAt = req.Challenge, r.Destination, r.ResendAt, at, r.ExpiresAt
		s.Resent, s.Limited, s.LimitedUntil = resent, "", time.Time{}
	})
	if err != nil {
		return outcome{}, err
	}
	f.publish(ctx, s.account(), s.Challenge, s.CodeExpiresAt)
	out := outcome{signIn: s, delivery: contract.DeliveryQueued}
	out.counted(nil, r.AttemptsLeft)
	return out, nil
}

// noteTries is how often a text message that is open is written into a sign-in that others change.
const noteTries = 5

// noteText writes a text message that was opened into its sign-in. Opening it killed the one before, so a change that
// came between must not leave the sign-in with the dead one: the message is noted in what that change left, as long as
// the sign-in still asks for the same factor, and no newer message stands there.
func (f *signIns) noteText(ctx context.Context, s signIn, revision uint64, expires time.Time, note func(*signIn)) (signIn, error) {
	now := s
	for try := 1; ; try++ {
		note(&now)
		moved, _, err := f.advance(ctx, now, revision, stepNothing)
		if !errors.Is(err, errWentOn) || try == noteTries {
			return moved, err
		}
		var readErr error
		now, revision, readErr = f.kv.Get(ctx, s.ID)
		if readErr != nil || now.Status != s.Status || now.Factor != s.Factor || now.Enrolment != s.Enrolment || now.CodeExpiresAt.After(expires) {
			return signIn{}, err
		}
		now.starts = s.starts && !now.Started
		now.Started = now.Started || s.Started
	}
}

// hostOf is the host of a URL without its port: what the last line of a text message is bound to.
func hostOf(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
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
	out, err := f.text(ctx, p, s, revision, "")
	f.noteLimit(ctx, s, revision, err)
	return out, err
}

// sealCode seals a typed code for the service that compares it.
func (f *signIns) sealCode(code secret.String, who contract.Account) (contract.Sealed, error) {
	return f.seal.SealField(code, contract.PurposeTypedCode, who)
}

// verify takes the code of a challenge.
func (f *signIns) verify(ctx context.Context, id, token string, code secret.String) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusChallenge)
	if err != nil {
		return outcome{}, err
	}
	asking, call, s, revision, err := f.asking(ctx, s, revision, code)
	if err != nil {
		return outcome{}, err
	}
	method, err := f.check(asking, s.account(), s.Factor, s.Enrolment, textChallenge{s.Challenge, s.ID, contract.ForSignIn}, code)
	if err != nil {
		f.noteLock(ctx, s, revision, err)
		f.noteUnanswered(ctx, s, revision, call, code, err)
		return outcome{}, err
	}
	out, err := f.finish(ctx, s, revision, stepVerified, []string{s.first(), method})
	// The code is spent, and the sign-in has not gone on: typed again, it is right again.
	f.noteUnanswered(ctx, s, revision, call, code, err)
	return out, err
}

// noteLock keeps in the sign-in until when its factor is closed, so that the page still says so when it is opened
// again. Who decides is the factor's owner; this only shows, and a lost race or a fault shows nothing.
func (f *signIns) noteLock(ctx context.Context, s signIn, revision uint64, refusal error) {
	var e *contract.Error
	if !errors.As(refusal, &e) || !tellsOfLock(e) {
		return
	}
	until := s.LockedUntil
	if e.LockedUntil != nil {
		until = *e.LockedUntil
	}
	if s.Locked && until.Equal(s.LockedUntil) {
		return
	}
	s.locks = !s.Locked
	s.LockedUntil, s.Locked = until, true
	if _, _, err := f.advance(ctx, s, revision, stepNothing); err != nil {
		f.log.Debug("lock not noted", slog.Any("error", err))
	}
}

// count asks the owner of an authenticator that waits for a code how many wrong ones are left, and whether it is closed:
// an admin may have opened it since that was noted. It only shows; where nobody answers, what was noted has to do.
func (f *signIns) count(ctx context.Context, o outcome) outcome {
	if o.Factor != contract.FactorTOTP || o.Status != StatusChallenge && (o.Status != StatusEnroll || !o.Started) {
		return o
	}
	r, err := bus.Request(ctx, f.bus, contract.TOTPStatus, contract.StatusRequest{Account: o.account()})
	switch {
	case err == nil:
		o.counted(r.Lock, r.AttemptsLeft)
	case o.LockedUntil.After(f.now()):
		o.lockedUntil = &o.LockedUntil
	}
	return o
}

// counted takes over what the owner of a factor says of it: until when it is closed, or how many wrong codes are left. One
// that does not say how many is older than the question.
func (o *outcome) counted(lock *contract.Lock, left int) {
	switch {
	case lock != nil && lock.Until != nil:
		o.lockedUntil = lock.Until
	case lock != nil || left > 0:
		o.attemptsLeft = &left
	}
}

// tellsOfLock tells whether a refusal says that a factor is closed, or that this code has closed it.
func tellsOfLock(e *contract.Error) bool {
	return e.Code == contract.Locked || e.LockedUntil != nil || e.Code == contract.InvalidCode && e.AttemptsLeft != nil && *e.AttemptsLeft == 0
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
		return "otp", noteCode(ctx, f.log, who, "otp", err)
	case contract.FactorSMS:
		if text.challenge == "" {
			return "", contract.Refuse(contract.Conflict, "No code has been sent yet.")
		}
		_, err = bus.Request(ctx, f.bus, contract.SMSVerify, contract.SMSVerifyRequest{Account: who, Challenge: text.challenge, Flow: text.flow, Purpose: text.purpose, Code: sealed})
		return "sms", noteCode(ctx, f.log, who, "sms", err)
	}
	return "", contract.Refuse(contract.Forbidden, "There is no second factor on this account.")
}

// recoverWith spends a recovery code: the old factor is dead, every session ends, and enrolment starts at once.
func (f *signIns) recoverWith(ctx context.Context, id, token string, code secret.String) (outcome, error) {
	s, revision, err := f.at(ctx, id, token, StatusChallenge)
	if err != nil {
		return outcome{}, err
	}
	asking, call, s, revision, err := f.asking(ctx, s, revision, code)
	if err != nil {
		return outcome{}, err
	}
	out, err := f.recovered(ctx, asking, s, revision, code)
	f.noteUnanswered(ctx, s, revision, call, code, err)
	return out, err
}

// recovered is recoverWith for a sign-in that was looked at; asking is for the call that spends the code. All of it may be
// done again under the same call, from wherever it was cut off.
func (f *signIns) recovered(ctx, asking context.Context, s signIn, revision uint64, code secret.String) (outcome, error) {
	sealed, err := f.sealCode(code, s.account())
	if err != nil {
		return outcome{}, err
	}
	d, err := f.still(ctx, s.Portal, s.Who)
	if err != nil {
		return outcome{}, err
	}
	// Asked under what counts now, and not when the sign-in began: codes of before off and on must not kill what was
	// enrolled since.
	r, err := bus.Request(asking, f.bus, contract.TOTPRecover, contract.RecoverRequest{Account: s.account(), Code: sealed, Epoch: d.Epoch})
	if err != nil {
		return outcome{}, noteCode(ctx, f.log, s.account(), "recovery", err)
	}
	// Should this process die here, totp-svc's own event resets the person.
	reset := contract.ResetRequest{Account: s.account(), Reset: "recovery-" + r.Recovery, Actor: "recovery", Cause: contract.ResetByRecovery, Reason: "recovery code used"}
	if _, err := bus.Request(ctx, f.bus, contract.PolicyReset, reset); err != nil {
		return outcome{}, err
	}
	if err := f.sessions.endOthers(ctx, s.account(), ""); err != nil {
		return outcome{}, err
	}
	if d, err = f.decide(ctx, s.Portal, s.Who); err != nil {
		return outcome{}, err
	}
	s.Challenge, s.Destination, s.ResendAt, s.Started, s.Again = "", "", time.Time{}, false, true
	s.Resent, s.Limited, s.LimitedUntil = false, "", time.Time{}
	s.follow(d)
	if d.Action != contract.Enroll {
		// Policy no longer requires a factor of this person; who recovered one enrols all the same.
		s.Enrolment, s.Factor = bus.NewID(), factorOf(s.Who.Audience)
	}
	s.CodesLeft = &r.CodesLeft
	s.CanSkip = false // this journey is about a new factor; who wants none may decline at a later sign-in, where policy lets them
	s, _, err = f.advance(ctx, s, revision, stepRecovered)
	return outcome{signIn: s}, err
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

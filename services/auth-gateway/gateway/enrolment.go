package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// This file answers: how does a person get a factor, or decline one?

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
	shown, err := f.showSeed(ctx, p, s.Who, s.Enrolment, s.Epoch)
	if err != nil {
		return signIn{}, seed{}, err
	}
	if s, err = f.started(ctx, s, revision); err != nil {
		return signIn{}, seed{}, err
	}
	return s, shown, nil
}

// showSeed asks for the secret of an enrolment, which is made when it is asked for first.
func (f *signIns) showSeed(ctx context.Context, p portal, who profile, enrolment string, epoch contract.Epoch) (seed, error) {
	account := contract.Account{Portal: p.ID, User: who.ID}
	r, err := bus.Request(ctx, f.bus, contract.TOTPBegin, contract.TOTPBeginRequest{
		Account: account, Enrolment: enrolment, Issuer: p.Name, Label: who.Email, Epoch: epoch,
	})
	if err != nil {
		return seed{}, err
	}
	uri, err := f.seal.OpenField(r.URI, contract.PurposeSeed, account)
	if err != nil {
		return seed{}, err
	}
	parsed, err := url.Parse(uri.Reveal())
	if err != nil {
		return seed{}, errors.New("totp-svc sent a key URI that does not parse")
	}
	return seed{uri: uri, key: secret.New(parsed.Query().Get("secret"))}, nil
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
			way := stepElsewhere
			if own = living.Enrolment == s.Enrolment; own {
				way = stepReenter
			}
			if _, _, err := f.advance(ctx, s, revision, way); err != nil {
				return false, err
			}
			return own, contract.Refuse(contract.Conflict, "Your second factor is set up. Please sign in again.")
		}
	}
	return false, nil
}

// started tells once that somebody began to enrol. Of two who begin at once both go on: what they were shown is the same
// enrolment.
func (f *signIns) started(ctx context.Context, s signIn, revision uint64) (signIn, error) {
	for try := 1; !s.Started; try++ {
		now := s
		now.Started, now.starts = true, true
		now, _, err := f.advance(ctx, now, revision, stepNothing)
		if err == nil {
			f.tellStarted(ctx, now.account(), now.Factor, now.Enrolment, now.Epoch)
			return now, nil
		}
		if !errors.Is(err, errWentOn) || try == noteTries {
			return signIn{}, err
		}
		latest, newer, readErr := f.kv.Get(ctx, s.ID)
		if readErr != nil || latest.Status != s.Status || latest.Enrolment != s.Enrolment {
			return signIn{}, err
		}
		s, revision = latest, newer
	}
	return s, nil
}

func (f *signIns) tellStarted(ctx context.Context, who contract.Account, factor contract.Factor, enrolment string, epoch contract.Epoch) {
	err := bus.Publish(ctx, f.bus, contract.EnrolmentStarted, "started-"+enrolment, contract.EnrolmentFact{
		Account: who, FactorInfo: contract.FactorInfo{Factor: factor, Enrolment: enrolment, Since: f.now()}, Epoch: epoch,
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
	s.Started, s.starts = true, first
	out, err := f.text(ctx, p, s, revision, phone)
	if err != nil {
		s.Started, s.starts = !first, false // it is told with the first text, which did not go out
		f.noteLimit(ctx, s, revision, err)
	}
	if err == nil && first {
		f.tellStarted(ctx, out.account(), out.Factor, out.Enrolment, out.Epoch)
	}
	return out, err
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
	if _, err := f.current(ctx, s); err != nil {
		return outcome{}, err // a factor must not come from somebody who can sign in no more
	}
	made, way, methods := newFactor{who: s.account(), factor: s.Factor, enrolment: s.Enrolment, label: label}, stepConfirmed, []string{s.first(), "otp"}
	if s.Factor == contract.FactorSMS {
		made.text, methods = textChallenge{s.Challenge, s.ID, contract.ForEnrolment}, []string{s.first(), "sms"}
		if !p.SMSWithoutRelogin {
			way = stepReenter
		}
	}
	asking, call, s, revision, err := f.asking(ctx, s, revision, code)
	if err != nil {
		return outcome{}, err
	}
	confirmed, err := f.activate(ctx, asking, made, code, "")
	s.EnrolledAt = confirmed.Since
	switch {
	case errors.Is(err, errActiveAlready):
		// Its answer was lost before policy-svc heard of it. The person has a factor now, and proves it by signing in.
		// Sessions of before end by the fact.
		return f.finish(ctx, s, revision, stepReenter, nil)
	case err != nil:
		f.noteLock(ctx, s, revision, err)
		f.noteUnanswered(ctx, s, revision, call, code, err)
		return outcome{}, err
	}
	out, err := f.finish(ctx, s, revision, way, methods)
	f.noteUnanswered(ctx, s, revision, call, code, err)
	return out, err
}

// newFactor is a factor that waits for its first code: in a sign-in, or on the account page.
type newFactor struct {
	who       contract.Account
	factor    contract.Factor
	enrolment string
	label     string        // of an authenticator
	text      textChallenge // of a telephone
}

var errActiveAlready = contract.Refuse(contract.Conflict, "Your authenticator app is set up already.")

// activate takes the code that proves a new factor, makes the enrolment count, and ends the person's sessions but one
// ("" for all of them). asking is for the call that takes the code.
func (f *signIns) activate(ctx, asking context.Context, n newFactor, code secret.String, keep string) (contract.Confirmation, error) {
	var c contract.Confirmation
	sealed, err := f.sealCode(code, n.who)
	if err != nil {
		return c, err
	}
	switch n.factor {
	case contract.FactorTOTP:
		c, err = bus.Request(asking, f.bus, contract.TOTPConfirm, contract.TOTPConfirmRequest{Account: n.who, Enrolment: n.enrolment, Code: sealed, Label: n.label})
		switch contract.CodeOf(err) { //nolint:exhaustive // every other refusal is the person's to see
		case contract.Conflict:
			return c, errActiveAlready
		case contract.NotFound:
			return c, contract.Refuse(contract.Conflict, "This QR code was replaced on another device. Please scan the new one.")
		}
	case contract.FactorSMS:
		if n.text.challenge == "" {
			return c, contract.Refuse(contract.Conflict, "No code has been sent yet.")
		}
		c, err = bus.Request(asking, f.bus, contract.SMSConfirm, contract.SMSConfirmRequest{Account: n.who, Challenge: n.text.challenge, Flow: n.text.flow, Enrolment: n.enrolment, Code: sealed})
	}
	if err != nil {
		return c, noteCode(ctx, f.log, n.who, "enrolment "+string(n.factor), err)
	}
	// Recorded before the person is told: an enrolment that nobody counts would let a stranger with the password
	// enrol again. Should this process die here, the confirming service's own event records it, and ends the sessions.
	record := contract.RecordRequest{Account: n.who, FactorInfo: c.FactorInfo, Epoch: c.Epoch}
	if _, err := bus.Request(ctx, f.bus, contract.PolicyRecord, record); err != nil {
		return c, err
	}
	return c, f.sessions.endOthers(ctx, n.who, keep)
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
	d, err := bus.Request(ctx, f.bus, contract.PolicySkip, contract.SkipRequest{DecideRequest: s.Who.decideRequest(s.Portal)})
	if err != nil {
		return outcome{}, err
	}
	s.CanEnable, s.Epoch = canEnable(d, s.Who.Audience), d.Epoch // under which the skip counts
	return f.finish(ctx, s, revision, stepSkipped, []string{s.first()})
}

func factorOf(a contract.Audience) contract.Factor {
	if a == contract.Internal {
		return contract.FactorTOTP
	}
	return contract.FactorSMS
}

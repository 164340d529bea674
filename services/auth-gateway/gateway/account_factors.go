package gateway

import (
	"context"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// This file answers: what may a signed-in person do with their own factors?

// enrolling is an authenticator that a signed-in person has seen the secret of, and not confirmed yet.
type enrolling struct {
	Enrolment string         `json:"enrolment"`
	Epoch     contract.Epoch `json:"epoch"`
	// BegunAt is when they had proved who they are.
	BegunAt time.Time `json:"begun_at"`
	// Unanswered are its codes of which nobody knows what became.
	Unanswered unanswered `json:"unanswered,omitempty"`
}

// enrollingLife is how long a secret may be looked at and confirmed without another proof: as long as totp-svc keeps it.
const enrollingLife = 10 * time.Minute

// live tells whether the enrolment may still be confirmed.
func (e *enrolling) live(now time.Time) bool {
	return e != nil && now.Before(e.BegunAt.Add(enrollingLife))
}

// beginTOTP shows a signed-in person the secret of an authenticator: their first, or one to replace the one they have.
// It is the same secret until it is confirmed or ten minutes old; what it replaces works until then.
func (g *gateway) beginTOTP(ctx context.Context, s session) (seed, error) {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return seed{}, err
	}
	if s.Who.Audience != contract.Internal {
		return seed{}, contract.Refuse(contract.Forbidden, "Your account is protected with a text message, not with an authenticator app.")
	}
	if !d.MayEnroll {
		return seed{}, errMayNotEnroll(s.Who)
	}
	if !s.proven(hasFactor(d, s.Who.Audience), g.now()) {
		return seed{}, errStepUp
	}
	shown, err := g.showTOTPOf(ctx, s, d.Epoch)
	switch contract.CodeOf(err) { //nolint:exhaustive // every other refusal is the caller's
	case contract.Expired, contract.Conflict:
		// The one that was begun here is over, or was confirmed and its answer lost: now begins another.
		if _, err := g.sessions.change(ctx, s.ID, func(v *session) { v.Enrolling = nil }); err != nil {
			return seed{}, err
		}
		return g.showTOTPOf(ctx, s, d.Epoch)
	}
	return shown, err
}

// showTOTPOf shows the secret of the enrolment that the session holds, or of a new one that it then holds.
func (g *gateway) showTOTPOf(ctx context.Context, s session, epoch contract.Epoch) (seed, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return seed{}, err
	}
	now, begun := g.now(), false
	fresh := enrolling{Enrolment: bus.NewID(), Epoch: epoch, BegunAt: now}
	s, err = g.sessions.change(ctx, s.ID, func(v *session) {
		if begun = !v.Enrolling.live(now) || v.Enrolling.Epoch != epoch; begun {
			v.Enrolling = &fresh
		}
	})
	if err != nil {
		return seed{}, err
	}
	shown, err := g.flow.showSeed(ctx, p, s.Who, s.Enrolling.Enrolment, s.Enrolling.Epoch)
	if err == nil && begun {
		g.flow.tellStarted(ctx, s.account(), contract.FactorTOTP, s.Enrolling.Enrolment, s.Enrolling.Epoch)
	}
	return shown, err
}

// shownTOTP shows again what beginTOTP showed in this session, to one who has just typed a wrong code.
func (g *gateway) shownTOTP(ctx context.Context, s session) (seed, error) {
	if !s.Enrolling.live(g.now()) {
		return seed{}, errNotBegun
	}
	p, err := g.portal(ctx)
	if err != nil {
		return seed{}, err
	}
	return g.flow.showSeed(ctx, p, s.Who, s.Enrolling.Enrolment, s.Enrolling.Epoch)
}

var errNotBegun = contract.Refuse(contract.Conflict, "The time to set up the authenticator is over. Please begin again.")

// confirmTOTP takes the code that proves the authenticator that beginTOTP showed. From then on it is the only one, all
// other sessions of the person are dead, and theirs goes on under a new id and token: it has risen.
func (g *gateway) confirmTOTP(ctx context.Context, s session, code secret.String, label string) (session, secret.String, error) {
	if !s.Enrolling.live(g.now()) {
		return session{}, secret.String{}, errNotBegun
	}
	made := newFactor{who: s.account(), factor: contract.FactorTOTP, enrolment: s.Enrolling.Enrolment, label: label}
	codes := codesOf(made.enrolment)
	asking, call, err := g.asking(ctx, s, code, codes)
	if err != nil {
		return session{}, secret.String{}, err
	}
	risen, token, err := g.raised(ctx, asking, s, made, code)
	// The code is spent, and the person has no new token: typed again, it is right again.
	g.noteUnanswered(ctx, s, call, code, err, codes)
	return risen, token, err
}

// raised is confirmTOTP for a call of which it is known what to ask under. Policy is asked once more when the new session
// is written, for the same reason as at the end of a sign-in: a reset that came between has ended the old one only.
func (g *gateway) raised(ctx, asking context.Context, s session, made newFactor, code secret.String) (session, secret.String, error) {
	c, err := g.flow.activate(ctx, asking, made, code, s.ID)
	if err != nil {
		return session{}, secret.String{}, err
	}
	return g.sessions.rise(ctx, s, []string{s.first(), "otp"}, c, func(ctx context.Context) error {
		d, err := g.flow.still(ctx, s.Portal, s.Who)
		if i, ok := factorIn(d, made.factor); err == nil && (!ok || i.Enrolment != made.enrolment) {
			err = errNotBegun
		}
		return err
	})
}

// renameFactor gives a person's device another name; none at all is a name, too.
func (g *gateway) renameFactor(ctx context.Context, s session, factor contract.Factor, label string) error {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return err
	}
	i, ok := factorIn(d, factor)
	if !ok {
		return errNoSuchFactor
	}
	_, err = bus.Request(ctx, g.svc.Bus, contract.PolicyRename, contract.RenameRequest{
		Account: s.account(), Factor: factor, Enrolment: i.Enrolment, Label: strings.TrimSpace(label),
	})
	return err
}

var errNoSuchFactor = contract.Refuse(contract.NotFound, "There is no such factor on your account.")

// mayRemove tells whether a person may remove a factor, and returns it.
func (g *gateway) mayRemove(ctx context.Context, s session, factor contract.Factor) (contract.FactorInfo, error) {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return contract.FactorInfo{}, err
	}
	i, ok := factorIn(d, factor)
	switch {
	case !ok:
		return contract.FactorInfo{}, errNoSuchFactor
	case !d.MayRemove:
		return contract.FactorInfo{}, errNotRemovable
	}
	return i, nil
}

var errNotRemovable = contract.Refuse(contract.Forbidden, "Your portal requires a second factor, so it cannot be removed. You can replace it.")

// removeFactor removes a person's factor, where policy lets them, and ends their other sessions.
func (g *gateway) removeFactor(ctx context.Context, s session, factor contract.Factor) error {
	if _, err := g.mayRemove(ctx, s, factor); err != nil {
		return err
	}
	if !s.fresh(g.now()) {
		return errStepUp
	}
	_, err := bus.Request(ctx, g.svc.Bus, contract.PolicyReset, contract.ResetRequest{
		Account: s.account(), Reset: bus.NewID(), Actor: s.User, Cause: contract.ResetByRemoval,
		Reason: "removed on the account page", Keep: s.ID,
	})
	if err != nil {
		return err
	}
	return g.sessions.endOthers(ctx, s.account(), s.ID)
}

// enableSMS clears the skip of a contact who wants a second factor after all, and signs them out everywhere: enrolment
// begins at their next sign-in, with the password.
func (g *gateway) enableSMS(ctx context.Context, s session) error {
	_, err := bus.Request(ctx, g.svc.Bus, contract.PolicyEnable, contract.EnableRequest{
		DecideRequest: s.Who.decideRequest(s.Portal), ID: bus.NewID(),
	})
	if err != nil {
		return err
	}
	return g.sessions.endOthers(ctx, s.account(), "")
}

// mayEnableSMS says why a person cannot enable text messages, if they cannot.
func (g *gateway) mayEnableSMS(ctx context.Context, s session) error {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	switch {
	case err != nil:
		return err
	case s.Who.Audience != contract.Organization:
		return contract.Refuse(contract.Forbidden, "Your account is protected with an authenticator app, not with a text message.")
	case !d.MayEnroll:
		return errMayNotEnroll(s.Who)
	case hasFactor(d, s.Who.Audience):
		return contract.Refuse(contract.Conflict, "Your account is protected with a text message already.")
	}
	return nil
}

func errMayNotEnroll(who profile) error {
	if who.Federated {
		return contract.Refuse(contract.Forbidden, "Your organization's own sign-in asks for your second factor.")
	}
	return contract.Refuse(contract.Forbidden, "Your portal does not use a second factor at present.")
}

// factorIn finds a living factor.
func factorIn(d contract.Decision, f contract.Factor) (contract.FactorInfo, bool) {
	for _, i := range d.Factors {
		if i.Factor == f {
			return i, true
		}
	}
	return contract.FactorInfo{}, false
}

// hasFactor tells whether the person has the factor that counts for them.
func hasFactor(d contract.Decision, a contract.Audience) bool {
	_, ok := factorIn(d, factorOf(a))
	return ok
}

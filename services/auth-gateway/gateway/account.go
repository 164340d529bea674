package gateway

import (
	"context"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// stepUp takes password and code again, both of which must be right. The code is looked at only after the password,
// so that its counter moves for nobody who lacks that. Who has no factor, and needs none, proves all there is with the
// password; who must have one, and has one no more, signs in again and sets it up. It returns the session as it is then.
func (g *gateway) stepUp(ctx context.Context, s session, password, code secret.String) (session, error) {
	u, err := g.accounts.byID(ctx, s.account())
	if err != nil {
		return s, err
	}
	proved, err := g.provedAtProvider(ctx, s, u)
	if err != nil {
		return s, err
	}
	if !proved && u.Password == "" && !u.Federated {
		return s, errAtPortal
	}
	if !proved {
		right := false
		if !password.Empty() { // nothing typed is no guess
			right, err = g.flow.guesses.try(ctx, s.Portal, u.Email, func() (bool, error) {
				match, err := g.flow.passwords.match(ctx, u.Password, password)
				return match && !u.Disabled, err
			})
		}
		if err != nil {
			return s, err
		}
		if !right {
			return s, contract.Refuse(contract.InvalidCredentials, "That password is not right.")
		}
	}
	var since time.Time // when the older of the two proofs was given; zero is just now
	if proved {
		since = s.ProviderAt
	}
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return s, err
	}
	factor, err := livingOf(d, s.Who.Audience)
	switch {
	case err == nil:
		text := textChallenge{s.StepUpChallenge, s.ID, contract.ForStepUp}
		asking, call, err := g.asking(ctx, s, code, stepUpCodes)
		if err != nil {
			return s, err
		}
		now := s
		if _, err = g.flow.check(asking, s.account(), factor.Factor, factor.Enrolment, text, code); err == nil {
			now, err = g.steppedUp(ctx, s, since)
		}
		g.noteUnanswered(ctx, s, call, code, err, stepUpCodes)
		return now, err
	case d.Action == contract.Enroll:
		return s, errFactorGone
	case s.Who.Federated && !proved:
		return s, contract.Refuse(contract.Forbidden, "Your organization's own sign-in proves who you are.")
	}
	return g.steppedUp(ctx, s, since)
}

// errFactorGone is for who has a session from before their factor died, or before one was asked for.
var errFactorGone = contract.Refuse(contract.Forbidden, "Your portal asks for a second factor, and you have none that counts. Please sign out, sign in again and set it up.")

// steppedUp writes into the session that its person has proved who they are: at the time at which the older of the two
// proofs was given, or just now if that is zero. Each is good for five minutes, and the older one not for ten.
func (g *gateway) steppedUp(ctx context.Context, s session, since time.Time) (session, error) {
	if since.IsZero() {
		since = g.now()
	}
	return g.sessions.change(ctx, s.ID, func(v *session) { v.StepUpAt, v.StepUpChallenge = since, "" })
}

// errAtPortal is for who has no password here: that they came through the portal door again is their step-up.
var errAtPortal = contract.Refuse(contract.StepUpRequired, "You sign in at your portal. Please sign in there once more, then come back within five minutes.")

// living returns the factor that the signed-in person has enrolled and policy counts.
func (g *gateway) living(ctx context.Context, s session) (contract.FactorInfo, error) {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return contract.FactorInfo{}, err
	}
	return livingOf(d, s.Who.Audience)
}

func livingOf(d contract.Decision, a contract.Audience) (contract.FactorInfo, error) {
	if i, ok := factorIn(d, factorOf(a)); ok {
		return i, nil
	}
	return contract.FactorInfo{}, contract.Refuse(contract.Forbidden, "Set up your second factor first.")
}

// stepUpSend texts a code for a step-up, to a person whose factor is a telephone.
func (g *gateway) stepUpSend(ctx context.Context, s session) (contract.SMSOpenReply, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	factor, err := g.living(ctx, s)
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	if factor.Factor != contract.FactorSMS {
		return contract.SMSOpenReply{}, contract.Refuse(contract.Conflict, "Your codes come from your authenticator app.")
	}
	challenge := bus.NewID()
	r, err := bus.Request(ctx, g.svc.Bus, contract.SMSOpen, contract.SMSOpenRequest{
		Account: s.account(), Challenge: challenge, Flow: s.ID, Purpose: contract.ForStepUp, Enrolment: factor.Enrolment,
		PortalName: p.Name, Host: hostOf(p.PublicURL), Network: networkIn(ctx),
	})
	if err != nil {
		return contract.SMSOpenReply{}, err
	}
	if _, err := g.sessions.change(ctx, s.ID, func(v *session) { v.StepUpChallenge = challenge }); err != nil {
		return contract.SMSOpenReply{}, err
	}
	g.flow.publish(ctx, s.account(), challenge, r.ExpiresAt)
	return r, nil
}

// accountState is what an account page shows.
func (g *gateway) accountState(ctx context.Context, s session) (contract.Decision, int, error) {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return contract.Decision{}, 0, err
	}
	st, err := bus.Request(ctx, g.svc.Bus, contract.TOTPStatus, contract.StatusRequest{Account: s.account()})
	return d, st.CodesIn(d.Epoch), err
}

// newRecoveryCodes makes a new set for a person who has a factor and proved it a moment ago: who finds an open
// session must not walk away with ten keys. It is in the audit log first, so that no set is made unseen.
func (g *gateway) newRecoveryCodes(ctx context.Context, s session) ([]string, error) {
	d, err := g.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return nil, err
	}
	if _, err := livingOf(d, s.Who.Audience); err != nil {
		return nil, err
	}
	if !s.fresh(g.now()) {
		return nil, errStepUp
	}
	note := g.desk.by(s, contract.AuditRecoveryCodes, s.User, "")
	if err := g.desk.audited(ctx, contract.AuditRequest{ID: bus.NewID(), AuditNote: note}); err != nil {
		return nil, err
	}
	r, err := bus.Request(ctx, g.svc.Bus, contract.TOTPRegenerate, contract.RegenerateRequest{Account: s.account(), Epoch: d.Epoch})
	if err != nil {
		return nil, err
	}
	return g.flow.openCodes(r.Codes, s.account())
}

var errStepUp = contract.Refuse(contract.StepUpRequired, "Please confirm with your password and a code first.")

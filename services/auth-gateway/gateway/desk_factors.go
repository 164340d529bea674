package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// permits says what the acting admin may do with a person, and why not.
func (d *desk) permits(s session, p dossier) permits {
	yes := permit{Allowed: true}
	no := func(why string) permit { return permit{Why: why} }
	fresh := permit{Allowed: true, StepUp: !s.fresh(d.now())}
	out := permits{yes, yes, yes, fresh, yes, fresh, fresh, yes}
	if p.MasterAdmin || p.OrganizationAdmin {
		out.Disable = fresh
	}
	if !s.Who.MasterAdmin {
		only := no("Only a Master Admin may do this.")
		out.Amend, out.Grant, out.Disable, out.Delete, out.Link, out.EndSessions = only, only, only, only, only, only
	}
	switch err := mayReset(s, p.user); {
	case err != nil:
		out.Reset = no(contract.AsError(err).Detail)
	case p.Standing == contract.NotEnrolled && p.Decision.Reset != nil:
		out.Reset = no("The second factor was reset already; enrolment begins at the next sign-in.")
	}
	if err := mayReset(s, p.user); err != nil {
		out.Unlock = no(contract.AsError(err).Detail)
	} else if p.Authenticator == nil && p.Recovery == nil && p.Telephone == nil && !p.Closed && p.LockedUntil == nil {
		out.Unlock = no("Nothing is locked.")
	} else if p.Closed && p.Recovery == nil {
		out.Unlock = no("After so many wrong codes only a recovery code or a reset helps.")
	}
	if s.Who.MasterAdmin && s.User == p.User {
		self := no("Another admin does that for you.")
		if p.LastAdmin {
			self = no(errLastAdmin.Detail)
		}
		out.Disable, out.Delete = self, self
		out.Link = no("Set your own password with the link that another admin makes.")
	} else if s.Who.MasterAdmin && p.Federated {
		out.Link = no("This person signs in at the identity provider and has no password here.")
	}
	return out
}

// mayReset says whether an admin may reset or unlock a person whom they see.
func mayReset(s session, u user) error {
	switch {
	case s.User == u.User:
		return contract.Refuse(contract.Forbidden, "Another admin does that for you; you can replace your own on your account page.")
	case !s.Who.MasterAdmin && u.MasterAdmin:
		return contract.Refuse(contract.Forbidden, "Only a Master Admin may do this.")
	case u.Federated:
		return contract.Refuse(contract.Conflict, "This person signs in at the identity provider and has no second factor here.")
	}
	return nil
}

// reset makes one person enrol again (B28): factor, recovery codes and skip are dead, sessions end (B29).
func (d *desk) reset(ctx context.Context, s session, id, reason string) error {
	u, err := d.find(ctx, s, id)
	if err != nil {
		return err
	}
	if err := mayReset(s, u); err != nil {
		return err
	}
	if reason, err = reasonOf(reason, true); err != nil {
		return err
	}
	return d.resetPerson(ctx, u, contract.ResetRequest{
		Account: u.account(), Reset: bus.NewID(), Actor: s.User, Cause: contract.ResetByAdmin, Reason: reason, OfOrganization: !s.Who.MasterAdmin,
	})
}

// resetPerson has policy-svc reset somebody, which is in its audit log when it answers, ends their sessions and takes
// the change into the lists.
func (d *desk) resetPerson(ctx context.Context, u user, r contract.ResetRequest) error {
	if _, err := bus.Request(ctx, d.bus, contract.PolicyReset, r); err != nil {
		return err
	}
	if err := d.sessions.endOthers(ctx, u.account(), r.Keep); err != nil {
		return err
	}
	d.mirrorNow(ctx, u.account())
	return nil
}

// mirrorNow takes a change into the lists that the answer to an admin should show. What fails follows by its fact.
func (d *desk) mirrorNow(ctx context.Context, who contract.Account) {
	if err := d.mirrorStanding(ctx, who); err != nil {
		d.log.Warn("list does not show the change yet", slog.Any("error", err))
	}
}

// unlock opens what wrong codes have closed. Where nothing is closed it does nothing.
func (d *desk) unlock(ctx context.Context, s session, id, reason string) error {
	u, err := d.find(ctx, s, id)
	if err != nil {
		return err
	}
	if err := mayReset(s, u); err != nil {
		return err
	}
	if reason, err = reasonOf(reason, true); err != nil {
		return err
	}
	// Recovery codes are at totp-svc for everybody; all are asked even if one refuses, for each may have something to
	// open.
	r := contract.UnlockRequest{Account: u.account(), ID: bus.NewID(), Actor: s.User, Reason: reason}
	err = errors.Join(d.forgetGuesses(ctx, s, u, reason), d.openFactor(ctx, contract.TOTPUnlock, contract.FactorTOTP, r))
	if u.Audience == contract.Organization {
		err = errors.Join(err, d.openFactor(ctx, contract.SMSUnlock, contract.FactorSMS, r))
	}
	if err != nil {
		return err
	}
	return d.accounts.opened(ctx, u.account(), d.now())
}

// forgetGuesses makes wrong passwords of a person count no more. Where there are any it is in the audit log first, so that
// none are forgotten unseen.
func (d *desk) forgetGuesses(ctx context.Context, s session, u user, reason string) error {
	_, err := d.guesses.clear(ctx, guess{portal: u.Portal, address: u.Email}, d.now(), func(ctx context.Context) error {
		return d.audited(ctx, contract.AuditRequest{ID: bus.NewID(), AuditNote: d.by(s, contract.AuditPasswordGuesses, u.User, reason)})
	})
	return err
}

// openFactor unlocks one factor, and has that in the audit log before anybody is told: the factor's owner tells the same on the
// bus, under the same id.
func (d *desk) openFactor(ctx context.Context, call contract.Call[contract.UnlockRequest, contract.UnlockReply], f contract.Factor, r contract.UnlockRequest) error {
	reply, err := bus.Request(ctx, d.bus, call, r)
	if err != nil || !reply.Unlocked {
		return err
	}
	_, err = bus.Request(ctx, d.bus, contract.PolicyAudit, contract.AuditRequest{ID: contract.UnlockedID(f, r.ID), AuditNote: contract.AuditNote{
		Portal: r.Portal, Action: contract.AuditFactorUnlocked, Actor: r.Actor, User: r.User, Reason: r.Reason,
		Detail: map[string]string{"factor": string(f)}, At: d.now(),
	}})
	return err
}

// endSessions signs a person out everywhere.
func (d *desk) endSessions(ctx context.Context, s session, id, reason string) error {
	if err := d.master(ctx, s); err != nil {
		return err
	}
	u, err := d.find(ctx, s, id)
	if err != nil {
		return err
	}
	if reason, err = reasonOf(reason, false); err != nil {
		return err
	}
	note := d.by(s, contract.AuditSessionsEnded, id, reason)
	note.Detail = map[string]string{"sessions": strconv.Itoa(len(d.sessions.list(u.account())))}
	if err := d.note(ctx, u.ID, note); err != nil {
		return err
	}
	return d.sessions.endOthers(ctx, u.account(), "")
}

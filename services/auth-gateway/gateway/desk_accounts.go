package gateway

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

var (
	errEmailTaken = &contract.Error{Code: contract.Conflict, Detail: "There is an account with this email already.", Field: "email"}
	errMeanwhile  = contract.Refuse(contract.Conflict, "The account was changed meanwhile. Please look again.")
)

// note has something about an account in the audit log that changes nothing in its document.
func (d *desk) note(ctx context.Context, document string, note contract.AuditNote) error {
	_, ok, err := told(ctx, d, d.accounts.users, usersCollection, document, store.Change{}, note)
	if err == nil && !ok {
		return errNobody
	}
	return err
}

// create makes an account. A local one has no password yet: the link is for handing over.
func (d *desk) create(ctx context.Context, s session, p newPerson) (user, *passwordLink, error) {
	if err := d.master(ctx, s); err != nil {
		return user{}, nil, err
	}
	if (p.MasterAdmin || p.OrganizationAdmin) && !s.fresh(d.now()) {
		return user{}, nil, errStepUp
	}
	u, err := p.account(s.Portal)
	if err != nil {
		return user{}, nil, err
	}
	reason, err := reasonOf(p.Reason, false)
	if err != nil {
		return user{}, nil, err
	}
	var link *passwordLink
	if !u.Federated {
		word, hash := newLink(d.now())
		if link, err = d.linkFor(ctx, u, word, hash); err != nil {
			return user{}, nil, err
		}
		u.Link = &hash
	}
	note := d.by(s, contract.AuditUserCreated, u.User, reason)
	note.Detail = map[string]string{"email": u.Email, "rights": rights(u)}
	letter, entry, err := d.letter(ctx, note)
	if err != nil {
		return user{}, nil, err
	}
	u.Outbox = map[string]bus.Letter{letter.ID: letter}
	if err := d.outbox.Note(ctx, usersCollection, u.Portal+"/"+u.User, letter); err != nil {
		return user{}, nil, err
	}
	err = d.accounts.add(ctx, u, d.now())
	if errors.Is(err, store.ErrExists) {
		return user{}, nil, errEmailTaken
	}
	if err != nil {
		return user{}, nil, err
	}
	d.outbox.Relay(usersCollection, u.Portal+"/"+u.User, letter)
	if u.reachable() {
		if err := d.accounts.count(ctx, u.account()); err != nil {
			return user{}, nil, err
		}
	}
	if err := d.audited(ctx, entry); err != nil {
		return user{}, nil, err
	}
	u, err = d.accounts.byID(ctx, u.account())
	return u, link, err
}

// account makes the account of a new person, or says what is wrong.
func (p newPerson) account(portalID string) (user, error) {
	email, ok := canonicalEmail(p.Email)
	if !ok {
		return user{}, invalid("email", "Please enter valid email.")
	}
	u := user{
		Portal: portalID, User: bus.NewID(), Email: email, Audience: p.Audience,
		MasterAdmin: p.MasterAdmin, OrganizationAdmin: p.OrganizationAdmin, Federated: p.Federated,
	}
	var err error
	if u.Name, err = oneLine("name", p.Name); err != nil {
		return user{}, err
	}
	switch {
	case p.Audience == contract.Internal && p.Organization != "":
		return user{}, invalid("organization", "An internal user belongs to no organization.")
	case p.Audience == contract.Organization:
		if u.Organization, err = oneLine("organization", p.Organization); err == nil && fold(u.Organization) == "" {
			err = invalid("organization", "The name needs a letter or a digit.")
		}
		if err != nil {
			return user{}, err
		}
	case p.Audience != contract.Internal:
		return user{}, invalid("audience", "The audience is internal or organization.")
	}
	return u, u.fits()
}

// fits tells whether an account's rights are those of its population.
func (u user) fits() error {
	switch {
	case u.MasterAdmin && u.Audience != contract.Internal:
		return invalid("master_admin", "Only an internal user can be Master Admin.")
	case u.OrganizationAdmin && u.Audience != contract.Organization:
		return invalid("organization_admin", "Only a contact can be admin of an organization.")
	}
	return nil
}

// oneLine is a name as it is kept: one line of 1 to 200 characters.
func oneLine(field, typed string) (string, error) {
	s := strings.TrimSpace(typed)
	switch {
	case s == "":
		return "", invalid(field, "Please enter the %s.", field)
	case utf8.RuneCountInString(s) > 200 || len(s) > 400:
		return "", invalid(field, "The %s may have 200 characters.", field)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}):
		return "", invalid(field, "The %s must be one line.", field)
	}
	return s, nil
}

// rights are an account's rights in a word, for the audit log.
func rights(u user) string {
	switch {
	case u.MasterAdmin:
		return "master_admin"
	case u.OrganizationAdmin:
		return "organization_admin"
	}
	return "none"
}

// amended is an account after an amendment, with what of it is another now.
func (m amendment) amended(u user) (user, []string, error) {
	var (
		fields []string
		err    error
	)
	text := func(field string, to *string, from *string, read func(string) (string, error)) {
		if from == nil || err != nil {
			return
		}
		var v string
		if v, err = read(*from); err == nil && v != *to {
			*to, fields = v, append(fields, field)
		}
	}
	flag := func(field string, to *bool, from *bool) {
		if from != nil && *from != *to {
			*to, fields = *from, append(fields, field)
		}
	}
	text("email", &u.Email, m.Email, func(s string) (string, error) {
		email, ok := canonicalEmail(s)
		if !ok {
			return "", invalid("email", "Please enter valid email.")
		}
		return email, nil
	})
	text("name", &u.Name, m.Name, func(s string) (string, error) { return oneLine("name", s) })
	text("organization", &u.Organization, m.Organization, func(s string) (string, error) {
		if u.Audience != contract.Organization {
			return "", invalid("organization", "An internal user belongs to no organization.")
		}
		name, err := oneLine("organization", s)
		if err == nil && fold(name) == "" {
			err = invalid("organization", "The name needs a letter or a digit.")
		}
		return name, err
	})
	flag("master_admin", &u.MasterAdmin, m.MasterAdmin)
	flag("organization_admin", &u.OrganizationAdmin, m.OrganizationAdmin)
	flag("disabled", &u.Disabled, m.Disabled)
	if err == nil {
		err = u.fits()
	}
	return u, fields, err
}

// amend changes an account. Who loses rights, is disabled or moves to another organization is signed out at once.
func (d *desk) amend(ctx context.Context, s session, id string, m amendment) (user, error) {
	if err := d.master(ctx, s); err != nil {
		return user{}, err
	}
	was, err := d.find(ctx, s, id)
	if err != nil {
		return user{}, err
	}
	is, fields, err := m.amended(was)
	if err != nil {
		return user{}, err
	}
	reason, err := reasonOf(m.Reason, false)
	if err != nil {
		return was, err
	}
	if len(fields) == 0 {
		return was, d.unseat(ctx, was) // asked again after a fault, it finishes what it began
	}
	if is.Disabled && !was.Disabled && s.User == id {
		return user{}, contract.Refuse(contract.Conflict, "Another admin does that for you.")
	}
	if is.Organization != was.Organization {
		if err := d.accounts.organization(ctx, s.Portal, &is.Organization); err != nil {
			return user{}, err
		}
	}
	if is.weighs(was) && !s.fresh(d.now()) {
		return user{}, errStepUp
	}
	if is.Email != was.Email {
		err := d.accounts.claim(ctx, s.Portal, is.Email, id, d.now())
		if errors.Is(err, store.ErrExists) {
			return user{}, errEmailTaken
		}
		if err != nil {
			return user{}, err
		}
	}
	if was.reachable() && !is.reachable() {
		if err := d.accounts.release(ctx, was.account()); err != nil {
			return user{}, err
		}
	}
	note := d.by(s, contract.AuditUserChanged, id, reason)
	note.Detail = detail(was, is, fields)
	now, ok, err := told(ctx, d, d.accounts.users, usersCollection, was.ID, amending(was, is), note)
	if ok {
		err = errors.Join(err, d.settle(ctx, was, now))
	}
	switch {
	case err != nil:
		return user{}, err
	case !ok:
		// Somebody was faster. What was prepared is taken back as far as it can be.
		latest, err := d.accounts.byID(ctx, was.account())
		if err == nil {
			err = d.settle(ctx, is, latest)
		}
		return user{}, errors.Join(errMeanwhile, err)
	}
	return now, nil
}

// gains tells whether an account has admin rights that it had not: an organization's admin who moves is another's.
func (u user) gains(was user) bool {
	return u.MasterAdmin && !was.MasterAdmin || u.OrganizationAdmin && (!was.OrganizationAdmin || u.Organization != was.Organization)
}

// weighs tells whether a change asks for a fresh proof: it gives admin rights, shuts an admin out, or moves the address by
// which an admin, or somebody whom a provider vouches for, is found.
func (u user) weighs(was user) bool {
	admin := was.MasterAdmin || was.OrganizationAdmin
	return u.gains(was) || admin && u.Disabled && !was.Disabled || u.Email != was.Email && (admin || was.Federated)
}

// detail says what was changed: fields, and of names and rights before and after.
func detail(was, is user, fields []string) map[string]string {
	out := map[string]string{"fields": strings.Join(fields, ",")}
	for _, f := range fields {
		switch f {
		case "email":
			out["email_before"], out["email_after"] = was.Email, is.Email
		case "organization":
			out["organization_before"], out["organization_after"] = was.Organization, is.Organization
		case "master_admin", "organization_admin":
			out["rights_before"], out["rights_after"] = rights(was), rights(is)
		case "disabled":
			out["disabled"] = "no"
			if is.Disabled {
				out["disabled"] = "yes"
			}
		}
	}
	return out
}

// settle makes everything around an account fit what it is now: claims, the count of admins, sessions.
func (d *desk) settle(ctx context.Context, was, now user) error {
	var errs []error
	if was.Email != now.Email {
		errs = append(errs, d.accounts.disclaim(ctx, was.Portal, was.Email, was.User), d.guesses.forgetHomes(ctx, was.Portal, was.Email))
	}
	if now.reachable() {
		errs = append(errs, d.accounts.count(ctx, now.account()))
	} else if was.MasterAdmin { // reachable or not when it was read: a password may have been set meanwhile
		errs = append(errs, d.accounts.uncount(ctx, now.account()))
	}
	return errors.Join(append(errs, d.unseat(ctx, now))...)
}

// unseat ends the sessions of an account that allow what it may not: all of who is disabled, and those with rights or an
// organization that it has no more.
func (d *desk) unseat(ctx context.Context, now user) error {
	return d.sessions.endThose(ctx, now.account(), func(v session) bool {
		return now.Disabled || v.Who.MasterAdmin && !now.MasterAdmin || v.Who.OrganizationAdmin && !now.OrganizationAdmin || v.Who.Organization != now.Organization
	})
}

// remove deletes an account. What is left is a mark until its end is told everywhere; made again after a fault, the
// same call finishes it. The id never lives again: policy-svc resets it, so that no old enrolment counts.
func (d *desk) remove(ctx context.Context, s session, id, reason string) error {
	if err := d.master(ctx, s); err != nil {
		return err
	}
	reason, err := reasonOf(reason, false)
	switch {
	case err != nil:
		return err
	case !isUserID(id):
		return errNobody
	case s.User == id:
		return contract.Refuse(contract.Conflict, "Another admin does that for you.")
	}
	// Somebody who is not there asks for no proof.
	if _, err := d.accounts.byID(ctx, contract.Account{Portal: s.Portal, User: id}); errors.Is(err, store.ErrNotFound) {
		return errNobody
	} else if err != nil {
		return err
	}
	if !s.fresh(d.now()) {
		return errStepUp
	}
	return d.removeAccount(ctx, contract.Account{Portal: s.Portal, User: id}, d.by(s, contract.AuditUserDeleted, id, reason))
}

func (d *desk) removeAccount(ctx context.Context, who contract.Account, note contract.AuditNote) error {
	u, err := d.accounts.byID(ctx, who)
	if errors.Is(err, store.ErrNotFound) {
		return errNobody
	}
	if err != nil {
		return err
	}
	if u.reachable() {
		if err := d.accounts.release(ctx, who); err != nil {
			return err
		}
	}
	note.Detail = map[string]string{"email": u.Email, "name": u.Name}
	if u.Organization != "" {
		note.Detail["organization"] = u.Organization
	}
	_, ok, err := told(ctx, d, d.accounts.users, usersCollection, u.ID, deleting(u), note)
	if err == nil && !ok {
		return errMeanwhile
	}
	if err != nil {
		return err
	}
	if err := errors.Join(d.accounts.uncount(ctx, who), d.sessions.endOthers(ctx, who, "")); err != nil {
		return err
	}
	reset := contract.ResetRequest{Account: who, Reset: "deleted-" + who.User, Actor: note.Actor, Cause: contract.ResetByAdmin, Reason: "account deleted"}
	if _, err := bus.Request(ctx, d.bus, contract.PolicyReset, reset); err != nil {
		return err
	}
	if err := errors.Join(d.accounts.disclaim(ctx, who.Portal, u.Email, who.User), d.accounts.disclaimIdentity(ctx, u), d.accounts.disclaimSubjects(ctx, u)); err != nil {
		return err
	}
	if err := errors.Join(d.accounts.arrivals.Delete(ctx, u.ID), d.guesses.forgetHomes(ctx, u.Portal, u.Email)); err != nil {
		return err
	}
	return d.accounts.users.Delete(ctx, u.ID)
}

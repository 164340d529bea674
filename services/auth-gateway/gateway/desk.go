package gateway

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// desk is what admins do: everything that the admin pages and the admin API both call. Each method takes the acting
// admin's session and decides itself what that session may see and do; a guard in front of it is a courtesy.
type desk struct {
	accounts  accounts
	sessions  *sessions
	passwords *passwords
	guesses   guessRecords
	bus       *bus.Bus
	outbox    *store.Outbox
	now       func() time.Time
	log       *slog.Logger
	// publicURL is where people reach a portal that has no address of its own.
	publicURL string
	// reload is called when a portal's document is another now.
	reload func(ctx context.Context) error
}

// Standings by which a list is filtered, beyond those of the contract.
const (
	standingLocked = "locked"
	standingNever  = "never_signed_in"
)

// listing asks for a page of people. Empty fields filter nothing.
type listing struct {
	// Query is the beginning of an address, of a full name, or of a last name.
	Query        string
	Audience     contract.Audience
	Organization string
	// Standing is one of [contract.Standing], [standingLocked] or [standingNever].
	Standing string
	// Cursor is peoplePage.Next of the page before.
	Cursor string
	// Limit is at most 200; 0 means 50.
	Limit int
}

// card is a person as a list shows them: from the directory alone, at most moments behind what the owners know.
type card struct {
	user
	Standing contract.Standing
	// Factor is set when enrolled.
	Factor *contract.FactorInfo
	// LockedUntil is in the future, or nil; Closed is a factor that only recovery or a reset opens.
	LockedUntil  *time.Time
	Closed       bool
	LastSignInAt *time.Time
}

// peoplePage is a page of people in the order of their addresses.
type peoplePage struct {
	Items []card
	// Next is the cursor of the following page; empty at the end.
	Next string
}

// population is one of the two, in figures.
type population struct {
	Mode contract.Mode
	// Users are those whom policy is about: neither federated nor disabled. Federated and Disabled are the others.
	Users, Federated, Disabled int64
	Enrolled, Skipped          int64
	// WillEnroll must enrol at their next sign-in.
	WillEnroll int64
	// Locked cannot use their factor just now.
	Locked int64
}

// overview is a portal at a glance.
type overview struct {
	Settings                contract.Settings
	Internal, Organizations population
}

// hit is whom a change of settings hits in one population.
type hit struct{ InScope, WillEnroll, Skipped int64 }

// warning is what an admin should know before they save: a sentence, and a code that never changes.
type warning struct{ Code, Text string }

// The codes of warnings.
const (
	warnAdminsEnroll   = "admins_enroll"   // Master Admins must enrol before they can sign in again
	warnYouEnroll      = "you_enroll"      // the acting admin is among them
	warnOnlyAdmin      = "only_admin"      // there is one reachable Master Admin
	warnReEnrol        = "re_enrol"        // everybody enrols again
	warnSkipsForgotten = "skips_forgotten" // skips count no longer
	warnSwitchedOff    = "switched_off"    // people sign in with a password alone
)

// preview says whom a change would hit.
type preview struct {
	Internal, Organizations hit
	Warnings                []warning
}

// permit is whether the acting admin may do something, with a sentence in words when not.
type permit struct {
	Allowed bool
	Why     string
	// StepUp is set where password and code must be given once more first.
	StepUp bool
}

// permits is what the acting admin may do with a person.
type permits struct{ Reset, Unlock, Amend, Grant, Disable, Delete, Link, EndSessions permit }

// seat is one live session of a person, without what would open it.
type seat struct {
	ID                          string
	Device                      string // "Firefox on Linux"; empty: cannot be named
	Methods                     []string
	AuthTime, SeenAt, ExpiresAt time.Time
	Own                         bool // the acting admin's own
}

// dossier is everything an admin may know of a person, asked from its owners.
type dossier struct {
	card
	Decision contract.Decision
	// Authenticator, Recovery and Telephone are locks; nil while open.
	Authenticator, Recovery, Telephone *contract.Lock
	CodesLeft                          int
	// Destination is where text messages go; only the last digits are shown.
	Destination string
	Sessions    []seat
	Deliveries  []contract.DeliveryInfo
	History     []contract.AuditEntry
	// LastAdmin is the only Master Admin who can sign in (B32).
	LastAdmin bool
	// Missing are the services that did not answer; what is theirs is empty.
	Missing []contract.Service
	// Names of the people whom History mentions, by id.
	Names map[string]string
	May   permits
}

// newPerson is an account to be made.
type newPerson struct {
	Email, Name       string
	Audience          contract.Audience
	Organization      string
	MasterAdmin       bool
	OrganizationAdmin bool
	Federated         bool
	Reason            string
}

// amendment changes an account; nil fields stay as they are.
type amendment struct {
	Email, Name, Organization                *string
	MasterAdmin, OrganizationAdmin, Disabled *bool
	Reason                                   string
}

// passwordLink lets a person set their password, once.
type passwordLink struct {
	URL       secret.String
	ExpiresAt time.Time
}

// organizationInfo is a client company: its name, and how many contacts it has.
type organizationInfo struct {
	Name     string
	Contacts int64
}

// organizationsPage is a page of organizations in the order of their names.
type organizationsPage struct {
	Items []organizationInfo
	// Next is the cursor of the following page; empty at the end.
	Next string
}

// branding is how a portal looks. Nil logos stay as they are; empty ones are removed.
type branding struct {
	Name, Accent                     string
	SupportEmail, SupportURL         string
	HelpText                         string
	RequestAccountURL, ResetLoginURL string
	Logo, LogoDark                   *picture
}

// picture is an image as it was sent; its type is found from its bytes.
type picture struct {
	Type string `bson:"type"`
	Data []byte `bson:"data"`
}

// scope is what of a portal an admin may see: all of it, or one organization.
type scope struct {
	portal string
	// organization is empty for a Master Admin.
	organization string
}

// scopeOf is the scope of a session, or the refusal of one that is no admin's.
func (d *desk) scopeOf(ctx context.Context, s session) (scope, error) {
	switch {
	case s.Who.MasterAdmin:
		return scope{portal: s.Portal}, nil
	case s.Who.OrganizationAdmin && s.Who.Organization != "":
		return scope{portal: s.Portal, organization: s.Who.Organization}, nil
	}
	return scope{}, d.mastersOnly(ctx, s)
}

// covers tells whether an account is within the scope.
func (sc scope) covers(u user) bool {
	return u.Portal == sc.portal && !u.Deleted && (sc.organization == "" || u.Audience == contract.Organization && u.Organization == sc.organization)
}

// master refuses a session that is not a Master Admin's.
func (d *desk) master(ctx context.Context, s session) error {
	if !s.Who.MasterAdmin {
		return d.mastersOnly(ctx, s)
	}
	return nil
}

// mastersOnly says who may, to somebody who may not.
func (d *desk) mastersOnly(ctx context.Context, s session) error {
	noteRefusal(ctx, d.log, s, "administration")
	const only = "Only a Master Admin of this portal may do this."
	names, err := d.accounts.masterNames(ctx, s.Portal, 3)
	if err != nil || len(names) == 0 {
		return contract.Refuse(contract.Forbidden, only)
	}
	last := len(names) - 1
	who := names[last]
	if last > 0 {
		who = strings.Join(names[:last], ", ") + " or " + who
	}
	return contract.Refuse(contract.Forbidden, "%s Ask %s.", only, who)
}

var errNobody = contract.Refuse(contract.NotFound, "There is no such person.")

// find reads an account that the session may see. Of one that it may not, it says no more than of one that is not
// there.
func (d *desk) find(ctx context.Context, s session, id string) (user, error) {
	sc, err := d.scopeOf(ctx, s)
	if err != nil {
		return user{}, err
	}
	if !isUserID(id) {
		return user{}, errNobody
	}
	u, err := d.accounts.byID(ctx, contract.Account{Portal: s.Portal, User: id})
	if err == nil && !sc.covers(u) && !u.Deleted {
		noteRefusal(ctx, d.log, s, "a person of another organization")
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && !sc.covers(u) {
		return user{}, errNobody
	}
	return u, err
}

// isUserID tells whether s may be the id of an account: fit for a path and for a field's name.
func isUserID(s string) bool {
	for _, c := range s {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// reasonOf is what an admin wrote, which they must where must is set.
func reasonOf(typed string, must bool) (string, error) {
	typed = strings.TrimSpace(typed)
	if must && typed == "" {
		return "", invalid("reason", "Please say why: it is written to the audit log.")
	}
	if utf8.RuneCountInString(typed) > 500 {
		return "", invalid("reason", "The reason may have 500 characters.")
	}
	return typed, nil
}

func invalid(field, format string, args ...any) error {
	e := contract.Refuse(contract.InvalidRequest, format, args...)
	e.Field = field
	return e
}

// told makes one atomic change of a document and has it in the audit log before it returns: the letter that tells of
// it is part of the change, so that the log has it even if this process ends here. ok is false where the guard did not
// hold; then nothing is told.
func told[T any](ctx context.Context, d *desk, c store.Collection[T], collection, id string, ch store.Change, note contract.AuditNote) (now T, ok bool, err error) {
	letter, entry, err := d.letter(ctx, note)
	if err != nil {
		return now, false, err
	}
	if err := d.outbox.Note(ctx, collection, id, letter); err != nil {
		return now, false, err
	}
	ch.Update = withLetter(ch.Update, letter)
	now, err = c.Apply(ctx, id, ch)
	if errors.Is(err, store.ErrNotFound) {
		return now, false, nil
	}
	if err != nil {
		return now, false, err
	}
	d.outbox.Relay(collection, id, letter)
	return now, true, d.audited(ctx, entry)
}

// letter makes the letter of a note, and the call that says the same.
func (d *desk) letter(ctx context.Context, note contract.AuditNote) (bus.Letter, contract.AuditRequest, error) {
	entry := contract.AuditRequest{ID: bus.NewID(), AuditNote: note}
	letter, err := bus.NewLetter(ctx, contract.AccountChanged, entry.ID, note, note.At)
	return letter, entry, err
}

// audited waits until the audit log has an entry. Where there is no bus, the letter will tell it.
func (d *desk) audited(ctx context.Context, entry contract.AuditRequest) error {
	if d.bus == nil {
		return nil
	}
	_, err := bus.Request(ctx, d.bus, contract.PolicyAudit, entry)
	return err
}

// by begins the note of what a session did.
func (d *desk) by(s session, action contract.AuditAction, about, reason string) contract.AuditNote {
	return contract.AuditNote{Portal: s.Portal, Action: action, Actor: s.User, User: about, Reason: reason, At: d.now()}
}

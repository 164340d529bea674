package gateway

import (
	"context"
	"log/slog"
	"time"

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
	bus       *bus.Bus
	outbox    *store.Outbox
	now       func() time.Time
	log       *slog.Logger
	// origin is where people reach a portal: for the links that are handed out.
	origin func(ctx context.Context, portalID string) string
	// changed is told when a portal's document is another now.
	changed func(ctx context.Context)
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
	Sessions                           []seat
	Deliveries                         []contract.DeliveryInfo
	History                            []contract.AuditEntry
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
	Next  string
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

var errNotBuilt = contract.Refuse(contract.Unavailable, "This is not built yet.")

func (d *desk) rules(_ context.Context, _ session) (contract.RulesReply, error) {
	return contract.RulesReply{}, errNotBuilt
}

func (d *desk) preview(_ context.Context, _ session, _ contract.Settings) (preview, error) {
	return preview{}, errNotBuilt
}

func (d *desk) change(_ context.Context, _ session, _ contract.Settings) (contract.Settings, error) {
	return contract.Settings{}, errNotBuilt
}

func (d *desk) overview(_ context.Context, _ session) (overview, error) {
	return overview{}, errNotBuilt
}

func (d *desk) people(_ context.Context, _ session, _ listing) (peoplePage, error) {
	return peoplePage{}, errNotBuilt
}

func (d *desk) person(_ context.Context, _ session, _ string) (dossier, error) {
	return dossier{}, errNotBuilt
}

func (d *desk) create(_ context.Context, _ session, _ newPerson) (user, *passwordLink, error) {
	return user{}, nil, errNotBuilt
}

func (d *desk) amend(_ context.Context, _ session, _ string, _ amendment) (user, error) {
	return user{}, errNotBuilt
}

func (d *desk) remove(_ context.Context, _ session, _, _ string) error { return errNotBuilt }

func (d *desk) reset(_ context.Context, _ session, _, _ string) error { return errNotBuilt }

func (d *desk) unlock(_ context.Context, _ session, _, _ string) error { return errNotBuilt }

func (d *desk) link(_ context.Context, _ session, _ string) (passwordLink, error) {
	return passwordLink{}, errNotBuilt
}

func (d *desk) endSessions(_ context.Context, _ session, _, _ string) error { return errNotBuilt }

func (d *desk) organizations(_ context.Context, _ session, _, _ string, _ int) (organizationsPage, error) {
	return organizationsPage{}, errNotBuilt
}

func (d *desk) audit(_ context.Context, _ session, _ contract.AuditListRequest) (contract.AuditPage, error) {
	return contract.AuditPage{}, errNotBuilt
}

func (d *desk) deliveries(_ context.Context, _ session, _ contract.DeliveriesRequest) (contract.DeliveriesPage, error) {
	return contract.DeliveriesPage{}, errNotBuilt
}

func (d *desk) brand(_ context.Context, _ session) (portal, error) { return portal{}, errNotBuilt }

func (d *desk) rebrand(_ context.Context, _ session, _ branding) error { return errNotBuilt }

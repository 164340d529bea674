package web

import (
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// Standing is where a person stands.
type Standing string

// The standings, as the API spells them.
const (
	NotEnrolled Standing = "not_enrolled"
	Enrolled    Standing = "enrolled"
	Skipped     Standing = "skipped"
	Exempt      Standing = "exempt"
)

// What a list can be filtered by beside a standing.
const (
	FilterLocked Standing = "locked"
	FilterNever  Standing = "never_signed_in"
)

// Named is a person by id and name.
type Named struct {
	ID   string
	Name string
	Gone bool // the account no longer exists
}

// Label is the name, or what there is instead.
func (n Named) Label() string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID
}

// PersonRow is one person of a list.
type PersonRow struct {
	ID           string
	Name         string
	Email        string
	Audience     Audience
	Organization string

	MasterAdmin       bool
	OrganizationAdmin bool
	Federated         bool
	Disabled          bool // the account
	NoPassword        bool // nobody has used the first link yet

	Standing       Standing
	Factor         Factor
	Since          time.Time
	LockedUntil    time.Time
	FactorDisabled bool // 50 wrong codes: only recovery or a reset helps
	LastSignIn     time.Time
	Must           bool // the portal requires a factor of them
}

// People is GET /admin/users: internal users, or contacts of all organizations or of one.
type People struct {
	Notice       Text
	Audience     Audience
	Organization string // contacts of this one only
	Query        string
	Standing     Standing
	Population   *Population // figures, on an unfiltered first page
	Items        []PersonRow
	Next         string // cursor of the next page; empty at the end
	Cursor       string // of this page; empty on the first
	CanAdd       bool
}

// Filtered tells whether the list shows less than all.
func (p People) Filtered() bool { return p.Query != "" || p.Standing != "" }

func (p People) path(cursor string, filters bool) string {
	q := url.Values{"audience": {string(p.Audience)}}
	if p.Organization != "" {
		q.Set("organization", p.Organization)
	}
	if filters && p.Query != "" {
		q.Set("query", p.Query)
	}
	if filters && p.Standing != "" {
		q.Set("standing", string(p.Standing))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return "/admin/users?" + q.Encode()
}

// NextURL is the following page.
func (p People) NextURL() string { return p.path(p.Next, true) }

// FirstURL is the first page with the same filters.
func (p People) FirstURL() string { return p.path("", true) }

// AllURL is the first page without filters.
func (p People) AllURL() string { return p.path("", false) }

// Option is a choice of a menu.
type Option struct {
	Value    string
	Text     Text
	Selected bool
}

// Standings are the choices of the filter.
func (p People) Standings() []Option {
	other := Option{string(Skipped), standingSkipped, false}
	if p.Audience == InternalUsers {
		other = Option{string(Exempt), standingExempt, false}
	}
	all := []Option{
		{"", standingAny, false},
		{string(NotEnrolled), standingNotEnrolled, false},
		{string(Enrolled), standingEnrolled, false},
		other,
		{string(FilterLocked), standingLocked, false},
		{string(FilterNever), standingNever, false},
	}
	for i := range all {
		all[i].Selected = all[i].Value == string(p.Standing)
	}
	return all
}

// OrganizationRow is one organization.
type OrganizationRow struct {
	Name     string
	Contacts Figure
}

// URL is the list of its contacts.
func (r OrganizationRow) URL() string {
	return People{Audience: Contacts, Organization: r.Name}.FirstURL()
}

// Organizations is GET /admin/organizations.
type Organizations struct {
	Population *Population // on an unfiltered first page
	Query      string
	Items      []OrganizationRow
	Next       string
	Cursor     string
}

// NextURL is the following page.
func (p Organizations) NextURL() string {
	q := url.Values{"cursor": {p.Next}}
	if p.Query != "" {
		q.Set("query", p.Query)
	}
	return "/admin/organizations?" + q.Encode()
}

// FirstURL is the first page with the same filter.
func (p Organizations) FirstURL() string {
	if p.Query == "" {
		return "/admin/organizations"
	}
	return "/admin/organizations?" + url.Values{"query": {p.Query}}.Encode()
}

// SessionRow is where a person is signed in.
type SessionRow struct {
	Device   string // "Firefox on Linux"; empty: unknown
	SignedIn time.Time
	Seen     time.Time
	Methods  []Method
}

// Deed is something an admin may do, or the reason why not. The zero value is not shown at all.
type Deed struct {
	Can    bool
	WhyNot Text
}

// PersonPage is GET /admin/users/{id}.
type PersonPage struct {
	Notice  Text
	Person  PersonRow
	Next    string // what policy asks for at the next sign-in: allow, enroll or challenge
	CanSkip bool
	Partial bool // something could not be read just now

	Label        string // of the authenticator
	Destination  string // of the phone, masked
	RecoveryLeft int
	ShowRecovery bool      // they have a factor, so that codes are worth a line
	RecoveryLock time.Time // recovery codes are closed until then

	Sessions   []SessionRow
	Deliveries []DeliveryRow // the newest few
	History    []AuditRow    // the newest few
	MoreTexts  bool
	MoreEvents bool

	Reset, Unlock, EndSessions, Edit, Link, Disable, Enable, Delete Deed
}

// NextText says what happens when this person signs in the next time; nothing where policy did not answer.
func (p PersonPage) NextText() Text {
	switch {
	case p.Person.Disabled:
		return nextDisabled
	case p.Person.Federated:
		return nextExempt
	case p.Next == "challenge":
		return nextChallenge
	case p.Next == "enroll" && p.CanSkip:
		return nextEnrollSkip
	case p.Next == "enroll":
		return nextEnroll
	case p.Next == "allow" && p.Person.Standing == Skipped:
		return nextSkipped
	case p.Next == "allow":
		return nextNothing
	}
	return ""
}

// Deeds are what is offered at the foot of the page, in order.
func (p PersonPage) Deeds() []struct {
	Ask    Ask
	Text   Text
	What   Text
	Danger bool
	Deed
} {
	type row = struct {
		Ask    Ask
		Text   Text
		What   Text
		Danger bool
		Deed
	}
	var out []row
	for _, r := range []row{
		{AskPasswordLink, askLinkButton, askLinkWhat, false, p.Link},
		{AskDisable, askDisableButton, askDisableWhat, false, p.Disable},
		{AskEnable, askEnableButton, askEnableWhat, false, p.Enable},
		{AskDelete, askDeleteButton, askDeleteWhat, true, p.Delete},
	} {
		if r.Can || r.WhyNot != "" {
			out = append(out, r)
		}
	}
	return out
}

// PersonForm is GET and POST /admin/users/new, and /admin/users/{id}/edit with an ID.
type PersonForm struct {
	ID           string
	Known        string // the name before this edit
	Audience     Audience
	Name         string
	Email        string
	Organization string

	MasterAdmin       bool
	OrganizationAdmin bool
	Federated         bool // e-mail and name come from their provider

	NameError, EmailError, OrganizationError, RightsError Text
	Refused                                               Text

	RightsWhyNot Text // why rights cannot be changed here; empty: they can
	OrgFixed     bool // an organization's admin adds to their own only

	StepUpNeeded bool // granting rights needs a fresh proof: the fields are shown
	StepUp       StepUpFields
}

// Action is where the form goes.
func (p PersonForm) Action() string {
	if p.ID == "" {
		return "/admin/users/new"
	}
	return userPath(p.ID) + "/edit"
}

// Carry is what a text message on the way must not lose.
func (p PersonForm) Carry() []Field {
	return []Field{
		{"audience", string(p.Audience)},
		{"name", p.Name},
		{"email", p.Email},
		{"organization", p.Organization},
		{"master_admin", box(p.MasterAdmin)},
		{"organization_admin", box(p.OrganizationAdmin)},
		{"federated", box(p.Federated)},
	}
}

// box is a checkbox of a form as it is sent.
func box(set bool) string {
	if set {
		return "1"
	}
	return ""
}

// Back is where "Cancel" leads.
func (p PersonForm) Back() string {
	if p.ID == "" {
		return People{Audience: p.Audience}.FirstURL()
	}
	return userPath(p.ID)
}

// Wrong tells whether a field is refused.
func (p PersonForm) Wrong() bool {
	return p.NameError != "" || p.EmailError != "" || p.OrganizationError != "" || p.RightsError != ""
}

// StepUpFields is what the template of the fields reads.
func (p PersonForm) StepUpFields() StepUpFields { return p.StepUp }

func (People) page() string        { return "console-people" }
func (Organizations) page() string { return "console-organizations" }
func (PersonPage) page() string    { return "console-person" }
func (PersonForm) page() string    { return "console-person-form" }

func (p People) section() section      { return sectionOf(p.Audience) }
func (Organizations) section() section { return sectionOrganizations }
func (p PersonPage) section() section  { return sectionOf(p.Person.Audience) }
func (p PersonForm) section() section  { return sectionOf(p.Audience) }

func sectionOf(a Audience) section {
	if a == InternalUsers {
		return sectionInternal
	}
	return sectionOrganizations
}

// Format keeps the link out of anything printed.
func (PasswordLink) Format(f fmt.State, _ rune) { fmt.Fprint(f, "web.PasswordLink(secret)") }

// LogValue keeps the link out of the log.
func (PasswordLink) LogValue() slog.Value { return slog.StringValue("web.PasswordLink(secret)") }

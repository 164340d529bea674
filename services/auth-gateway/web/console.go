package web

import (
	"html/template"
	"net/url"
	"strconv"
	"time"
)

// ConsolePage is a page of the admin console: NotYours is the one that people without rights see, the others stand
// beside the console's navigation.
type ConsolePage interface {
	Page
	section() section
}

// section is the place of the navigation that a page belongs to.
type section string

const (
	sectionOverview      section = "/admin"
	sectionInternal      section = "/admin/users?audience=internal"
	sectionOrganizations section = "/admin/organizations"
	sectionContacts      section = "/admin/users?audience=organization"
	sectionSettings      section = "/admin/settings"
	sectionBranding      section = "/admin/branding"
	sectionDeliveries    section = "/admin/deliveries"
	sectionAudit         section = "/admin/audit"
)

// NavItem is one line of the console's navigation.
type NavItem struct {
	URL     string
	Text    Text
	Current bool
}

// Nav is the console's navigation for this person: the admin of an organization has its contacts only.
func (v view) Nav() []NavItem {
	p, ok := v.Page.(ConsolePage)
	if !ok || v.Kind() != "console" {
		return nil
	}
	items := []NavItem{
		{string(sectionOverview), navOverview, false},
		{string(sectionInternal), navInternal, false},
		{string(sectionOrganizations), navOrganizations, false},
		{string(sectionSettings), navSettings, false},
		{string(sectionBranding), navBranding, false},
		{string(sectionDeliveries), navDeliveries, false},
		{string(sectionAudit), navAudit, false},
	}
	here := p.section()
	if v.User.AdminOf != "" {
		items = []NavItem{{string(sectionOverview), navOverview, false}, {string(sectionContacts), navContacts, false}}
		if here == sectionOrganizations {
			here = sectionContacts
		}
	}
	for i := range items {
		items[i].Current = items[i].URL == string(here)
	}
	return items
}

// Audience is a population.
type Audience string

// The two populations, as the API spells them.
const (
	InternalUsers Audience = "internal"
	Contacts      Audience = "organization"
)

// Mode is what a portal asks of a population.
type Mode string

// The three modes, as the API spells them.
const (
	Off      Mode = "off"
	Optional Mode = "optional"
	Required Mode = "required"
)

// Figure is a number of people.
type Figure int64

// String groups the digits: 12,345.
func (f Figure) String() string {
	digits := strconv.FormatInt(int64(f), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Population is the figures of one population.
type Population struct {
	Audience    Audience
	Mode        Mode
	AllowOptOut bool
	Users       Figure // whom the settings are about
	Enrolled    Figure
	Skipped     Figure
	WillEnroll  Figure // must, at their next sign-in
	Locked      Figure
	Federated   Figure // sign in at their provider, and are exempt
	Disabled    Figure // accounts that are switched off
}

// ModeText says in words what the portal asks of the population.
func (p Population) ModeText() Text { return modeText(p.Audience, p.Mode, p.AllowOptOut) }

func modeText(a Audience, m Mode, optOut bool) Text {
	switch {
	case a == InternalUsers && m == Required:
		return modeInternalRequired
	case a == InternalUsers && m == Optional:
		return modeInternalOptional
	case a == InternalUsers:
		return modeInternalOff
	case m == Required && optOut:
		return modeOrganizationsOptOut
	case m == Required:
		return modeOrganizationsRequired
	case m == Optional:
		return modeOrganizationsOptional
	}
	return modeOrganizationsOff
}

// URL is the list of those of the population who stand so; of all for an empty standing.
func (p Population) URL(s Standing) string {
	return People{Audience: p.Audience, Standing: s}.FirstURL()
}

// Overview is GET /admin.
type Overview struct {
	Notice Text
	// Populations are internal users and organizations, or the one that an organization's admin has.
	Populations []Population
	// Tasks are what an admin would do next, most urgent first.
	Tasks []Task
	// Admins are who can do what this admin cannot (only for an organization's admin).
	Admins []string
}

// Task is something worth doing.
type Task struct {
	Text   Text
	Count  Figure
	URL    string
	Urgent bool
}

// NotYours is GET /admin, and all below it, for whom it is not: who can, and a way back (B06).
type NotYours struct {
	Text   Text     // ForMasterAdmins, ForAdmins, ...
	Admins []string // names of those who can
	Back   string   // default /account
}

// Ask is something an admin is about to do to one person; its page says what will happen before it does.
type Ask string

// What an admin may do to a person. Each is a page /admin/users/{id}/{ask}.
const (
	AskReset        Ask = "reset"
	AskUnlock       Ask = "unlock"
	AskEndSessions  Ask = "end-sessions"
	AskDisable      Ask = "disable"
	AskEnable       Ask = "enable"
	AskDelete       Ask = "delete"
	AskPasswordLink Ask = "password-link"
)

// askTexts are what the page of an Ask says: its title, what will happen, and its button.
var askTexts = map[Ask]struct {
	title, button Text
	effects       []Text
	danger        bool
}{
	AskReset:        {askResetTitle, askResetButton, []Text{askResetFactor, askResetSessions, askResetNext, askLogged}, true},
	AskUnlock:       {askUnlockTitle, askUnlockButton, []Text{askUnlockNow, askUnlockKept, askLogged}, false},
	AskEndSessions:  {askSessionsTitle, askSessionsButton, []Text{askSessionsNow, askSessionsNext, askLogged}, false},
	AskDisable:      {askDisableTitle, askDisableButton, []Text{askDisableNow, askDisableKept, askLogged}, true},
	AskEnable:       {askEnableTitle, askEnableButton, []Text{askEnableNow, askLogged}, false},
	AskDelete:       {askDeleteTitle, askDeleteButton, []Text{askDeleteNow, askDeleteFinal, askDeleteLog}, true},
	AskPasswordLink: {askLinkTitle, askLinkButton, []Text{askLinkOnce, askLinkOld, askLinkSafe, askLogged}, false},
}

// Confirm asks before something is done to a person. It posts to /admin/users/{id}/{ask}: reason, typed, and password
// and code where StepUpNeeded.
type Confirm struct {
	Ask         Ask
	ID          string
	Name, Email string
	Audience    Audience

	Reason      string
	ReasonError Text
	Typed       string // AskDelete: the address, typed again
	TypedError  Text

	StepUpNeeded bool
	StepUp       StepUpFields
	Refused      Text // why it was not done
}

// Action is where the form goes.
func (p Confirm) Action() string { return userPath(p.ID) + "/" + string(p.Ask) }

// Carry is what a text message on the way must not lose.
func (p Confirm) Carry() []Field { return []Field{{"reason", p.Reason}, {"typed", p.Typed}} }

// Title is the page's heading.
func (p Confirm) Title() Text { return askTexts[p.Ask].title }

// Button is the words of its button.
func (p Confirm) Button() Text { return askTexts[p.Ask].button }

// Effects are what will happen, exactly.
func (p Confirm) Effects() []Text { return askTexts[p.Ask].effects }

// Danger is set where it cannot be undone by another button.
func (p Confirm) Danger() bool { return askTexts[p.Ask].danger }

// NeedsReason is set where it is not done without a reason.
func (p Confirm) NeedsReason() bool { return p.Ask == AskReset || p.Ask == AskUnlock }

// TakesReason is set where a reason can be given.
func (p Confirm) TakesReason() bool { return p.Ask != AskPasswordLink && p.Ask != AskEnable }

// StepUpFields is what the template of the fields reads.
func (p Confirm) StepUpFields() StepUpFields { return p.StepUp }

// PasswordLink shows a one-time link, once: answer it to the POST itself. It holds a secret: do not log or keep it.
type PasswordLink struct {
	ID, Name, Email string
	Audience        Audience
	URL             string
	Until           time.Time
	Created         bool // the account was made a moment ago
}

func (Overview) page() string     { return "console-overview" }
func (NotYours) page() string     { return "console-not-yours" }
func (Confirm) page() string      { return "console-confirm" }
func (PasswordLink) page() string { return "console-password-link" }

func (Overview) section() section       { return sectionOverview }
func (NotYours) section() section       { return "" }
func (p Confirm) section() section      { return sectionOf(p.Audience) }
func (p PasswordLink) section() section { return sectionOf(p.Audience) }

// userPath is the page of a person.
func userPath(id string) string { return "/admin/users/" + url.PathEscape(id) }

// personLink is a name that leads to the person's page; an unknown person is their id.
func personLink(p Named) template.HTML {
	name := template.HTMLEscapeString(p.Label())
	if p.ID == "" || p.Gone {
		return template.HTML("<b>" + name + "</b>") //nolint:gosec // escaped
	}
	return template.HTML(`<a href="` + template.HTMLEscapeString(userPath(p.ID)) + `">` + name + `</a>`) //nolint:gosec // escaped
}

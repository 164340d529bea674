package web

import (
	"fmt"
	"strconv"
	"time"
)

// Policy is the second-factor settings as a form holds them.
type Policy struct {
	Internal      Mode
	Organizations Mode
	AllowOptOut   bool
	Version       int64
}

// ModeText says in words what is asked of a population.
func (p Policy) ModeText(a Audience) Text {
	if a == InternalUsers {
		return modeText(a, p.Internal, false)
	}
	return modeText(a, p.Organizations, p.AllowOptOut)
}

// Choice is one mode as a radio card.
type Choice struct {
	Value   Mode
	Title   Text
	What    Text
	Checked bool
}

// InternalChoices are the modes of internal users.
func (p Policy) InternalChoices() []Choice { return choices(p.Internal, whatInternalRequired) }

// OrganizationChoices are the modes of contacts.
func (p Policy) OrganizationChoices() []Choice { return choices(p.Organizations, whatContactsRequired) }

func choices(m Mode, required Text) []Choice {
	return []Choice{
		{Off, modeOff, whatOff, m == Off || m == ""}, {Optional, modeOptional, whatOptional, m == Optional}, {Required, modeRequired, required, m == Required},
	}
}

// SettingsForm is GET /admin/settings. Posts internal, organizations, allow_opt_out and version to
// /admin/settings/preview, which saves nothing.
type SettingsForm struct {
	Notice Text // SettingsSaved
	Policy Policy
	// Stale is set when somebody else saved meanwhile: Policy is what holds now, Wanted what was about to be saved.
	Stale  bool
	Wanted Policy
	// Locked says why this admin may look but not change: they have no second factor yet (B08).
	Locked Text
}

// Hit is whom a change hits in one population (B10).
type Hit struct {
	Audience   Audience
	Before     Text
	After      Text
	Changed    bool
	InScope    Figure
	WillEnroll Figure
	Skipped    Figure
}

// SettingsPreview is POST /admin/settings/preview and, when password or code were wrong, POST /admin/settings. Posts
// the same fields, with password and code, to /admin/settings.
type SettingsPreview struct {
	Policy   Policy
	Hits     []Hit
	Warnings []Text // in the words of the gateway
	Refused  Text

	StepUpNeeded bool
	StepUp       StepUpFields
}

// Action is where the form goes.
func (SettingsPreview) Action() string { return string(sectionSettings) }

// Carry is the change itself.
func (p SettingsPreview) Carry() []Field {
	return []Field{
		{"internal", string(p.Policy.Internal)},
		{"organizations", string(p.Policy.Organizations)},
		{"allow_opt_out", box(p.Policy.AllowOptOut)},
		{"version", strconv.FormatInt(p.Policy.Version, 10)},
	}
}

// StepUpFields is what the template of the fields reads.
func (p SettingsPreview) StepUpFields() StepUpFields { return p.StepUp }

// Nothing tells that nothing would change.
func (p SettingsPreview) Nothing() bool {
	for _, h := range p.Hits {
		if h.Changed {
			return false
		}
	}
	return true
}

// BrandingForm is GET and POST /admin/branding; POST /admin/branding/preview shows it again with a sample of the
// colour, and saves nothing.
type BrandingForm struct {
	Notice Text
	Brand  Brand
	// LogoSize is the limit of a logo in KiB; 0: logos cannot be sent here.
	LogoSize int
	Refused  Text

	NameError, AccentError, LogoError                 Text
	SupportEmailError, SupportURLError, HelpTextError Text
	RequestError, ResetError                          Text
}

// Line is one line of a form.
type Line struct {
	ID, Name, Type, Value string
	Label, Missing, Error Text
	Max                   int
	Focus                 bool // the first that is wrong
}

// LookLines are the fields of the portal's look.
func (p BrandingForm) LookLines() []Line {
	return focusFirst([]Line{
		{ID: "name", Name: "name", Type: "text", Value: p.Brand.Name, Label: labelPortalName, Missing: PortalNameMissing, Error: p.NameError, Max: 60},
	}, false)
}

// HelpLines are the fields of whom to ask.
func (p BrandingForm) HelpLines() []Line {
	return focusFirst([]Line{
		{ID: "support-email", Name: "support_email", Type: "email", Value: p.Brand.SupportEmail, Label: labelSupportEmail, Error: p.SupportEmailError, Max: 254},
		{ID: "support-url", Name: "support_url", Type: "url", Value: p.Brand.SupportURL, Label: labelSupportURL, Error: p.SupportURLError, Max: 500},
		{ID: "help-text", Name: "help_text", Type: "text", Value: p.Brand.HelpText, Label: labelHelpText, Error: p.HelpTextError, Max: 300},
		{ID: "request", Name: "request_account_url", Type: "url", Value: p.Brand.RequestAccountURL, Label: labelRequestURL, Error: p.RequestError, Max: 500},
		{ID: "reset", Name: "reset_login_url", Type: "url", Value: p.Brand.ResetLoginURL, Label: labelResetURL, Error: p.ResetError, Max: 500},
	}, p.NameError != "")
}

func focusFirst(lines []Line, taken bool) []Line {
	for i := range lines {
		if lines[i].Error != "" && !taken {
			lines[i].Focus, taken = true, true
		}
	}
	return lines
}

// Color is the accent as a colour field takes it: #rrggbb.
func (p BrandingForm) Color() string {
	c, ok := parseHex(p.Brand.Accent)
	if !ok {
		return defaultAccent
	}
	return c.String()
}

// Wrong tells whether a field is refused.
func (p BrandingForm) Wrong() bool {
	for _, e := range []Text{p.NameError, p.AccentError, p.SupportEmailError, p.SupportURLError, p.RequestError, p.ResetError, p.LogoError, p.HelpTextError} {
		if e != "" {
			return true
		}
	}
	return false
}

// BrandSample is a picture of the accent as a button and a link, on a light and on a dark page.
func BrandSample(accent, button, link string) []byte {
	s := shades(accent)
	half := func(x int, paper, ground rgb, p palette) string {
		return fmt.Sprintf(`<g transform="translate(%d 0)"><path fill="%s" d="M0 0h240v104H0z"/><rect x="16" y="14" width="208" height="76" rx="10" fill="%s"/>`+
			`<rect x="29" y="30" width="92" height="44" rx="9" fill="%s" stroke="%s"/><text x="75" y="57" text-anchor="middle" font-weight="600" fill="%s">%s</text>`+
			`<text x="172" y="57" text-anchor="middle" text-decoration="underline" fill="%s">%s</text></g>`,
			x, ground, paper, p.accent, p.edge, p.ink, button, p.text, link)
	}
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="480" height="104" viewBox="0 0 480 104" font-family="system-ui,sans-serif" font-size="14">` +
		half(0, lightPaper, lightGround, s.light) + half(240, darkPaper, darkGround, s.dark) + `</svg>`)
}

// AccentOK tells whether a colour can be used: #rrggbb or #rgb.
func AccentOK(accent string) bool {
	_, ok := parseHex(accent)
	return ok
}

func (SettingsForm) page() string    { return "console-settings" }
func (SettingsPreview) page() string { return "console-settings-preview" }
func (BrandingForm) page() string    { return "console-branding" }

func (SettingsForm) section() section    { return sectionSettings }
func (SettingsPreview) section() section { return sectionSettings }
func (BrandingForm) section() section    { return sectionBranding }

// dateOnly is a day as a date field writes it, or nothing.
func dateOnly(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

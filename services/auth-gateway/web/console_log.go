package web

import (
	"html/template"
	"math"
	"net/url"
	"strconv"
	"time"
)

// DeliveryRow is one text message.
type DeliveryRow struct {
	Person      Named
	At          time.Time
	Destination string // masked
	Purpose     Text   // ForSignIn, ForEnrolment, ForStepUp
	Delivery    Delivery
	Reason      Text // why it failed
	Attempts    int
	MessageID   string
	Verified    bool // its code was typed
}

// Filter is what a list of events is narrowed by: fields user, action, from and to of its form.
type Filter struct {
	User     Named // by address or id
	Typed    string
	Action   string
	From, To time.Time // whole days; To is the last one shown
}

// Any tells whether anything is narrowed.
func (f Filter) Any() bool {
	return f.User.ID != "" || f.Typed != "" || f.Action != "" || !f.From.IsZero() || !f.To.IsZero()
}

// Person is what the field "user" holds.
func (f Filter) Person() string {
	if f.Typed != "" {
		return f.Typed
	}
	return f.User.ID
}

// FromDay and ToDay are the days as date fields write them.
func (f Filter) FromDay() string { return dateOnly(f.From) }

// ToDay is the last day shown.
func (f Filter) ToDay() string { return dateOnly(f.To) }

func (f Filter) url(path, cursor string) string {
	q := url.Values{}
	for name, value := range map[string]string{"user": f.Person(), "action": f.Action, "from": f.FromDay(), "to": f.ToDay(), "cursor": cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// Traffic is how text messages fared in the last 24 hours, by country.
type Traffic struct {
	Rows        []TrafficRow
	BudgetSpent bool // no text is sent today any more
	Unknown     bool // it cannot be told just now
}

// TrafficRow is one country.
type TrafficRow struct {
	Country        string // ISO 3166-1 alpha-2
	Sent, Answered int
	StoppedUntil   time.Time // zero: it is texted
	Recorded       bool      // the stop is recorded only
}

// Percent is how many of a hundred codes came back.
func (r TrafficRow) Percent() int { return 100 * r.Answered / max(1, r.Sent) }

// Stopped tells whether a country is, or would be, texted no longer.
func (r TrafficRow) Stopped() bool { return !r.StoppedUntil.IsZero() }

// Deliveries is GET /admin/deliveries.
type Deliveries struct {
	Traffic   *Traffic // nil: not asked for, on later pages
	Filter    Filter
	UserError Text // nobody has that address
	Items     []DeliveryRow
	Next      string
	Cursor    string
}

// NextURL is the following page.
func (p Deliveries) NextURL() string { return p.Filter.url(string(sectionDeliveries), p.Next) }

// FirstURL is the first page with the same filter.
func (p Deliveries) FirstURL() string { return p.Filter.url(string(sectionDeliveries), "") }

// AuditRow is one entry of the audit log.
type AuditRow struct {
	Seq     int64
	At      time.Time
	Action  string
	Actor   Named // no ID: nobody, or not a person of the portal: then the Name says who
	Person  Named
	Reason  string
	Detail  map[string]string
	Request string
}

// Audit is GET /admin/audit; the same filter at /admin/audit.csv exports it.
type Audit struct {
	Filter    Filter
	UserError Text
	Actions   []Option
	Items     []AuditRow
	Next      string
	Cursor    string
}

// NextURL is the following page.
func (p Audit) NextURL() string { return p.Filter.url(string(sectionAudit), p.Next) }

// FirstURL is the first page with the same filter.
func (p Audit) FirstURL() string { return p.Filter.url(string(sectionAudit), "") }

// CSVURL exports what the filter shows.
func (p Audit) CSVURL() string { return p.Filter.url(string(sectionAudit)+".csv", "") }

// ActionText names an action of the audit log, for the menu; an unknown one is its own name.
func ActionText(action string) Text {
	if a, ok := auditTexts[action]; ok {
		return a.name
	}
	return Text(action)
}

// Sentence says what happened, in words: who, what and whom.
func (v view) Sentence(r AuditRow) (template.HTML, error) {
	c := textsOf(v.Lang)
	a, known := auditTexts[r.Action]
	if !known {
		a.name, a.self, a.other = Text(r.Action), auditUnknown, auditUnknown
	}
	text := a.other
	if r.Actor.Label() == "" || r.Actor.ID != "" && r.Actor.ID == r.Person.ID {
		text = a.self
	}
	return c.rich(text, personLink(r.Actor), personLink(r.Person), string(a.name))
}

// Details are what else is to be known of an entry, in words where we have them.
func (v view) Details(r AuditRow) []string {
	c := textsOf(v.Lang)
	var out []string
	say := func(t Text, args ...any) {
		if s, err := c.must(t, args...); err == nil {
			out = append(out, s)
		}
	}
	d := r.Detail
	if r.Action == "settings_changed" {
		for _, p := range []struct{ name, key Text }{{detailInternal, "internal"}, {detailOrganizations, "organizations"}} {
			if before, after := d[string(p.key)+"_before"], d[string(p.key)+"_after"]; before != after {
				say(p.name, Say(v.Lang, modeNames[before]), Say(v.Lang, modeNames[after]))
			}
		}
		switch {
		case d["opt_out_before"] != "true" && d["opt_out_after"] == "true":
			say(detailOptOutOn)
		case d["opt_out_before"] == "true" && d["opt_out_after"] != "true":
			say(detailOptOutOff)
		}
		return out
	}
	switch d["factor"] {
	case "totp":
		say(factorTOTP)
	case "sms":
		say(factorSMS)
	}
	if t, ok := outcomeTexts[d["outcome"]]; ok {
		say(t)
	}
	if t, ok := failureTexts[d["reason"]]; ok && r.Action == "challenge_ended" {
		say(t)
	}
	out = append(out, v.limits(d)...)
	if n := d["failures"]; n != "" {
		say(detailFailures, n)
	}
	if d["until"] == "disabled" {
		say(detailClosed)
	}
	if n := d["codes_left"]; n != "" {
		say(detailCodesLeft, n)
	}
	for _, p := range []struct {
		text Text
		args []any
		when bool
	}{
		{detailEmail, []any{d["email"]}, d["email"] != ""},
		{detailNewEmail, []any{d["email_before"], d["email_after"]}, d["email_after"] != ""},
		{detailMoved, []any{d["organization_before"], d["organization_after"]}, d["organization_after"] != ""},
		{detailRights, []any{Say(v.Lang, rightsTexts[d["rights_before"]]), Say(v.Lang, rightsTexts[d["rights_after"]])}, d["rights_after"] != d["rights_before"]},
		{detailDisabled, nil, d["disabled"] == "yes"},
		{detailReenabled, nil, d["disabled"] == "no"},
		{detailChanged, nil, d["fields"] == "name"},
	} {
		if p.when {
			say(p.text, p.args...)
		}
	}
	return out
}

// limits are the details of an entry about limits on text messages.
func (v view) limits(d map[string]string) []string {
	c := textsOf(v.Lang)
	var out []string
	say := func(t Text, args ...any) { out = append(out, Say(v.Lang, t, args...)) }
	if t, ok := guardTexts[d["guard"]]; ok {
		say(t)
	}
	for _, subject := range []string{d["subject"], d["country"]} {
		if subject != "" {
			out = append(out, c.place(subject))
		}
	}
	if seconds, err := strconv.Atoi(d["window"]); err == nil && d["limit"] != "" {
		say(detailLimit, d["limit"], c.span(time.Duration(seconds)*time.Second, math.Ceil))
	}
	if d["sent"] != "" && d["answered"] != "" {
		say(detailAnswered, d["answered"], d["sent"])
	}
	if until, err := time.Parse(time.RFC3339, d["until"]); err == nil && d["country"] != "" {
		say(detailUntil, until.UTC().Format(time.DateOnly+" 15:04"))
	}
	if d["recorded"] == "true" || d["recorded"] == "yes" {
		say(detailRecorded)
	}
	return out
}

func (Deliveries) page() string { return "console-deliveries" }
func (Audit) page() string      { return "console-audit" }

func (Deliveries) section() section { return sectionDeliveries }
func (Audit) section() section      { return sectionAudit }

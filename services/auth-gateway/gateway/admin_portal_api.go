package gateway

import (
	"context"
	"time"

	"sallyport/pkg/contract"
)

type organizationsRequest struct {
	Query  string `query:"query" maxLength:"200" doc:"The beginning of a name."`
	Cursor string `query:"cursor" maxLength:"2000" doc:"next of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

// OrganizationInfo is a client company.
type OrganizationInfo struct {
	Name     string `json:"name"`
	Contacts int64  `json:"contacts" doc:"How many contacts it has."`
}

type organizationsAnswer struct {
	Body struct {
		Items []OrganizationInfo `json:"items"`
		Next  string             `json:"next,omitempty" doc:"The cursor of the following page; absent at the end."`
	}
}

func (g *gateway) apiOrganizations(ctx context.Context, in *organizationsRequest) (*organizationsAnswer, error) {
	page, err := g.desk.organizations(ctx, sessionOf(ctx), in.Query, in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &organizationsAnswer{}
	out.Body.Items, out.Body.Next = []OrganizationInfo{}, page.Next
	for _, o := range page.Items {
		out.Body.Items = append(out.Body.Items, OrganizationInfo(o))
	}
	return out, nil
}

// Period is a span of time and a place in a list: what logs are asked by.
type Period struct {
	User   string    `query:"user" maxLength:"64" doc:"The id of a person."`
	From   time.Time `query:"from" doc:"Not before."`
	To     time.Time `query:"to" doc:"Before."`
	Cursor string    `query:"cursor" maxLength:"2000" doc:"next of the page before."`
	Limit  int       `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type auditRequest struct {
	Period
	Action string `query:"action" enum:"enrolment_started,enrolment_confirmed,enrolment_reset,enrolment_removed,enrolment_skipped,enrolment_enabled,settings_changed,challenge_ended,factor_locked,factor_unlocked,factor_recovered,recovery_codes_made,user_created,user_changed,user_deleted,password_link_made,password_set,sessions_ended,portal_created,portal_changed,break_glass,texts_limited,texts_stopped,texts_resumed,password_guesses,users_exported,keys_changed"`
}

// AuditEntry is one entry of the audit log.
type AuditEntry struct {
	Seq     int64             `json:"seq" doc:"Counts the portal's entries from 1, without gaps."`
	ID      string            `json:"id"`
	Action  string            `json:"action"`
	Actor   string            `json:"actor,omitempty" doc:"Who did it: a person's id, recovery, or operator and a name."`
	User    string            `json:"user,omitempty" doc:"The id of whom it is about."`
	Reason  string            `json:"reason,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
	At      time.Time         `json:"at"`
	Request string            `json:"request_id,omitempty"`
	Hash    string            `json:"hash" doc:"Binds this entry to all before it."`
}

type auditAnswer struct {
	Body struct {
		Items []AuditEntry `json:"items"`
		Next  string       `json:"next,omitempty" doc:"The cursor of the following page; absent at the end."`
	}
}

func (g *gateway) apiAudit(ctx context.Context, in *auditRequest) (*auditAnswer, error) {
	page, err := g.desk.audit(ctx, sessionOf(ctx), contract.AuditListRequest{
		User: in.User, Action: contract.AuditAction(in.Action), From: in.From, To: in.To, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := &auditAnswer{}
	out.Body.Items, out.Body.Next = []AuditEntry{}, page.Next
	for _, e := range page.Items {
		out.Body.Items = append(out.Body.Items, AuditEntry{e.Seq, e.ID, string(e.Action), e.Actor, e.User, e.Reason, e.Detail, e.At, e.Request, e.Hash})
	}
	return out, nil
}

// TextMessage is a text message as an admin may see it.
type TextMessage struct {
	ID          string     `json:"id"`
	User        string     `json:"user"`
	Purpose     string     `json:"purpose" enum:"enrolment,sign_in,step_up"`
	Destination string     `json:"destination" example:"xxx-xxx-9443"`
	Delivery    string     `json:"delivery" enum:"queued,sent,failed"`
	Reason      string     `json:"reason,omitempty" enum:"invalid_number,opted_out,expired,superseded,carrier,stopped,unsendable"`
	Attempts    int        `json:"attempts"`
	MessageID   string     `json:"message_id,omitempty" doc:"The provider's, by which its support finds the message."`
	CreatedAt   time.Time  `json:"created_at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	VerifiedAt  *time.Time `json:"verified_at,omitempty" doc:"When its code was typed."`
}

type deliveriesAnswer struct {
	Body struct {
		Items []TextMessage `json:"items"`
		Next  string        `json:"next,omitempty" doc:"The cursor of the following page; absent at the end."`
	}
}

type deliveriesRequest struct {
	Period
	Action string `query:"action" enum:"enrolment,sign_in,step_up" doc:"What the text was for. A page may hold fewer than the limit though there are more: go on for as long as there is a next cursor."`
}

func (g *gateway) apiDeliveries(ctx context.Context, in *deliveriesRequest) (*deliveriesAnswer, error) {
	page, err := g.desk.deliveries(ctx, sessionOf(ctx), contract.DeliveriesRequest{User: in.User, Purpose: contract.Purpose(in.Action), From: in.From, To: in.To, Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := &deliveriesAnswer{}
	out.Body.Items, out.Body.Next = []TextMessage{}, page.Next
	for _, m := range page.Items {
		out.Body.Items = append(out.Body.Items, TextMessage{
			m.Challenge, m.User, string(m.Purpose), m.Destination, string(m.Delivery), string(m.Reason), m.Attempts, m.MessageID,
			m.CreatedAt, orNil(m.EndedAt), orNil(m.VerifiedAt),
		})
	}
	return out, nil
}

// Traffic is how the portal's text messages to one country fared in the last 24 hours.
type Traffic struct {
	Country      string     `json:"country" example:"GB" doc:"A region of ISO 3166-1."`
	Sent         int        `json:"sent" doc:"Text messages whose codes are over: typed, replaced or expired."`
	Answered     int        `json:"answered" doc:"How many of those codes were typed."`
	StoppedUntil *time.Time `json:"stopped_until,omitempty" doc:"No text is sent there before, because too few codes came back. An operator can end this sooner."`
	Recorded     bool       `json:"recorded,omitempty" doc:"The stop is recorded only: texts go out all the same."`
}

type trafficAnswer struct {
	Body struct {
		Countries   []Traffic `json:"countries" doc:"Those that were texted or are stopped."`
		BudgetSpent bool      `json:"budget_spent" doc:"No text is sent today any more: the installation's budget is spent."`
	}
}

func (g *gateway) apiTraffic(ctx context.Context, _ *struct{}) (*trafficAnswer, error) {
	found, err := g.desk.traffic(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	out := &trafficAnswer{}
	out.Body.Countries, out.Body.BudgetSpent = []Traffic{}, found.BudgetSpent
	for _, c := range found.Countries {
		out.Body.Countries = append(out.Body.Countries, Traffic{c.Country, c.Sent, c.Answered, c.StoppedUntil, c.Recorded})
	}
	return out, nil
}

// orNil makes a time that never was absent.
func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Branding is how a portal's pages look.
type Branding struct {
	Name              string `json:"name" maxLength:"320"`
	Accent            string `json:"accent,omitempty" example:"#1f5fd0" maxLength:"7"`
	SupportEmail      string `json:"support_email,omitempty" maxLength:"254"`
	SupportURL        string `json:"support_url,omitempty" maxLength:"500" doc:"https or mailto."`
	HelpText          string `json:"help_text,omitempty" maxLength:"4000" doc:"Whom to ask, in the portal's own words."`
	RequestAccountURL string `json:"request_account_url,omitempty" maxLength:"500" doc:"https or mailto."`
	ResetLoginURL     string `json:"reset_login_url,omitempty" maxLength:"500" doc:"https or mailto."`
	Logo              *Logo  `json:"logo,omitempty" doc:"Absent: stays as it is. Without data: is removed."`
	LogoDark          *Logo  `json:"logo_dark,omitempty" doc:"The logo for dark pages; the same."`
}

// Logo is a picture.
type Logo struct {
	Type string `json:"type,omitempty" enum:"image/svg+xml,image/png,image/jpeg,image/webp" doc:"In an answer only: found from the data."`
	Data []byte `json:"data,omitempty" doc:"SVG, PNG, JPEG or WebP in base64, at most 12 KiB; the whole request at most 16 KiB."`
}

func (l *Logo) picture() *picture {
	if l == nil {
		return nil
	}
	return &picture{Data: l.Data}
}

func logoOf(p *picture) *Logo {
	if p == nil {
		return nil
	}
	return &Logo{p.Type, p.Data}
}

type brandingAnswer struct{ Body Branding }

func (g *gateway) apiBranding(ctx context.Context, _ *struct{}) (*brandingAnswer, error) {
	p, err := g.desk.brand(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	return &brandingAnswer{Branding{
		p.Name, p.Accent, p.SupportEmail, p.SupportURL, p.HelpText, p.RequestAccountURL, p.ResetLoginURL, logoOf(p.Logo), logoOf(p.LogoDark),
	}}, nil
}

type brandingRequest struct{ Body Branding }

func (g *gateway) apiRebrand(ctx context.Context, in *brandingRequest) (*brandingAnswer, error) {
	b := in.Body
	err := g.desk.rebrand(ctx, sessionOf(ctx), branding{
		Name: b.Name, Accent: b.Accent, SupportEmail: b.SupportEmail, SupportURL: b.SupportURL, HelpText: b.HelpText,
		RequestAccountURL: b.RequestAccountURL, ResetLoginURL: b.ResetLoginURL, Logo: b.Logo.picture(), LogoDark: b.LogoDark.picture(),
	})
	if err != nil {
		return nil, err
	}
	return g.apiBranding(ctx, nil)
}

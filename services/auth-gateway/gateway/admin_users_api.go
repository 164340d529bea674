package gateway

import (
	"context"
	"slices"
	"time"

	"sallyport/pkg/contract"
)

// Person is an account as admins see it.
type Person struct {
	User
	Disabled     bool          `json:"disabled"`
	Locked       bool          `json:"locked" doc:"The factor takes no code now: until locked_until, or where that is absent, until recovery or a reset."`
	CodesLeft    *int          `json:"recovery_codes_left,omitempty" doc:"How many recovery codes are left, where one person is looked at, and totp-svc and policy-svc answer."`
	Recovery     *RecoveryLock `json:"recovery_lock,omitempty" doc:"Wrong recovery codes have closed them."`
	PasswordLink *PasswordLink `json:"password_link,omitempty" doc:"By which a person with a new local account sets their password. Shown this once."`
}

// RecoveryLock is how long no recovery code is taken.
type RecoveryLock struct {
	LockedUntil *time.Time `json:"locked_until,omitempty" doc:"Absent where only a reset helps."`
}

// PasswordLink lets a person set their password, once.
type PasswordLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

func personOf(c card) Person {
	p := Person{User: userOf(profileOf(c.user)), Disabled: c.Disabled, Locked: c.LockedUntil != nil || c.Closed}
	p.Standing, p.LockedUntil, p.LastSignInAt, p.Factors = string(c.Standing), c.LockedUntil, c.LastSignInAt, []Factor{}
	if c.Factor != nil {
		p.Factors = append(p.Factors, Factor{Factor: string(c.Factor.Factor), Label: c.Factor.Label, Since: c.Factor.Since})
	}
	return p
}

type usersRequest struct {
	Query        string `query:"query" maxLength:"254" doc:"The beginning of an address, of a name, or of a last name; case and accents do not matter. Nothing else is looked at: for the people of a company, ask by organization."`
	Audience     string `query:"audience" enum:"internal,organization"`
	Organization string `query:"organization" maxLength:"200" doc:"The name of an organization."`
	Standing     string `query:"standing" enum:"not_enrolled,enrolled,skipped,exempt,locked,never_signed_in"`
	Cursor       string `query:"cursor" maxLength:"2000" doc:"next of the page before."`
	Limit        int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type usersAnswer struct {
	Body struct {
		Items []Person `json:"items"`
		Next  string   `json:"next,omitempty" doc:"The cursor of the following page; absent at the end."`
	}
}

func (g *gateway) apiUsers(ctx context.Context, in *usersRequest) (*usersAnswer, error) {
	page, err := g.desk.people(ctx, sessionOf(ctx), listing{
		Query: in.Query, Audience: contract.Audience(in.Audience), Organization: in.Organization, Standing: in.Standing, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := &usersAnswer{}
	out.Body.Items, out.Body.Next = []Person{}, page.Next
	for _, c := range page.Items {
		out.Body.Items = append(out.Body.Items, personOf(c))
	}
	return out, nil
}

type createUserRequest struct {
	Body struct {
		Email             string `json:"email" maxLength:"254"`
		Name              string `json:"name" maxLength:"400"`
		Audience          string `json:"audience" enum:"internal,organization"`
		Organization      string `json:"organization,omitempty" maxLength:"400" doc:"The name of the organization (contacts only)."`
		MasterAdmin       bool   `json:"master_admin,omitempty"`
		OrganizationAdmin bool   `json:"organization_admin,omitempty"`
		Federated         bool   `json:"federated,omitempty" doc:"Signs in at the identity provider and has no password here."`
		Reason            string `json:"reason,omitempty" maxLength:"2000" doc:"For the audit log."`
	}
}

type personAnswer struct{ Body Person }

func (g *gateway) apiCreateUser(ctx context.Context, in *createUserRequest) (*personAnswer, error) {
	b := in.Body
	s := sessionOf(ctx)
	u, link, err := g.desk.create(ctx, s, newPerson{
		Email: b.Email, Name: b.Name, Audience: contract.Audience(b.Audience), Organization: b.Organization,
		MasterAdmin: b.MasterAdmin, OrganizationAdmin: b.OrganizationAdmin, Federated: b.Federated, Reason: b.Reason,
	})
	if err != nil {
		return nil, err
	}
	out := &personAnswer{personOf(sight{portal: s.Portal, now: g.now()}.card(u))} // nobody new has a factor
	if link != nil {
		out.Body.PasswordLink = &PasswordLink{link.URL.Reveal(), link.ExpiresAt}
	}
	return out, nil
}

// UserPath names the person that a request is about. It is exported because huma looks past fields that are not.
type UserPath struct {
	ID string `path:"id" maxLength:"64" doc:"The id of the person."`
}

func (g *gateway) apiUser(ctx context.Context, in *UserPath) (*personAnswer, error) {
	p, err := g.desk.person(ctx, sessionOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := personOf(p.card)
	if !slices.Contains(p.Missing, contract.TOTP) && !slices.Contains(p.Missing, contract.Policy) {
		if out.CodesLeft = &p.CodesLeft; p.Recovery != nil {
			out.Recovery = &RecoveryLock{p.Recovery.Until}
		}
	}
	for i, f := range out.Factors {
		if f.Factor == string(contract.FactorSMS) {
			out.Factors[i].Destination = p.Destination
		}
	}
	return &personAnswer{out}, nil
}

type amendUserRequest struct {
	UserPath
	Body struct {
		Email             *string `json:"email,omitempty" maxLength:"254" doc:"Moving an admin's address, or that of a federated account, needs a fresh proof like master_admin."`
		Name              *string `json:"name,omitempty" maxLength:"400"`
		Organization      *string `json:"organization,omitempty" maxLength:"400"`
		MasterAdmin       *bool   `json:"master_admin,omitempty" doc:"Giving it needs a sign-in with a second factor, or a step-up, at most five minutes old."`
		OrganizationAdmin *bool   `json:"organization_admin,omitempty" doc:"The same."`
		Disabled          *bool   `json:"disabled,omitempty" doc:"Shutting an admin out needs a fresh proof like master_admin."`
		Reason            string  `json:"reason,omitempty" maxLength:"2000" doc:"For the audit log."`
	}
}

func (g *gateway) apiAmendUser(ctx context.Context, in *amendUserRequest) (*personAnswer, error) {
	b := in.Body
	s := sessionOf(ctx)
	_, err := g.desk.amend(ctx, s, in.ID, amendment{
		Email: b.Email, Name: b.Name, Organization: b.Organization, MasterAdmin: b.MasterAdmin, OrganizationAdmin: b.OrganizationAdmin,
		Disabled: b.Disabled, Reason: b.Reason,
	})
	if err != nil {
		return nil, err
	}
	return g.apiUser(ctx, &in.UserPath)
}

type deleteUserRequest struct {
	UserPath
	Reason string `query:"reason" maxLength:"2000" doc:"For the audit log."`
}

func (g *gateway) apiDeleteUser(ctx context.Context, in *deleteUserRequest) (*struct{}, error) {
	return nil, g.desk.remove(ctx, sessionOf(ctx), in.ID, in.Reason)
}

type reasonRequest struct {
	UserPath
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why: it is written to the audit log."`
	}
}

func (g *gateway) apiReset(ctx context.Context, in *reasonRequest) (*struct{}, error) {
	return nil, g.desk.reset(ctx, sessionOf(ctx), in.ID, in.Body.Reason)
}

func (g *gateway) apiUnlock(ctx context.Context, in *reasonRequest) (*struct{}, error) {
	return nil, g.desk.unlock(ctx, sessionOf(ctx), in.ID, in.Body.Reason)
}

type linkAnswer struct{ Body PasswordLink }

func (g *gateway) apiPasswordLink(ctx context.Context, in *UserPath) (*linkAnswer, error) {
	l, err := g.desk.link(ctx, sessionOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &linkAnswer{PasswordLink{l.URL.Reveal(), l.ExpiresAt}}, nil
}

// LiveSession is a session of somebody, without what would open it.
type LiveSession struct {
	ID        string    `json:"id"`
	Methods   []string  `json:"amr" doc:"How the person proved who they are (RFC 8176)."`
	AuthTime  time.Time `json:"auth_time"`
	SeenAt    time.Time `json:"seen_at" doc:"The last use, to the minute."`
	ExpiresAt time.Time `json:"expires_at"`
}

type sessionsAnswer struct {
	Body struct {
		Items []LiveSession `json:"items"`
	}
}

func (g *gateway) apiSessions(ctx context.Context, in *UserPath) (*sessionsAnswer, error) {
	s := sessionOf(ctx)
	u, err := g.desk.find(ctx, s, in.ID)
	if err != nil {
		return nil, err
	}
	out := &sessionsAnswer{}
	out.Body.Items = []LiveSession{}
	for _, l := range g.desk.seats(s, u.account()) {
		out.Body.Items = append(out.Body.Items, LiveSession{l.ID, l.Methods, l.AuthTime, l.SeenAt, l.ExpiresAt})
	}
	return out, nil
}

func (g *gateway) apiEndSessions(ctx context.Context, in *deleteUserRequest) (*struct{}, error) {
	return nil, g.desk.endSessions(ctx, sessionOf(ctx), in.ID, in.Reason)
}

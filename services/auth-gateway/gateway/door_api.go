package gateway

import (
	"context"
	"strings"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// AtDoor is what a portal's server begins a sign-in with, in the place of address and password.
type AtDoor struct {
	User      *PortalUser `json:"user,omitempty" doc:"The person whose first factor the portal has checked. Needs an API key."`
	ReturnURL string      `json:"return_url,omitempty" maxLength:"1024" example:"https://portal.example.com/after-sign-in" doc:"Where the browser comes back to, exactly as registered: with sign_in (the id), state, and code (what to redeem with) where the sign-in is complete or status where the sign-in is not complete (relogin, cancelled or expired). Without it there is no url, and the portal draws the pages."`
	State     string      `json:"state,omitempty" maxLength:"512" doc:"Comes back with the browser as it is."`
	IP        string      `json:"ip,omitempty" maxLength:"64" example:"203.0.113.7" doc:"The address of the person's browser, for limits on text messages, where the portal draws the pages."`
}

func (b AtDoor) ofDoor() bool { return b != AtDoor{} }

// PortalUser is a person as their portal describes them.
type PortalUser struct {
	ID            string `json:"id,omitempty" maxLength:"200" example:"4711" doc:"What the portal calls the person for good. Without it the address is taken, and a new address is a new person."`
	Email         string `json:"email" maxLength:"254" example:"dana@northwind.test" doc:"The person's address."`
	EmailVerified bool   `json:"email_verified,omitempty" doc:"The portal has verified that the address is this person's. Without that, no account that others made becomes theirs."`
	Name          string `json:"name,omitempty" maxLength:"200" example:"Dana Miller" doc:"Absent: the beginning of the address."`
	Audience      string `json:"audience" enum:"internal,organization" doc:"The population; it never changes."`
	Organization  string `json:"organization,omitempty" maxLength:"200" example:"Acme" doc:"The client company, for the audience organization."`
}

// apiBeginAtDoor begins the sign-in of a person in whom the portal vouches for.
func (g *gateway) apiBeginAtDoor(ctx context.Context, p portal, k apiKey, in *beginRequest) (*signInAnswer, error) {
	b := in.Body
	switch {
	case k.ID == "":
		return nil, errNoKey
	case b.User == nil:
		return nil, invalid("user", "With an API key a sign-in begins with the person: user.")
	case b.Email != "" || !b.Password.Empty():
		return nil, invalid("email", "At the portal door the portal has checked the password; leave email and password out.")
	}
	o, token, err := g.door.begin(ctx, p, k, errand{
		visitor: visitor{
			ID: b.User.ID, Email: b.User.Email, EmailVerified: b.User.EmailVerified, Name: b.User.Name,
			Audience: contract.Audience(b.User.Audience), Organization: b.User.Organization,
		},
		returnURL: b.ReturnURL, state: b.State, ip: b.IP,
	})
	if err != nil {
		return nil, err
	}
	if o.ticket.Empty() { // otherwise what the person sees begins with their browser
		o = g.flow.count(ctx, o)
	}
	v := g.view(o)
	v.Token = token.Reveal()
	if !o.ticket.Empty() {
		v.URL = strings.TrimSuffix(p.PublicURL, "/") + doorPath + "/" + o.ticket.Reveal()
	}
	return &signInAnswer{v}, nil
}

// Proof is who came through the portal door.
type Proof struct {
	ID       string    `json:"id" doc:"The id of the sign-in."`
	Subject  string    `json:"subject" example:"4711" doc:"The id that the portal gave the person, or their address where it gave none."`
	User     User      `json:"user" doc:"The person as they are here."`
	Methods  []string  `json:"amr" example:"[\"portal\",\"otp\"]" doc:"How the person proved who they are: to the portal, then otp or sms where policy asks for it."`
	AuthTime time.Time `json:"auth_time" doc:"When the sign-in was complete."`
	State    string    `json:"state,omitempty" doc:"As it was given."`
}

type proofAnswer struct{ Body Proof }

type redeemRequest struct {
	SignInPath
	Body *struct {
		Code secret.String `json:"code,omitempty" maxLength:"64" doc:"What the browser came back with beside sign_in. Needed where the sign-in has a return_url: it shows that this browser completed the sign-in."`
	}
}

func (g *gateway) apiRedeem(ctx context.Context, in *redeemRequest) (*proofAnswer, error) {
	k, ok := presented(ctx)
	if !ok {
		return nil, errNoKey
	}
	var word secret.String
	if in.Body != nil {
		word = in.Body.Code
	}
	s, err := g.door.redeem(ctx, k, in.ID, word)
	if err != nil {
		return nil, err
	}
	return &proofAnswer{Proof{
		ID: s.ID, Subject: s.Door.Subject, User: userOf(s.Who), Methods: s.Methods, AuthTime: s.CompletedAt, State: s.Door.State,
	}}, nil
}

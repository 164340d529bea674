package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// This file holds what is decided at the portal door, by which people come in whose first factor their portal has checked.

const (
	// ticketLife is how long a browser has to come with its ticket.
	ticketLife = time.Minute
	// redeemLife is how long after its end a sign-in may be redeemed.
	redeemLife = 10 * time.Minute
	// byPortal is the method of a first factor that the portal has checked.
	byPortal = "portal"
)

// doorway is how a sign-in came through the portal door, and where it leads back to.
type doorway struct {
	// App is whose sign-in it is: the API keys of another app see none of it.
	App string `json:"app"`
	// Subject is what the portal calls the person.
	Subject string `json:"subject"`
	// ReturnURL is one of the portal's, exactly; empty where the portal draws the pages itself.
	ReturnURL string `json:"return_url,omitempty"`
	State     string `json:"state,omitempty"`
	// Network is the person's, where the portal draws the pages itself and says so.
	Network string `json:"network,omitempty"`

	// Ticket is the hash of what the browser is let in with, until TicketUntil, once. Entered is set when it was, and
	// whoever began the sign-in has no part in it any more.
	Ticket      []byte    `json:"ticket,omitempty"`
	TicketUntil time.Time `json:"ticket_until,omitzero"`
	Entered     bool      `json:"entered,omitempty"`
	// Home is the hash of what that browser brings home; see [homeWord].
	Home []byte `json:"home,omitempty"`
	// Waiting is set while the sign-in is complete and its session is for the browser that is to come.
	Waiting bool `json:"waiting,omitempty"`

	// RedeemedAt is when the portal took the sign-in as proof: once.
	RedeemedAt time.Time `json:"redeemed_at,omitzero"`
}

// first is the method of the sign-in's first factor.
func (s signIn) first() string {
	if s.Door != nil {
		return byPortal
	}
	return "pwd"
}

// sees is the person as the sign-in's session will show them. Who came through the portal door is no admin here: an API
// key must not be worth an admin's rights, and their own password here is.
func (s signIn) sees(u user) profile {
	p := profileOf(u)
	if s.Door != nil {
		p.MasterAdmin, p.OrganizationAdmin = false, false
	}
	return p
}

// shutTo tells whether an account cannot sign in the way that the sign-in came.
func (s signIn) shutTo(u user) bool {
	if s.Door != nil {
		return u.MasterAdmin || u.Federated
	}
	return !u.Federated && u.Password == ""
}

// network is the person's, for limits: of the request, unless that is the portal's server.
func (s signIn) network(ctx context.Context) string {
	if s.Door != nil && !s.Door.Entered {
		return s.Door.Network
	}
	return networkIn(ctx)
}

// issueTicket gives a new sign-in the ticket with which the browser comes, if a browser is to come.
func (s *signIn) issueTicket() secret.String {
	if s.Door == nil || s.Door.ReturnURL == "" {
		return secret.String{}
	}
	word := rand.Text()
	s.Door.Ticket, s.Door.TicketUntil, s.Door.Waiting = hashToken(word), s.CreatedAt.Add(ticketLife), s.Status == StatusComplete
	return secret.New(string(ticketToken) + "_" + s.ID + "_" + word)
}

// admits tells whether the word of a ticket opens the door now.
func (s signIn) admits(portalID, word string, now time.Time) bool {
	return s.Door != nil && s.Portal == portalID && !s.Door.Entered && len(s.Door.Ticket) > 0 && sameToken(s.Door.Ticket, word) && now.Before(s.Door.TicketUntil)
}

// homeWord is what the browser brings home from a complete sign-in and the portal redeems it with: made of the token of
// the browser that was let in, which nobody else has, and no way back to it. Whoever began the sign-in in a browser of
// their own and had somebody else give the code never learns it: that a sign-in is complete lets nobody in who did not
// complete it.
func homeWord(token string) string {
	_, word, ok := parseToken(signInToken, token)
	if !ok {
		return ""
	}
	return hex.EncodeToString(hashToken("home\x00" + word)[:16])
}

// broughtBy tells whether a word is the one that the sign-in's browser brings home. Where the portal draws the pages, no
// browser leaves it.
func (s signIn) broughtBy(word string) bool {
	return !s.leadsBack() || len(s.Door.Home) > 0 && sameToken(s.Door.Home, word)
}

// redeemable says why a sign-in cannot be taken as proof now, if it cannot.
func (s signIn) redeemable(now time.Time) error {
	switch {
	case s.Status == StatusRelogin:
		return contract.Refuse(contract.Conflict, "The person has confirmed their number, and must sign in again.")
	case s.Status != StatusComplete && !now.Before(s.ExpiresAt):
		return contract.Refuse(contract.Expired, "This sign-in took too long. Please start again.")
	case s.Status != StatusComplete:
		return contract.Refuse(contract.Conflict, "This sign-in is not complete.")
	case !s.Door.RedeemedAt.IsZero():
		return contract.Refuse(contract.Conflict, "This sign-in was redeemed already.")
	case !now.Before(s.CompletedAt.Add(redeemLife)):
		return contract.Refuse(contract.Expired, "This sign-in was not redeemed in time. Please start again.")
	}
	return nil
}

// stillProves tells whether what a person did in a sign-in is what policy asks of them now: a factor that was reset or
// replaced since proves nothing any more, even where none is asked for by now, and neither does having none where one is.
func (s signIn) stillProves(d contract.Decision) bool {
	if len(s.Methods) > 1 {
		return slices.ContainsFunc(d.Factors, func(i contract.FactorInfo) bool { return i.Enrolment == s.Enrolment })
	}
	return d.Action == contract.Allow
}

// back is where the browser of a sign-in goes when there is nothing more to do here: the registered URL, and where the
// sign-in is complete the word of the browser whose token this is. That word is good for nothing without an API key, once.
func (s signIn) back(now time.Time, token string) string {
	q := "sign_in=" + s.ID
	switch {
	case s.Status == StatusComplete:
		q += "&code=" + homeWord(token)
	case s.Status == StatusRelogin:
		q += "&status=relogin"
	case !now.Before(s.ExpiresAt):
		q += "&status=expired"
	default:
		q += "&status=cancelled"
	}
	if s.Door.State != "" {
		q += "&state=" + url.QueryEscape(s.Door.State)
	}
	if strings.Contains(s.Door.ReturnURL, "?") {
		return s.Door.ReturnURL + "&" + q
	}
	return s.Door.ReturnURL + "?" + q
}

// leadsBack tells whether the browser of a sign-in belongs at its portal in the end.
func (s signIn) leadsBack() bool { return s.Door != nil && s.Door.ReturnURL != "" }

// checkReturnURL says what is wrong with a URL that is to be registered, if anything is. One that is registered is later
// compared byte by byte, so that it is kept in the only spelling there is.
func checkReturnURL(raw string) error {
	const example = "such as https://portal.example.com/after-sign-in"
	if raw == "" || len(raw) > 1024 || strings.ContainsFunc(raw, func(r rune) bool { return r <= 0x20 || r >= 0x7f || strings.ContainsRune("\\\"<>`{}|^", r) }) {
		return invalid("url", "The return URL must be written in plain characters, %s.", example)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil || strings.Contains(raw, "#") || u.String() != raw || u.Host != strings.ToLower(u.Host) || u.Hostname() == "" {
		return invalid("url", "The return URL must be a whole address without user and fragment, %s.", example)
	}
	if port := u.Port(); strings.HasSuffix(u.Host, ":") || port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		return invalid("url", "The return URL must leave out a port that its scheme implies, %s.", example)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return invalid("url", "The return URL must be https, except on this machine.")
	}
	for _, own := range []string{"sign_in", "code", "state", "status"} {
		if u.Query().Has(own) {
			return invalid("url", "The return URL must not hold %s: that is added.", own)
		}
	}
	return nil
}

// visitor is a person as their portal describes them.
type visitor struct {
	ID            string // what the portal calls them for good; empty: the address
	Email         string
	EmailVerified bool
	Name          string
	Audience      contract.Audience
	Organization  string
}

// checked returns the visitor with everything in the one form in which it is kept, or what is wrong.
func (v visitor) checked() (visitor, error) {
	n := newPerson{Email: v.Email, Name: v.Name, Audience: v.Audience, Organization: v.Organization}
	if email, ok := canonicalEmail(v.Email); ok && strings.TrimSpace(v.Name) == "" {
		n.Name, _, _ = strings.Cut(email, "@")
	}
	u, err := n.account("")
	if err != nil {
		if e := contract.AsError(err); e.Field != "" {
			e.Field = "user." + e.Field
		}
		return visitor{}, err
	}
	v.Email, v.Name, v.Organization = u.Email, u.Name, u.Organization
	if v.ID == "" {
		v.ID = v.Email
	}
	if _, err := oneLine("user.id", v.ID); err != nil || strings.TrimSpace(v.ID) != v.ID {
		return visitor{}, invalid("user.id", "The id must be one line of at most 200 characters, without spaces around it.")
	}
	return v, nil
}

// subjectKey is under what an account keeps what an app calls its person: of one form, whatever the app's ids look like.
func subjectKey(app, id string) string {
	sum := sha256.Sum256([]byte(app + "\x00" + id))
	return hex.EncodeToString(sum[:])
}

// letsIn says why an account cannot come through the portal door, if it cannot.
func (u user) letsIn() error {
	switch {
	case u.MasterAdmin:
		return contract.Refuse(contract.Forbidden, "A Master Admin signs in with the password they have here, not through the portal.")
	case u.Federated:
		return contract.Refuse(contract.Forbidden, "This person signs in at their identity provider, which asks for a second factor itself.")
	case u.Disabled:
		return contract.Refuse(contract.Forbidden, "This account is disabled.")
	}
	return nil
}

// enrols says why a person cannot enrol at the portal door, if they cannot. Who has no factor is whoever the key says; of
// an organization's admin that would be their way into what they decide here.
func (s signIn) enrols(u user, d contract.Decision) error {
	if s.Door == nil || !u.OrganizationAdmin || d.Action != contract.Enroll {
		return nil
	}
	return contract.Refuse(contract.Forbidden, "An organization's admin sets up their second factor here, after the password they have here. Please sign in here first.")
}

// meets decides whether the account that has a visitor's address is theirs. bind is set where the app has not called
// anybody of that account so before.
//
// An address alone is no proof: whoever registers at a portal may type any. So an account that the app does not know is
// theirs only if the portal says that it has verified the address, and if whoever made the account had, too: otherwise
// somebody could lie in wait under the address of a person who is yet to come.
func (u user) meets(app string, v visitor) (bind bool, refusal error) {
	if err := u.letsIn(); err != nil {
		return false, err
	}
	switch known := u.Doors[app]; {
	case known == subjectKey(app, v.ID):
		return false, nil
	case known == subjectKey(app, v.Email) && v.EmailVerified:
		return true, nil // the app has begun to give ids
	case known == subjectKey(app, v.Email):
		return false, conflictAt("user.email", "The account with this address was made before ids were given. Where you have verified that the address is this person's, say so with email_verified.")
	case known != "":
		return false, conflictAt("user.email", "The account with this address belongs to another id.")
	case !v.EmailVerified:
		return false, conflictAt("user.email", "There is an account with this address already. Where you have verified that the address is this person's, say so with email_verified.")
	case u.Unverified:
		return false, conflictAt("user.email", "Somebody for whom nobody has verified this address has an account with it. An admin can give that account another address, or delete it.")
	}
	return true, nil
}

func conflictAt(field, detail string) error {
	return &contract.Error{Code: contract.Conflict, Detail: detail, Field: field}
}

// inStep is what of an account the portal's word changes. Of an organization's admin it is the name alone: who may do what
// in which organization, and under which address, is decided by the admins here. An address that is not verified replaces
// none: it could be that of a person who is yet to come.
func (u user) inStep(v visitor) (amendment, error) {
	if u.Audience != v.Audience {
		return amendment{}, conflictAt("user.audience", "The account belongs to the other audience, which never changes.")
	}
	m := amendment{Name: &v.Name}
	if u.OrganizationAdmin {
		return m, nil
	}
	if v.EmailVerified {
		m.Email = &v.Email
	}
	if v.Audience == contract.Organization {
		m.Organization = &v.Organization
	}
	return m, nil
}

// networkOfText is the network of an address that a portal tells; empty where it tells none.
func networkOfText(ip string) (string, error) {
	if ip == "" {
		return "", nil
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return "", invalid("ip", "The address of the person's browser must be an IP address, such as 203.0.113.7.")
	}
	return networkOf(a), nil
}

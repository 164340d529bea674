package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"sallyport/pkg/contract"
)

// ending is how a journey to a provider ended: the closed set that is counted, and by which the sign-in page chooses
// its words.
type ending string

const (
	endedIn         ending = "signed_in"
	endedStepUp     ending = "stepped_up"
	endedCancelled  ending = "cancelled"     // the person turned back at the provider
	endedRefused    ending = "refused"       // the provider said no
	endedUnknown    ending = "unknown"       // no such journey: late, used already, or begun in another browser
	endedUntrusted  ending = "untrusted"     // the provider's answer does not prove what it should
	endedUnverified ending = "unverified"    // no address, or one that the provider has not verified
	endedDomain     ending = "domain"        // an address that this provider may not vouch for
	endedLocal      ending = "local"         // the account signs in with its password
	endedOther      ending = "other_subject" // the address belongs to another identity
	endedDisabled   ending = "disabled"
	endedStale      ending = "stale"       // a step-up without a new sign-in
	endedDown       ending = "unavailable" // provider or one of our parts does not answer
	endedFailed     ending = "internal"
)

// endings are all of them.
var endings = []ending{
	endedIn, endedStepUp, endedCancelled, endedRefused, endedUnknown, endedUntrusted, endedUnverified,
	endedDomain, endedLocal, endedOther, endedDisabled, endedStale, endedDown, endedFailed,
}

// notArrived is a journey that ended without a session. why is for the log: it holds no token and no code.
type notArrived struct {
	how ending
	why string
}

func (e *notArrived) Error() string { return string(e.how) + ": " + e.why }

func turnBack(how ending, why string) *notArrived { return &notArrived{how, why} }

// identity is who a person is at a provider, for good: addresses change hands, subjects do not.
type identity struct{ Issuer, Subject string }

// key names an identity in our documents.
func (i identity) key() string {
	sum := sha256.Sum256([]byte(i.Issuer + "\x00" + i.Subject))
	return hex.EncodeToString(sum[:])
}

// truth is a JSON boolean that some providers send as a string.
type truth bool

func (t *truth) UnmarshalJSON(raw []byte) error {
	*t = string(raw) == `true` || string(raw) == `"true"`
	return nil
}

// claims are what an ID token says beyond what the OpenID Connect library has checked.
type claims struct {
	Subject       string      `json:"sub"`
	Nonce         string      `json:"nonce"`
	Email         string      `json:"email"`
	EmailVerified truth       `json:"email_verified"`
	Name          string      `json:"name"`
	GivenName     string      `json:"given_name"`
	FamilyName    string      `json:"family_name"`
	Party         string      `json:"azp"`
	IssuedAt      json.Number `json:"iat"`
	AuthTime      json.Number `json:"auth_time"`
}

// seconds reads a NumericDate; ok is false where there is none.
func seconds(n json.Number) (time.Time, bool) {
	f, err := n.Float64()
	if err != nil || f <= 0 || f > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// clockLeeway is how far the provider's clock may be off.
const clockLeeway = 30 * time.Second

// forUs checks that a token which is genuine was also made for this client, now. audience and clientID as OpenID
// Connect Core 3.1.3.7 has them.
func (c claims) forUs(audience []string, clientID string, now time.Time) *notArrived {
	issued, ok := seconds(c.IssuedAt)
	switch {
	case c.Subject == "" || len(c.Subject) > 255:
		return turnBack(endedUntrusted, "the token names no subject")
	case len(audience) > 1 && c.Party == "", c.Party != "" && c.Party != clientID:
		return turnBack(endedUntrusted, "the token was made for another party")
	case !ok || issued.After(now.Add(clockLeeway)):
		return turnBack(endedUntrusted, "the token is from the future")
	}
	return nil
}

// address is the person's e-mail address in canonical form, if the provider may vouch for it.
func (c claims) address(p provider) (string, *notArrived) {
	email, ok := canonicalEmail(c.Email)
	switch {
	case !ok:
		return "", turnBack(endedUnverified, "the token has no e-mail address")
	case !bool(c.EmailVerified) && !p.TrustEmail:
		return "", turnBack(endedUnverified, "the e-mail address is not verified")
	case !p.vouchesFor(c.Email):
		return "", turnBack(endedDomain, "the provider may not vouch for this domain")
	}
	return email, nil
}

// displayName is what an account that is made of the claims is called.
func (c claims) displayName(email string) string {
	local, _, _ := strings.Cut(email, "@")
	for _, name := range []string{c.Name, c.GivenName + " " + c.FamilyName, local} {
		name = strings.Join(strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
		if runes := []rune(name); len(runes) > 120 {
			name = string(runes[:120])
		}
		if name != "" {
			return name
		}
	}
	return email
}

// provedAt is when the person proved who they are at the provider for this very journey: after it began, and at most five
// minutes ago. A provider that does not say when has not been asked the question it was asked. Where its clock is ahead of
// ours, it was now.
func (c claims) provedAt(begun, now time.Time) (time.Time, *notArrived) {
	at, ok := seconds(c.AuthTime)
	switch {
	case !ok:
		return time.Time{}, turnBack(endedStale, "the token does not say when the person signed in")
	case at.Before(begun.Add(-clockLeeway)), !now.Before(at.Add(stepUpLife)), at.After(now.Add(clockLeeway)):
		return time.Time{}, turnBack(endedStale, "the person did not sign in again")
	case at.After(now):
		return now, nil
	}
	return at.UTC(), nil
}

// owns decides whether an account is that of an identity whose address it has. bind is set where it has no identity yet.
func (u user) owns(key string) (bind bool, refusal *notArrived) {
	switch {
	case !u.Federated:
		return false, turnBack(endedLocal, "the account signs in with its password")
	case u.Identity != "" && u.Identity != key:
		return false, turnBack(endedOther, "the account belongs to another identity")
	case u.Disabled:
		return false, turnBack(endedDisabled, "the account is disabled")
	}
	return u.Identity == "", nil
}

// newcomer is the account that an identity gets at its first ending: internal, without any rights.
func newcomer(portalID, id, email, name string) user {
	return user{Portal: portalID, User: id, Email: email, Name: name, Audience: contract.Internal, Federated: true}
}

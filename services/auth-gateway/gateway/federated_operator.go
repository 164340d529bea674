package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// Provider is a sign-in provider of a portal (OpenID Connect), as an operator sets it.
type Provider struct {
	// ID is a slug, part of addresses: "microsoft".
	ID string
	// Name is what its button says: "Microsoft".
	Name string
	// Issuer is an https URL, exactly as the provider's discovery document has it.
	Issuer   string
	ClientID string
	// ClientSecret is empty for a public client, and never read back.
	ClientSecret secret.String
	// Domains are those whose addresses the provider may vouch for; at least one.
	Domains []string
	// TrustEmail takes addresses without email_verified, where the operator knows that the provider gives each to nobody
	// but its owner: a directory of one organization, such as a tenant of Entra.
	TrustEmail bool
	// Scopes are openid, profile and email if empty.
	Scopes []string
}

// ErrNoPortal is returned where there is no portal of the given id.
var ErrNoPortal = errors.New("there is no such portal")

// Providers lists the sign-in providers of a portal, without their secrets.
func Providers(ctx context.Context, db *store.DB, portalID string) ([]Provider, error) {
	p, err := newAccounts(db).portals.Get(ctx, portalID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("portal %q: %w", portalID, ErrNoPortal)
	}
	if err != nil {
		return nil, err
	}
	var out []Provider
	for _, v := range p.providerOrder() {
		out = append(out, Provider{ID: v.ID, Name: v.Name, Issuer: v.Issuer, ClientID: v.ClientID, Domains: v.Domains, TrustEmail: v.TrustEmail, Scopes: v.Scopes})
	}
	return out, nil
}

// sealed returns what is kept of a provider in a portal.
func (p Provider) sealed(keys *seal.Keys, portalID string) (provider, error) {
	kept, err := p.checked()
	if err == nil && !p.ClientSecret.Empty() {
		kept.ClientSecret, err = keys.Store.Seal([]byte(p.ClientSecret.Reveal()), secretPlace(portalID, p.ID))
	}
	return kept, err
}

// checked returns what is kept of a provider, or all that is wrong with it.
func (p Provider) checked() (provider, error) {
	var wrong []error
	if !slug.MatchString(p.ID) {
		wrong = append(wrong, fmt.Errorf("id %q: must be lower-case letters, digits and dashes, at most 32", p.ID))
	}
	if name := strings.TrimSpace(p.Name); name == "" || len(name) > 40 {
		wrong = append(wrong, errors.New("name: must be 1 to 40 characters, such as Microsoft"))
	}
	if err := checkIssuer(p.Issuer); err != nil {
		wrong = append(wrong, err)
	}
	if p.ClientID == "" {
		wrong = append(wrong, errors.New("client id: is missing"))
	}
	if len(p.Domains) == 0 {
		wrong = append(wrong, errors.New("domains: name at least one whose addresses the provider may vouch for"))
	}
	out := provider{
		ID: p.ID, Name: strings.TrimSpace(p.Name), Issuer: p.Issuer, ClientID: p.ClientID, TrustEmail: p.TrustEmail, Scopes: p.Scopes,
	}
	for _, d := range p.Domains {
		canonical, ok := canonicalDomain(d)
		if !ok {
			wrong = append(wrong, fmt.Errorf("domain %q: must be one such as example.com", d))
		}
		out.Domains = append(out.Domains, canonical)
	}
	if len(p.Scopes) > 0 && (!slices.Contains(p.Scopes, "openid") || !slices.Contains(p.Scopes, "email")) {
		wrong = append(wrong, errors.New("scopes: openid and email must be among them"))
	}
	return out, errors.Join(wrong...)
}

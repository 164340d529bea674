package gateway

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
)

// provider is somebody else's sign-in that a portal trusts for the addresses of some domains: OpenID Connect. It is part
// of the portal's document, under its id.
type provider struct {
	ID       string `bson:"id"`
	Name     string `bson:"name"` // "Microsoft": what the button says
	Issuer   string `bson:"issuer"`
	ClientID string `bson:"client_id"`
	// ClientSecret is sealed for this portal and provider; empty for a public client.
	ClientSecret []byte `bson:"client_secret,omitempty"`
	// Domains are those whose addresses it may vouch for, in ASCII form.
	Domains []string `bson:"domains"`
	// TrustEmail takes addresses without email_verified: the operator vouches that the provider gives each address to
	// nobody but its owner.
	TrustEmail bool     `bson:"trust_email,omitempty"`
	Scopes     []string `bson:"scopes,omitempty"`
}

// secretPlace is where a provider's client secret belongs: under another portal or provider it does not open.
func secretPlace(portalID, providerID string) seal.Place {
	return seal.Place{portalID, "portals", "client_secret", providerID}
}

// secretOf opens the client secret of a provider.
func secretOf(box *seal.Box, portalID string, p provider) (secret.String, error) {
	if len(p.ClientSecret) == 0 {
		return secret.String{}, nil
	}
	plain, err := box.Open(p.ClientSecret, secretPlace(portalID, p.ID))
	if err != nil {
		return secret.String{}, fmt.Errorf("client secret of provider %s: %w", p.ID, err)
	}
	return secret.New(string(plain)), nil
}

// providerOrder lists a portal's providers in the order of their names: that of the buttons.
func (p portal) providerOrder() []provider {
	out := make([]provider, 0, len(p.Providers))
	for id, v := range p.Providers {
		v.ID = id
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b provider) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// standsIn tells whether federated people may use a password here: only in a demo, and only until it has a provider.
func (p portal) standsIn() bool { return p.StandIn && len(p.Providers) == 0 }

var slug = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$`)

// checkIssuer refuses what cannot be an issuer: an https URL without query or fragment. On this machine http will do.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("issuer %q: must be a URL such as https://login.example.com", issuer)
	case !safeURL(u):
		return fmt.Errorf("issuer %q: must be https, except on this machine", issuer)
	}
	return nil
}

// safeURL tells whether secrets may travel to a URL.
func safeURL(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

// canonicalDomain is the one form of a domain: ASCII, lower case, without a dot at its end. ok is false for what is none.
func canonicalDomain(d string) (string, bool) {
	out, err := idna.Lookup.ToASCII(strings.ToLower(strings.TrimSpace(d)))
	if err != nil || len(out) > longestDomain || !strings.Contains(out, ".") || strings.HasSuffix(out, ".") || strings.HasPrefix(out, ".") {
		return "", false
	}
	for label := range strings.SplitSeq(out, ".") {
		if len(label) > longestLabel {
			return "", false
		}
	}
	return out, true
}

// What a name may be long in the DNS, and a label of it (RFC 1035, section 2.3.4); idna's lookup does not ask.
const longestDomain, longestLabel = 253, 63

// vouchesFor tells whether an address is in a domain of the provider's: exactly that, and none beneath it. An address
// that only looks like one (another script's letters, a full-width or trailing dot) is not.
func (p provider) vouchesFor(address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at < 0 || norm.NFKC.String(address) != address {
		return false
	}
	written := strings.ToLower(address[at+1:])
	domain, ok := canonicalDomain(written)
	if !ok || !slices.Contains(p.Domains, domain) {
		return false
	}
	// Written in its ASCII form, or in the one Unicode form that it stands for.
	plain, err := idna.Lookup.ToUnicode(domain)
	return written == domain || err == nil && written == plain
}

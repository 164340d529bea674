package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"sallyport/pkg/secret"
)

const (
	// providerWithin bounds each question to a provider, redirects and body included.
	providerWithin = 3 * time.Second
	// providerAnswer bounds the size of an answer.
	providerAnswer = 512 << 10
	// discoveryLife is how long a provider's own description and keys are used before they are asked for again.
	discoveryLife = time.Hour
	// discoveryAgain is when it is asked again where it could not be refreshed.
	discoveryAgain = time.Minute
)

// parties is this gateway as a relying party: it asks providers, lazily, and keeps what they say of themselves.
type parties struct {
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	asking singleflight.Group
	mu     sync.Mutex
	known  map[string]*description // by issuer
}

// description is what a provider says of itself.
type description struct {
	oidc *oidc.Provider
	more struct {
		AuthURL  string   `json:"authorization_endpoint"`
		TokenURL string   `json:"token_endpoint"`
		KeysURL  string   `json:"jwks_uri"`
		Methods  []string `json:"token_endpoint_auth_methods_supported"`
		NamesIss bool     `json:"authorization_response_iss_parameter_supported"`
	}
	renew time.Time
}

func newParties(now func() time.Time, log *slog.Logger) *parties {
	dialer := &net.Dialer{Timeout: providerWithin}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: providerWithin, ResponseHeaderTimeout: providerWithin, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: 64 << 10,
	}
	return &parties{
		now: now, log: log, known: make(map[string]*description),
		client: &http.Client{
			Transport: bounded{transport}, Timeout: providerWithin,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// bounded lets nothing travel in clear text, and no answer be endless.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !safeURL(r.URL) {
		return nil, errors.New("a provider's address is not https")
	}
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, providerAnswer}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the provider's answer is too large")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// discover returns what a provider says of itself: as it was known, or asked now, once for all who wait. What was known
// is used for longer where the provider does not answer.
func (r *parties) discover(ctx context.Context, issuer string) (*description, error) {
	r.mu.Lock()
	known := r.known[issuer]
	r.mu.Unlock()
	if known != nil && r.now().Before(known.renew) {
		return known, nil
	}
	answer := r.asking.DoChan(issuer, func() (any, error) {
		// It is asked for everybody who waits, so the first of them may leave.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerWithin)
		defer cancel()
		d, err := r.ask(bound, issuer)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil && r.known[issuer] == nil {
			return nil, err
		}
		if err != nil {
			r.log.Warn("sign-in provider not refreshed", slog.String("issuer", issuer), slog.String("error", brief(err)))
			old := *r.known[issuer]
			d, old.renew = &old, r.now().Add(discoveryAgain)
		}
		r.known[issuer] = d
		return d, nil
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, a.Err
		}
		return a.Val.(*description), nil //nolint:forcetypeassert // ask returns nothing else
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *parties) ask(ctx context.Context, issuer string) (*description, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), issuer)
	if err != nil {
		return nil, err
	}
	d := &description{oidc: p, renew: r.now().Add(discoveryLife)}
	if err := p.Claims(&d.more); err != nil {
		return nil, err
	}
	for _, address := range []string{d.more.AuthURL, d.more.TokenURL, d.more.KeysURL} {
		if u, err := url.Parse(address); err != nil || u.Host == "" || !safeURL(u) {
			return nil, fmt.Errorf("the provider's address %q is not https", address)
		}
	}
	return d, nil
}

// brief is an error as it may be logged: what a provider wrote into it may be long.
func brief(err error) string {
	s := err.Error()
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}

// client is this gateway as one provider knows it.
func (d *description) client(p provider, key secret.String, publicURL string) *oauth2.Config {
	style := oauth2.AuthStyleInHeader // the default of the specification
	if key.Empty() || len(d.more.Methods) > 0 && !slices.Contains(d.more.Methods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	scopes := p.Scopes
	if len(scopes) == 0 {
		scopes = []string{oidc.ScopeOpenID, "profile", "email"}
	}
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: key.Reveal(), RedirectURL: strings.TrimSuffix(publicURL, "/") + callbackPath, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: d.more.AuthURL, TokenURL: d.more.TokenURL, AuthStyle: style},
	}
}

// redeem turns a code into claims that the provider has signed for this client and journey.
func (r *parties) redeem(ctx context.Context, d *description, c *oauth2.Config, code string, j journey) (claims, *notArrived) {
	ctx = oidc.ClientContext(ctx, r.client)
	token, err := c.Exchange(ctx, code, oauth2.VerifierOption(j.verifier()))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < http.StatusInternalServerError:
		return claims{}, turnBack(endedUntrusted, fmt.Sprintf("the provider did not take the code: %d %s", refused.Response.StatusCode, tokenError(refused.ErrorCode)))
	case err != nil:
		var network net.Error
		if errors.As(err, &network) || refused != nil {
			return claims{}, turnBack(endedDown, "the provider did not answer for a token")
		}
		return claims{}, turnBack(endedUntrusted, "the provider's answer for a token cannot be read")
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return claims{}, turnBack(endedUntrusted, "the provider sent no ID token")
	}
	verifier := d.oidc.Verifier(&oidc.Config{ClientID: c.ClientID, Now: func() time.Time { return r.now().Add(-clockLeeway) }})
	id, err := verifier.Verify(ctx, raw)
	if err != nil {
		return claims{}, turnBack(endedUntrusted, brief(err))
	}
	var said claims
	if err := id.Claims(&said); err != nil {
		return claims{}, turnBack(endedUntrusted, "the token's claims cannot be read")
	}
	if !j.nonceIs(said.Nonce) {
		return claims{}, turnBack(endedUntrusted, "the token was made for another journey")
	}
	if refusal := said.forUs(id.Audience, c.ClientID, r.now()); refusal != nil {
		return claims{}, refusal
	}
	if said.Email != "" {
		return said, nil
	}
	return r.askMore(ctx, d, token, said)
}

// tokenErrors are why a provider gives no token (RFC 6749, 5.2).
var tokenErrors = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

// tokenError is a provider's error as it may be logged. A text of its own could repeat what the request held: the code,
// the client secret.
func tokenError(code string) string {
	if slices.Contains(tokenErrors, code) {
		return code
	}
	return "with an error that is no standard one"
}

// askMore asks the provider for the person's address and name, where its ID token does not have them: OpenID Connect
// Core 5.4 leaves that to the provider.
func (r *parties) askMore(ctx context.Context, d *description, token *oauth2.Token, said claims) (claims, *notArrived) {
	if d.oidc.UserInfoEndpoint() == "" {
		return said, nil
	}
	info, err := d.oidc.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return claims{}, turnBack(endedDown, "the provider did not answer about the person")
	}
	var more claims
	if err := info.Claims(&more); err != nil || more.Subject != said.Subject {
		return claims{}, turnBack(endedUntrusted, "the provider spoke about another person")
	}
	said.Email, said.EmailVerified = more.Email, more.EmailVerified
	said.Name, said.GivenName, said.FamilyName = more.Name, more.GivenName, more.FamilyName
	return said, nil
}

package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/oauth2"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
)

const (
	// journeyLife is how long a person may take at their provider.
	journeyLife = 10 * time.Minute
	// callbackPath is where every provider sends people back to: the redirect URI that is registered there.
	callbackPath = "/sign-in/callback"
)

// journey is one way to a provider and back. The bucket holds what is no secret: the browser's cookie has the word from
// which nonce and PKCE verifier are made, so that neither who reads the bucket nor who steals a code can use it.
type journey struct {
	ID        string    `json:"id"` // the state parameter
	Hash      []byte    `json:"hash"`
	Portal    string    `json:"portal"`
	Provider  string    `json:"provider"`
	BegunAt   time.Time `json:"begun_at"`
	ExpiresAt time.Time `json:"expires_at"`
	ReturnTo  string    `json:"return_to,omitempty"`
	// Session is the one that steps up; empty for a sign-in.
	Session string `json:"session,omitempty"`
	// Used is set when somebody came back: once.
	Used bool `json:"used,omitempty"`

	word string // of the cookie
}

// derive makes a value from the browser's word that does not tell the word, for one use only.
func (j journey) derive(use string) string {
	sum := sha256.Sum256([]byte(use + "\x00" + j.ID + "\x00" + j.word))
	return hex.EncodeToString(sum[:])
}

// verifier is the PKCE verifier (RFC 7636).
func (j journey) verifier() string { return j.derive("verifier") }

func (j journey) nonceIs(said string) bool {
	return subtle.ConstantTimeCompare([]byte(said), []byte(j.derive("nonce"))) == 1
}

// federation signs people in who prove elsewhere who they are.
type federation struct {
	kv       *bus.KV[journey]
	parties  *parties
	accounts accounts
	desk     *desk
	flow     *signIns
	svc      *service.Service
	now      func() time.Time
	ended    *prometheus.CounterVec
}

func openFederation(ctx context.Context, svc *service.Service, d *desk, flow *signIns) (*federation, error) {
	kv, err := bus.OpenKV[journey](ctx, svc.Bus, contract.Journeys)
	if err != nil {
		return nil, err
	}
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_gateway_federated_sign_ins_total", Help: "Ways to a sign-in provider and back, by how they ended.",
	}, []string{"outcome"})
	svc.Registerer().MustRegister(ended)
	for _, a := range endings {
		ended.WithLabelValues(string(a))
	}
	return &federation{
		kv: kv, parties: newParties(flow.now, svc.Log), accounts: flow.accounts, desk: d, flow: flow, svc: svc, now: flow.now, ended: ended,
	}, nil
}

// set out begins a journey: where the browser goes, and the word for its cookie. s is the session that steps up, or the
// zero session. A provider that does not answer is unavailable.
func (f *federation) setOut(ctx context.Context, p portal, providerID, returnTo string, s session) (to string, cookie secret.String, err error) {
	defer func() {
		if err != nil && contract.CodeOf(err) != contract.NotFound {
			f.ended.WithLabelValues(string(endedDown)).Inc()
		}
	}()
	conf, ok := p.Providers[providerID]
	if !ok {
		return "", secret.String{}, contract.Refuse(contract.NotFound, "There is no such sign-in provider.")
	}
	d, err := f.parties.discover(ctx, conf.Issuer)
	if err != nil {
		f.svc.Log.Warn("sign-in provider does not answer", slog.String("portal", p.ID), slog.String("provider", providerID), slog.String("error", brief(err)))
		return "", secret.String{}, contract.NotAnswering()
	}
	id, token, hash := newToken(journeyToken)
	_, word, _ := parseToken(journeyToken, token.Reveal())
	now := f.now()
	j := journey{
		ID: id, Hash: hash, Portal: p.ID, Provider: providerID, BegunAt: now, ExpiresAt: now.Add(journeyLife),
		ReturnTo: returnTo, Session: s.ID, word: word,
	}
	if _, err := f.kv.Create(ctx, id, j); err != nil {
		return "", secret.String{}, err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(j.derive("nonce")), oauth2.S256ChallengeOption(j.verifier())}
	if s.ID != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"), oauth2.SetAuthURLParam("login_hint", s.Who.Email))
	}
	return d.client(conf, secret.String{}, p.PublicURL).AuthCodeURL(id, options...), token, nil
}

// answer is what a provider sent the browser back with.
type answer struct{ state, code, issuer, failure string }

// found is what a journey has proved.
type found struct {
	journey
	provider provider
	claims   claims
}

func (f found) identity() identity { return identity{f.provider.Issuer, f.claims.Subject} }

// comeBack ends a journey: it finds the one that this browser began, spends it, and asks the provider what the code is
// worth. What it returns with an error is the journey, where it is known.
func (f *federation) comeBack(ctx context.Context, p portal, a answer, cookie string) (found, error) {
	j, revision, err := f.own(ctx, p, a.state, cookie)
	if a.failure != "" {
		// Said first, so that who turned back is not told of a state that went stale meanwhile.
		how := endedRefused
		if a.failure == "access_denied" || a.failure == "login_required" || a.failure == "interaction_required" {
			how = endedCancelled
		}
		if err != nil {
			j = journey{}
		}
		return found{journey: j}, turnBack(how, "the provider says "+brief(errors.New(a.failure)))
	}
	if err != nil {
		return found{}, err
	}
	out := found{journey: j}
	// Spent before the code is: of two who come back at once, one goes on.
	j.Used = true
	if _, err := f.kv.Update(ctx, j.ID, j, revision); err != nil {
		if errors.Is(err, bus.ErrKeyChanged) {
			return found{}, turnBack(endedUnknown, "the journey was used already")
		}
		return found{}, err
	}
	conf, ok := p.Providers[j.Provider]
	if !ok {
		return out, turnBack(endedUnknown, "the provider is no longer one of the portal's")
	}
	conf.ID = j.Provider
	out.provider = conf
	d, err := f.parties.discover(ctx, conf.Issuer)
	if err != nil {
		return out, turnBack(endedDown, brief(err))
	}
	// RFC 9207: an answer says who gives it, so that one provider's code is never taken to another.
	if a.issuer != "" && a.issuer != conf.Issuer || a.issuer == "" && d.more.NamesIss {
		return out, turnBack(endedUntrusted, "the answer comes from another issuer")
	}
	if a.code == "" {
		return out, turnBack(endedUntrusted, "the answer has no code")
	}
	key, err := secretOf(f.svc.Keys.Store, p.ID, conf)
	if err != nil {
		return out, err
	}
	said, refusal := f.parties.redeem(ctx, d, d.client(conf, key, p.PublicURL), a.code, j)
	if refusal != nil {
		return out, refusal
	}
	out.claims = said
	return out, nil
}

// own loads the journey of a state, if this browser began it.
func (f *federation) own(ctx context.Context, p portal, state, cookie string) (journey, uint64, error) {
	id, word, ok := parseToken(journeyToken, cookie)
	if !ok || !isID(state) || subtle.ConstantTimeCompare([]byte(id), []byte(state)) != 1 {
		return journey{}, 0, turnBack(endedUnknown, "the state is not this browser's")
	}
	j, revision, err := f.kv.Get(ctx, state)
	if errors.Is(err, bus.ErrKeyNotFound) {
		return journey{}, 0, turnBack(endedUnknown, "there is no such state")
	}
	if err != nil {
		return journey{}, 0, err
	}
	switch {
	case !sameToken(j.Hash, word):
		return journey{}, 0, turnBack(endedUnknown, "the state is not this browser's")
	case j.Used:
		return journey{}, 0, turnBack(endedUnknown, "the journey was used already")
	case j.Portal != p.ID, !f.now().Before(j.ExpiresAt):
		return journey{}, 0, turnBack(endedUnknown, "the journey took too long")
	}
	j.word = word
	return j, revision, nil
}

// signIn makes a session of what a journey has proved.
func (f *federation) signIn(ctx context.Context, p portal, x found) (outcome, secret.String, error) {
	email, refusal := x.claims.address(x.provider)
	if refusal != nil {
		return outcome{}, secret.String{}, refusal
	}
	u, err := f.account(ctx, p, x, email)
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	return f.flow.arrive(ctx, p, u, x.ReturnTo)
}

// arrive takes a person in whom a provider vouches for. Policy is asked as at every sign-in, and exempts them; whoever
// it does not let straight through is not let in at all.
func (f *signIns) arrive(ctx context.Context, p portal, u user, returnTo string) (outcome, secret.String, error) {
	d, err := f.decide(ctx, p.ID, profileOf(u))
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	way, ok := firstStep(d.Action)
	if !ok || way != stepAllowed {
		return outcome{}, secret.String{}, errInternal("policy does not exempt a federated person")
	}
	id, token, hash := newToken(signInToken)
	now := f.now()
	s := signIn{
		ID: id, Hash: hash, Portal: p.ID, User: u.User, Who: profileOf(u), CreatedAt: now, ExpiresAt: now.Add(signInLife), ReturnTo: returnTo,
	}
	s.follow(d)
	s.Status, _ = next(statusNone, way)
	if _, err := f.kv.Create(ctx, id, s); err != nil {
		return outcome{}, secret.String{}, err
	}
	out, err := f.open(ctx, s, []string{"fed"})
	return out, token, err
}

// stepUp notes on a session that its person has signed in at their provider again. Where they also have a factor of
// ours, its code is still to be given.
func (f *federation) stepUp(ctx context.Context, s session, x found) error {
	if x.Session != s.ID {
		return turnBack(endedUnknown, "another session steps up")
	}
	at, refusal := x.claims.provedAt(x.BegunAt, f.now())
	if refusal != nil {
		return refusal
	}
	u, err := f.accounts.byID(ctx, s.account())
	if err != nil {
		return err
	}
	if u.Identity == "" || u.Identity != x.identity().key() {
		return turnBack(endedOther, "another identity signed in again")
	}
	if u.Disabled {
		return turnBack(endedDisabled, "the account is disabled")
	}
	d, err := f.flow.decide(ctx, s.Portal, s.Who)
	if err != nil {
		return err
	}
	_, noFactor := livingOf(d, s.Who.Audience)
	_, err = f.flow.sessions.change(ctx, s.ID, func(v *session) {
		v.ProviderAt = at
		if noFactor != nil {
			v.StepUpAt = at
		}
	})
	return err
}

// provedAtProvider tells whether a person has just signed in at their provider again, which stands for the password in a
// step-up. A federated person who has not is told where to; anybody else gives their password.
func (g *gateway) provedAtProvider(ctx context.Context, s session, u user) (bool, error) {
	if !u.Federated {
		return false, nil
	}
	p, err := g.portal(ctx)
	if err != nil || p.standsIn() {
		return false, err
	}
	if u.Disabled {
		return false, contract.Refuse(contract.InvalidCredentials, "This account is disabled.")
	}
	if s.atProvider(g.now()) {
		return true, nil
	}
	return false, contract.Refuse(contract.StepUpRequired, "You sign in with a provider. Please sign in there once more first, on your account page.")
}

// atProvider tells whether the person, as the provider says, signed in at their provider again at most five minutes ago.
func (s session) atProvider(now time.Time) bool {
	return !s.ProviderAt.IsZero() && now.Before(s.ProviderAt.Add(stepUpLife))
}

package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// keyTouch is how far behind the time may be at which a key was last used: one write an hour for each key.
const keyTouch = time.Hour

// door lets people in whose first factor their portal has checked: the portal's server begins a sign-in with its API key,
// the person's browser goes on with it here, and the server redeems what came of it, once.
type door struct {
	keys     apiKeys
	accounts accounts
	desk     *desk
	flow     *signIns
	now      func() time.Time
	log      *slog.Logger
	// reload looks for return URLs that were registered a moment ago.
	reload   func(context.Context) error
	portal   func(context.Context) (portal, error)
	passages *prometheus.CounterVec
}

var errNoKey = contract.Refuse(contract.Unauthenticated, "A valid API key of this portal is needed.")

// isAPIKey tells whether a bearer's token claims to be an API key.
func isAPIKey(token string) bool { return strings.HasPrefix(token, string(apiKeyToken)+"_") }

// key is the living key of this portal that a token proves. It is asked of the store each time, by _id, so that a key is
// dead everywhere the moment it is revoked.
func (d *door) key(ctx context.Context, portalID, token string) (_ apiKey, err error) {
	id, word, ok := parseToken(apiKeyToken, token)
	defer func() { d.counts(ctx, err, "", passBadKey, passing{portal: portalID, key: id}) }()
	if !ok {
		id = "" // of whatever form that was
		return apiKey{}, errNoKey
	}
	k, err := d.keys.Get(ctx, portalID+"/"+id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (len(k.Hash) == 0 || !sameToken(k.Hash, word)) {
		return apiKey{}, errNoKey
	}
	if err != nil {
		return apiKey{}, err
	}
	if now := d.now(); now.Sub(k.UsedAt) >= keyTouch {
		if err := d.keys.used(ctx, k.ID, now); err != nil {
			d.log.Warn("use of an API key not noted", slog.String("key", k.Key), slog.Any("error", err))
		}
	}
	return k, nil
}

// errand is what a portal's server asks for.
type errand struct {
	visitor   visitor
	returnURL string
	state     string
	ip        string
}

// begin takes a person in whom a portal vouches for. Where their browser is to come, the outcome has its ticket and
// nothing is sent or opened before it comes.
func (d *door) begin(ctx context.Context, p portal, k apiKey, e errand) (_ outcome, _ secret.String, err error) {
	at := passing{portal: p.ID, app: k.App, key: k.Key}
	defer func() { d.counts(ctx, err, passBegun, passTurned, at) }()
	v, err := e.visitor.checked()
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	network, err := networkOfText(e.ip)
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	if err := d.leads(ctx, p, e.returnURL); err != nil {
		return outcome{}, secret.String{}, err
	}
	u, err := d.account(ctx, p, k, v)
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	at.user = u.User
	return d.flow.enter(ctx, p, u, signIn{Door: &doorway{App: k.App, Subject: v.ID, ReturnURL: e.returnURL, State: e.state, Network: network}})
}

// leads refuses a return URL that is not registered, byte by byte. One that was registered a moment ago is looked for.
func (d *door) leads(ctx context.Context, p portal, returnURL string) error {
	if returnURL == "" || slices.Contains(p.ReturnURLs, returnURL) {
		return nil
	}
	if err := d.reload(ctx); err != nil {
		return err
	}
	p, err := d.portal(ctx)
	if err == nil && !slices.Contains(p.ReturnURLs, returnURL) {
		err = invalid("return_url", "This URL is not registered for the portal; sallyport portal return-url list shows those that are.")
	}
	return err
}

// account is the one of a visitor, in step with what the portal says of them. It is found by what the app calls them; at
// the first time the account of their address becomes theirs, where it may, or a new one is made.
func (d *door) account(ctx context.Context, p portal, k apiKey, v visitor) (user, error) {
	subject := subjectKey(k.App, v.ID)
	// A twin who was faster changes what is found, once.
	for range 3 {
		u, err := d.accounts.bySubject(ctx, p.ID, k.App, subject)
		if err == nil {
			err = u.letsIn()
		} else if errors.Is(err, store.ErrNotFound) {
			u, err = d.meet(ctx, p, k, v, subject)
		}
		if err == nil {
			u, err = d.keepInStep(ctx, k, u, v)
		}
		if !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrNotFound) {
			return u, err
		}
	}
	return user{}, contract.NotAnswering()
}

// meet finds the account of somebody whom the app sends for the first time, or makes it.
func (d *door) meet(ctx context.Context, p portal, k apiKey, v visitor, subject string) (user, error) {
	u, err := d.accounts.byEmail(ctx, p.ID, v.Email)
	if errors.Is(err, store.ErrNotFound) || err == nil && u.Deleted {
		return d.welcome(ctx, p, k, v, subject)
	}
	if err != nil {
		return user{}, err
	}
	bind, err := u.meets(k.App, v)
	if err != nil {
		return user{}, err
	}
	if bind {
		was := u.Doors[k.App]
		var ok bool
		u, ok, err = told(ctx, d.desk, d.accounts.users, usersCollection, u.ID, hosting(u, k.App, subject), d.note(k, u, contract.AuditUserChanged, "known to the portal"))
		switch {
		case err != nil:
			return user{}, err
		case !ok:
			return user{}, store.ErrNotFound // looked at once more
		case was != "":
			if _, err := d.accounts.logins.DeleteIf(ctx, doorLogin(p.ID, was), nil); err != nil {
				return user{}, err
			}
		}
	}
	return u, d.accounts.noteSubject(ctx, u, subject)
}

// welcome makes the account of a newcomer: without rights, and without a password here.
func (d *door) welcome(ctx context.Context, p portal, k apiKey, v visitor, subject string) (user, error) {
	u, err := newPerson{Email: v.Email, Name: v.Name, Audience: v.Audience, Organization: v.Organization}.account(p.ID)
	if err != nil {
		return user{}, err
	}
	if u.User, err = d.accounts.claimSubject(ctx, p.ID, subject, u.User); err != nil {
		return user{}, err
	}
	u.Doors, u.Unverified = map[string]string{k.App: subject}, !v.EmailVerified
	note := d.note(k, u, contract.AuditUserCreated, "first sign-in through the portal")
	note.Detail["email"], note.Detail["rights"] = u.Email, rights(u)
	letter, entry, err := d.desk.letter(ctx, note)
	if err != nil {
		return user{}, err
	}
	u.Outbox = map[string]bus.Letter{letter.ID: letter}
	document := u.Portal + "/" + u.User
	if err := d.desk.outbox.Note(ctx, usersCollection, document, letter); err != nil {
		return user{}, err
	}
	if err := d.accounts.add(ctx, u, d.now()); err != nil {
		return user{}, err
	}
	d.desk.outbox.Relay(usersCollection, document, letter)
	if err := d.desk.audited(ctx, entry); err != nil {
		return user{}, err
	}
	return d.accounts.byID(ctx, u.account())
}

// keepInStep takes over what the portal says of a person that is another than before.
func (d *door) keepInStep(ctx context.Context, k apiKey, was user, v visitor) (user, error) {
	m, err := was.inStep(v)
	if err != nil {
		return user{}, err
	}
	if m.Organization != nil {
		if err := d.accounts.organization(ctx, was.Portal, m.Organization); err != nil {
			return user{}, err
		}
	}
	is, fields, err := m.amended(was)
	if err != nil {
		return user{}, err
	}
	if is.Email != was.Email {
		err := d.accounts.claim(ctx, was.Portal, is.Email, was.User, d.now())
		if errors.Is(err, store.ErrExists) {
			return user{}, conflictAt("user.email", "There is another account with this address.")
		}
		if err != nil {
			return user{}, err
		}
	}
	if v.EmailVerified && is.Email == v.Email {
		is.Unverified = false
	}
	if len(fields) == 0 && is.Unverified == was.Unverified {
		return was, nil
	}
	if len(fields) == 0 {
		fields = []string{"email_verified"}
	}
	note := d.note(k, was, contract.AuditUserChanged, "the portal says so")
	for name, value := range detail(was, is, fields) {
		note.Detail[name] = value
	}
	now, ok, err := told(ctx, d.desk, d.accounts.users, usersCollection, was.ID, keeping(was, is), note)
	switch {
	case ok:
		return now, errors.Join(err, d.desk.settle(ctx, was, now))
	case err != nil:
		return user{}, err
	}
	return user{}, store.ErrNotFound // somebody was faster: looked at once more
}

// note says for the audit log what a portal's word did to an account.
func (d *door) note(k apiKey, u user, what contract.AuditAction, why string) contract.AuditNote {
	return contract.AuditNote{
		Portal: u.Portal, Action: what, Actor: apiKeyActor + k.Key, User: u.User, Reason: why,
		Detail: map[string]string{"api_key": k.Name, "app": k.App}, At: d.now(),
	}
}

// apiKeyActor is before the id of a key that did something, in the audit log.
const apiKeyActor = "api-key:"

var errTicketOver = contract.Refuse(contract.Expired, "This link was used or is too old. Please sign in at your portal again.")

// ticketed loads the sign-in of a ticket that still opens the door.
func (d *door) ticketed(ctx context.Context, p portal, ticket string) (signIn, uint64, error) {
	id, word, ok := parseToken(ticketToken, ticket)
	if !ok {
		return signIn{}, 0, errTicketOver
	}
	s, revision, err := d.flow.kv.Get(ctx, id)
	if errors.Is(err, bus.ErrKeyNotFound) || err == nil && !s.admits(p.ID, word, d.now()) {
		return signIn{}, 0, errTicketOver
	}
	return s, revision, err
}

// enter lets the browser of a ticket in, once: it gets a token of its own, and that of the server that began the sign-in
// is dead. What the sign-in begins with happens now: the text message, or the session where policy asks for nothing.
func (d *door) enter(ctx context.Context, p portal, ticket string) (_ outcome, _ secret.String, err error) {
	at := passing{portal: p.ID}
	if id, _, ok := parseToken(ticketToken, ticket); ok {
		at.signIn = id
	}
	defer func() { d.counts(ctx, err, passEntered, passLate, at) }()
	s, revision, err := d.ticketed(ctx, p, ticket)
	at.user = s.User
	if err != nil {
		return outcome{}, secret.String{}, err
	}
	word := rand.Text()
	token := secret.New(string(signInToken) + "_" + s.ID + "_" + word)
	way := *s.Door
	waiting := way.Waiting
	way.Entered, way.Waiting, way.Ticket = true, false, nil
	way.Home = hashToken(homeWord(token.Reveal()))
	s.Door, s.Hash = &way, hashToken(word)
	var opened prepared
	if waiting { // before the ticket is spent: who is answered "try again" can
		if opened, err = d.flow.prepare(ctx, s); err != nil {
			return outcome{}, secret.String{}, err
		}
	}
	if revision, err = d.flow.kv.Update(ctx, s.ID, s, revision); err != nil {
		if waiting {
			d.flow.sessions.takeBack(ctx, opened.session)
		}
		if errors.Is(err, bus.ErrKeyChanged) {
			err = errTicketOver
		}
		return outcome{}, secret.String{}, err
	}
	out := outcome{signIn: s}
	switch {
	case waiting:
		s.Who = opened.Who
		out = d.flow.handOut(ctx, s, opened)
	case s.Status == StatusChallenge && s.Factor == contract.FactorSMS && s.Challenge == "":
		out, err = d.flow.firstText(ctx, p, s, revision)
	}
	return out, token, err
}

// of loads a sign-in that the app of a key began. Of any other, it says no more than of one that is not there.
func (d *door) of(ctx context.Context, k apiKey, id string) (signIn, uint64, error) {
	none := contract.Refuse(contract.NotFound, "There is no such sign-in.")
	if !isID(id) {
		return signIn{}, 0, none
	}
	s, revision, err := d.flow.kv.Get(ctx, id)
	if errors.Is(err, bus.ErrKeyNotFound) || err == nil && (s.Door == nil || s.Portal != k.Portal || s.Door.App != k.App) {
		return signIn{}, 0, none
	}
	return s, revision, err
}

var errNotBrought = contract.Refuse(contract.Forbidden, "The code that the browser came back with is needed, from the browser that completed this sign-in.")

// redeem takes a complete sign-in as proof of who the person is, once: of two who redeem it at the same time, one does.
// Without the word that its browser brought home nothing of the sign-in is told, and nothing is spent.
func (d *door) redeem(ctx context.Context, k apiKey, id string, word secret.String) (_ signIn, err error) {
	at := passing{portal: k.Portal, app: k.App, key: k.Key}
	defer func() { d.counts(ctx, err, passRedeemed, passUnproved, at) }()
	for {
		s, revision, err := d.of(ctx, k, id)
		if err != nil {
			return signIn{}, err
		}
		at.signIn, at.user = s.ID, s.User
		if !s.broughtBy(word.Reveal()) {
			return signIn{}, errNotBrought
		}
		if err := s.redeemable(d.now()); err != nil {
			return signIn{}, err
		}
		u, err := d.flow.current(ctx, s)
		if err != nil {
			return signIn{}, err
		}
		decision, err := d.flow.decide(ctx, s.Portal, s.sees(u))
		if err != nil {
			return signIn{}, err
		}
		if !s.stillProves(decision) {
			return signIn{}, contract.Refuse(contract.Expired, "The person's second factor was changed since. Please start again.")
		}
		way := *s.Door
		way.RedeemedAt = d.now()
		s.Door, s.Who = &way, s.sees(u)
		_, err = d.flow.kv.Update(ctx, s.ID, s, revision)
		if !errors.Is(err, bus.ErrKeyChanged) || ctx.Err() != nil {
			return s, err
		}
	}
}

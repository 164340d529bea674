package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// linkLife is how long a person has to set a password.
const linkLife = 72 * time.Hour

// linkHash is what is kept of the link by which a person sets their password: within their account, so that there is
// one at a time, and one atomic update spends it.
type linkHash struct {
	Hash      []byte    `bson:"hash"`
	ExpiresAt time.Time `bson:"expires_at"`
}

// newLink makes the secret word of a link (130 random bits), and what is kept of it.
func newLink(now time.Time) (secret.String, linkHash) {
	word := rand.Text()
	return secret.New(word), linkHash{Hash: hashToken(word), ExpiresAt: now.Add(linkLife)}
}

// linkPath is the path of a link: whose it is, and the word.
func linkPath(userID string, word secret.String) string {
	return "/welcome/" + userID + "." + word.Reveal()
}

// parseLink takes the last part of that path apart.
func parseLink(token string) (userID, word string, ok bool) {
	userID, word, ok = strings.Cut(token, ".")
	return userID, word, ok && isUserID(userID) && isID(word)
}

// linkFor is the link as it is handed over.
func (d *desk) linkFor(ctx context.Context, u user, word secret.String, hash linkHash) (*passwordLink, error) {
	p, err := d.accounts.portals.Get(ctx, u.Portal)
	if err != nil {
		return nil, err
	}
	at := p.PublicURL
	if at == "" {
		at = d.publicURL
	}
	return &passwordLink{URL: secret.New(strings.TrimSuffix(at, "/") + linkPath(u.User, word)), ExpiresAt: hash.ExpiresAt}, nil
}

// link makes a new link for a person to set their password; the one before is dead. The password they have works until
// they set the new one.
func (d *desk) link(ctx context.Context, s session, id string) (passwordLink, error) {
	if err := d.master(ctx, s); err != nil {
		return passwordLink{}, err
	}
	u, err := d.find(ctx, s, id)
	switch {
	case err != nil:
		return passwordLink{}, err
	case u.Federated:
		return passwordLink{}, contract.Refuse(contract.Conflict, "This person signs in at the identity provider and has no password here.")
	case u.User == s.User:
		return passwordLink{}, contract.Refuse(contract.Forbidden, "Another admin does that for you.")
	case !s.fresh(d.now()):
		return passwordLink{}, errStepUp
	}
	word, hash := newLink(d.now())
	link, err := d.linkFor(ctx, u, word, hash)
	if err != nil {
		return passwordLink{}, err
	}
	if err := d.setLink(ctx, u, hash, d.by(s, contract.AuditPasswordLink, id, "")); err != nil {
		return passwordLink{}, err
	}
	return *link, nil
}

// setLink makes a link the one that works.
func (d *desk) setLink(ctx context.Context, u user, hash linkHash, note contract.AuditNote) error {
	_, ok, err := told(ctx, d, d.accounts.users, usersCollection, u.ID, linking(u, hash), note)
	if err == nil && !ok {
		return errMeanwhile
	}
	return err
}

// errLinkOver is for a link that was used, replaced or forgotten for too long, and for one that never was.
var errLinkOver = contract.Refuse(contract.Expired, "This link is used or too old. Ask your portal's admin for a new one.")

// welcomed is the account of a link that still works.
func (d *desk) welcomed(ctx context.Context, portalID, token string) (user, error) {
	id, word, ok := parseLink(token)
	if !ok {
		return user{}, errLinkOver
	}
	u, err := d.accounts.byID(ctx, contract.Account{Portal: portalID, User: id})
	if errors.Is(err, store.ErrNotFound) {
		return user{}, errLinkOver
	}
	if err != nil {
		return user{}, err
	}
	if u.Link == nil || !sameToken(u.Link.Hash, word) || !d.now().Before(u.Link.ExpiresAt) || u.Disabled || u.Deleted || u.Federated {
		return user{}, errLinkOver
	}
	return u, nil
}

// setPassword spends a link: the person has this password from now on, and signs in with it. Sessions that another
// password opened, or was about to, end.
func (d *desk) setPassword(ctx context.Context, p portal, token string, password secret.String) error {
	u, err := d.welcomed(ctx, p.ID, token)
	if err != nil {
		return err
	}
	if why := weakness(password, u, p); why != "" {
		return &contract.Error{Code: contract.InvalidRequest, Detail: why, Field: "password"}
	}
	hash, err := d.passwords.hash(ctx, password)
	if err != nil {
		return err
	}
	if !d.sessions.kv.Fresh() {
		return contract.NotAnswering() // the link must not be spent while nobody can end what another password opened
	}
	note := contract.AuditNote{Portal: p.ID, Action: contract.AuditPasswordSet, Actor: u.User, User: u.User, At: d.now()}
	now, ok, err := told(ctx, d, d.accounts.users, usersCollection, u.ID, choosing(*u.Link, hash, note.At), note)
	if err == nil && !ok {
		return errLinkOver
	}
	if !ok {
		return err
	}
	if now.reachable() {
		err = errors.Join(err, d.accounts.count(ctx, now.account()))
	}
	return errors.Join(err, d.sessions.endOthers(ctx, now.account(), ""))
}

type setPasswordRequest struct {
	Body struct {
		Token    secret.String `json:"token" maxLength:"128" doc:"The last part of the link: what follows /welcome/."`
		Password secret.String `json:"password" maxLength:"256" doc:"At least 12 characters; not one that is tried first, and not mostly the person's name, address or portal."`
	}
}

// apiSetPassword spends a password link.
func (g *gateway) apiSetPassword(ctx context.Context, in *setPasswordRequest) (*struct{}, error) {
	p, err := g.portal(ctx)
	if err != nil {
		return nil, err
	}
	return nil, g.desk.setPassword(ctx, p, in.Body.Token.Reveal(), in.Body.Password)
}

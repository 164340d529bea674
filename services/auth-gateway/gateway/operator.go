package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// Office is what an operator does with the gateway's documents, whether or not the services run. What it changes is
// told to the audit log by the letter that is part of the change: at once by a gateway that runs, by any other when it
// starts.
type Office struct {
	// Operator stands in the audit log as who did it.
	Operator string
	// PublicURL is where people reach a portal that has no address of its own; it begins the links.
	PublicURL string

	db   *store.DB
	keys *seal.Keys
	desk *desk
}

// NewPortal is a portal to be made.
type NewPortal struct {
	// ID is 1 to 40 of a-z, 0-9 and -.
	ID, Name string
	// PublicURL is the portal's own address; empty for the installation's.
	PublicURL string
}

// PortalInfo is a portal as an operator sees it.
type PortalInfo struct {
	ID, Name, PublicURL string
	// Admins is how many Master Admins can sign in.
	Admins int
}

// Link is a link by which a person sets their password, once.
type Link struct {
	URL       secret.String
	ExpiresAt time.Time
}

// UserInfo is an account as an operator sees it.
type UserInfo struct {
	ID, Email, Name        string
	Audience               contract.Audience
	Organization           string
	MasterAdmin, Federated bool
	Disabled               bool
}

// OpenOffice opens the gateway's documents, in the gateway's own database and with its keys.
func OpenOffice(ctx context.Context, db *store.DB, keys *seal.Keys) (*Office, error) {
	if err := db.EnsureIndexes(ctx, directoryIndexes()); err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	later := func(context.Context, bus.Letter) error { return errors.New("a gateway sends it") }
	return &Office{Operator: "operator", db: db, keys: keys, desk: &desk{
		accounts: newAccounts(db), outbox: store.NewOutbox(db, log, later), log: log,
		now: func() time.Time { return clock.System().Now().Truncate(time.Millisecond) },
	}}, nil
}

// Close waits for what is in hand.
func (o *Office) Close(ctx context.Context) error { return o.desk.outbox.Close(ctx) }

func (o *Office) note(portalID string, action contract.AuditAction, about string) contract.AuditNote {
	actor := "operator"
	if o.Operator != "" && o.Operator != actor {
		actor += ":" + o.Operator
	}
	return contract.AuditNote{Portal: portalID, Action: action, Actor: actor, User: about, At: o.desk.now()}
}

var portalID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// CreatePortal makes a portal; conflict when there is one of that id. Nobody signs in before it has settings.
func (o *Office) CreatePortal(ctx context.Context, p NewPortal) error {
	if !portalID.MatchString(p.ID) {
		return invalid("id", "The id of a portal is 1 to 40 of a-z, 0-9 and -.")
	}
	name, err := oneLine("name", p.Name)
	if err != nil {
		return err
	}
	if p.PublicURL != "" {
		check := Settings{PublicURL: p.PublicURL, ListenAddr: "127.0.0.1:0", Argon2Memory: 64, Argon2Time: 1}
		if wrong := check.Validate(); len(wrong) > 0 && strings.HasPrefix(wrong[len(wrong)-1], "PUBLIC_URL") {
			return invalid("public_url", "The address must be a scheme and a host, such as https://portal.example.com.")
		}
		taken, err := o.at(ctx, p.PublicURL)
		if err != nil {
			return err
		}
		if taken != "" {
			return contract.Refuse(contract.Conflict, "The portal %s has this address already.", taken)
		}
	}
	letter, _, err := o.desk.letter(ctx, o.note(p.ID, contract.AuditPortalCreated, ""))
	if err != nil {
		return err
	}
	if err := o.desk.outbox.Note(ctx, portalsCollection, p.ID, letter); err != nil {
		return err
	}
	err = o.desk.accounts.portals.Insert(ctx, portal{
		ID: p.ID, Directory: directoryForm, Name: name, PublicURL: strings.TrimSuffix(p.PublicURL, "/"), Outbox: map[string]bus.Letter{letter.ID: letter},
	})
	if errors.Is(err, store.ErrExists) {
		return contract.Refuse(contract.Conflict, "There is a portal %s already.", p.ID)
	}
	return err
}

// at is the id of the portal that has the host of an address, if any.
func (o *Office) at(ctx context.Context, publicURL string) (string, error) {
	all, err := o.desk.accounts.all(ctx)
	for _, p := range all {
		if p.PublicURL != "" && strings.EqualFold(hostOf(p.PublicURL), hostOf(publicURL)) {
			return p.ID, err
		}
	}
	return "", err
}

// Portals lists the portals.
func (o *Office) Portals(ctx context.Context) ([]PortalInfo, error) {
	all, err := o.desk.accounts.all(ctx)
	var out []PortalInfo
	for _, p := range all {
		out = append(out, PortalInfo{p.ID, p.Name, p.PublicURL, p.AdminCount})
	}
	return out, err
}

// CreateAdmin makes a Master Admin and the link by which they set their password; conflict when the address has an
// account already.
func (o *Office) CreateAdmin(ctx context.Context, portalID, email, name string) (string, Link, error) {
	u, err := newPerson{Email: email, Name: name, Audience: contract.Internal, MasterAdmin: true}.account(portalID)
	if err != nil {
		return "", Link{}, err
	}
	word, hash := newLink(o.desk.now())
	link, err := o.linkFor(ctx, u, word, hash)
	if err != nil {
		return "", Link{}, err
	}
	u.Link = &hash
	note := o.note(portalID, contract.AuditUserCreated, u.User)
	note.Detail = map[string]string{"email": u.Email, "rights": rights(u)}
	letter, _, err := o.desk.letter(ctx, note)
	if err != nil {
		return "", Link{}, err
	}
	u.Outbox = map[string]bus.Letter{letter.ID: letter}
	if err := o.desk.outbox.Note(ctx, usersCollection, portalID+"/"+u.User, letter); err != nil {
		return "", Link{}, err
	}
	err = o.desk.accounts.add(ctx, u, o.desk.now())
	if errors.Is(err, store.ErrExists) {
		return "", Link{}, errEmailTaken
	}
	return u.User, link, err
}

func (o *Office) linkFor(ctx context.Context, u user, word secret.String, hash linkHash) (Link, error) {
	o.desk.publicURL = o.PublicURL
	l, err := o.desk.linkFor(ctx, u, word, hash)
	if errors.Is(err, store.ErrNotFound) {
		return Link{}, contract.Refuse(contract.NotFound, "There is no portal %s.", u.Portal)
	}
	if err != nil {
		return Link{}, err
	}
	return Link(*l), nil
}

// PasswordLink makes a new link for a person to set their password; earlier ones are dead.
func (o *Office) PasswordLink(ctx context.Context, portalID, userID string) (Link, error) {
	u, err := o.desk.accounts.byID(ctx, contract.Account{Portal: portalID, User: userID})
	if errors.Is(err, store.ErrNotFound) || err == nil && u.Deleted {
		return Link{}, errNobody
	}
	if err != nil {
		return Link{}, err
	}
	if u.Federated {
		return Link{}, contract.Refuse(contract.Conflict, "This person signs in at the identity provider and has no password here.")
	}
	word, hash := newLink(o.desk.now())
	link, err := o.linkFor(ctx, u, word, hash)
	if err != nil {
		return Link{}, err
	}
	return link, o.desk.setLink(ctx, u, hash, o.note(portalID, contract.AuditPasswordLink, userID))
}

// FindUser finds an account by its address in any spelling.
func (o *Office) FindUser(ctx context.Context, portalID, email string) (UserInfo, error) {
	address, ok := canonicalEmail(email)
	if !ok {
		return UserInfo{}, invalid("email", "%q is no email address.", email)
	}
	u, err := o.desk.accounts.byEmail(ctx, portalID, address)
	if errors.Is(err, store.ErrNotFound) || err == nil && u.Deleted {
		return UserInfo{}, contract.Refuse(contract.NotFound, "There is no account %s in portal %s.", address, portalID)
	}
	if err != nil {
		return UserInfo{}, fmt.Errorf("find %s: %w", address, err)
	}
	return UserInfo{u.User, u.Email, u.Name, u.Audience, u.Organization, u.MasterAdmin, u.Federated, u.Disabled}, nil
}

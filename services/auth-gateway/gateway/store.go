package gateway

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// portal is a customer's portal: its look and where its people go. Owned by operators.
type portal struct {
	ID                string   `bson:"_id"`
	Name              string   `bson:"name"`
	PublicURL         string   `bson:"public_url,omitempty"` // empty: PUBLIC_URL of the installation
	Accent            string   `bson:"accent,omitempty"`
	SupportEmail      string   `bson:"support_email,omitempty"`
	SupportURL        string   `bson:"support_url,omitempty"`
	HelpText          string   `bson:"help_text,omitempty"`
	RequestAccountURL string   `bson:"request_account_url,omitempty"`
	ResetLoginURL     string   `bson:"reset_login_url,omitempty"`
	Logo              *picture `bson:"logo,omitempty"`
	LogoDark          *picture `bson:"logo_dark,omitempty"`
	// SMSWithoutRelogin lets the confirmation of a number open the session; by default the person signs in again.
	SMSWithoutRelogin bool `bson:"sms_without_relogin,omitempty"`
	// ReturnURLs are where people who came through the portal door may be sent back to: exactly these.
	ReturnURLs []string `bson:"return_urls,omitempty"`
	// Providers are the portal's own sign-in providers, by id.
	Providers map[string]provider `bson:"providers,omitempty"`
	// StandIn lets federated people use a password while there is no provider: for the demo only.
	StandIn bool `bson:"stand_in,omitempty"`

	// Admins are the Master Admins who can sign in, AdminCount how many: see admins_store.go.
	Admins     map[string]bool `bson:"admins,omitempty"`
	AdminCount int             `bson:"admin_count"`
	// HashForms are those of imported password hashes, each with a dummy of its cost.
	HashForms map[string]string `bson:"hash_forms,omitempty"`

	Outbox map[string]bus.Letter `bson:"outbox,omitempty"`
}

// login finds the account of an e-mail address: its _id is portal/address in canonical form, so that one address is
// one account whatever its spelling. It is a claim: it counts only while the account has that address, too.
type login struct {
	ID   string `bson:"_id"`
	User string `bson:"user"`
	// At is when it was claimed.
	At time.Time `bson:"at,omitempty"`
}

// user is an account. Its _id is portal/id; the id never changes, the address may.
type user struct {
	ID                string            `bson:"_id"`
	Portal            string            `bson:"portal"`
	User              string            `bson:"user"`
	Email             string            `bson:"email"`
	Name              string            `bson:"name"`
	Audience          contract.Audience `bson:"audience"`
	Organization      string            `bson:"organization,omitempty"`
	MasterAdmin       bool              `bson:"master_admin,omitempty"`
	OrganizationAdmin bool              `bson:"organization_admin,omitempty"`
	Federated         bool              `bson:"federated,omitempty"`
	Disabled          bool              `bson:"disabled,omitempty"`
	// Identity is the key of the one identity at a provider that this account belongs to; empty before its first arrival.
	Identity string `bson:"identity,omitempty"`
	// Provider is the id of the provider that it first arrived from.
	Provider string `bson:"provider,omitempty"`
	// Doors are by which key each app of the portal knows this person who sends them through the portal door: see [subjectKey].
	Doors map[string]string `bson:"doors,omitempty"`
	// Unverified is set where the portal did not say that the address is this person's.
	Unverified bool `bson:"email_unverified,omitempty"`
	// Password is an argon2id hash in PHC form, or an imported one of another form.
	Password string `bson:"password,omitempty"`
	// HashForm names how an imported hash was made, until a right password was typed; empty for one of ours.
	HashForm string `bson:"hash_form,omitempty"`
	// PasswordAt is when it was set over a link: sign-ins that another password began are over.
	PasswordAt time.Time `bson:"password_at,omitempty"`
	// Link lets the person set their password, once.
	Link *linkHash `bson:"password_link,omitempty"`
	// Deleted marks what is left of an account until its end is told everywhere.
	Deleted bool `bson:"deleted,omitempty"`

	// What lists are made from: see directory.go and mirror.go. No sign-in is decided by it.
	Population string `bson:"population"`
	NameKey    string `bson:"name_key"`
	SurnameKey string `bson:"surname_key"`
	SignedIn   bool   `bson:"signed_in"`
	Mirror     mirror `bson:"mirror"`

	Outbox map[string]bus.Letter `bson:"outbox,omitempty"`
}

func (u user) account() contract.Account {
	return contract.Account{Portal: u.Portal, User: u.User}
}

// reachable tells whether the account is a Master Admin who can sign in.
func (u user) reachable() bool {
	return u.MasterAdmin && !u.Disabled && !u.Deleted && (u.Federated || u.Password != "")
}

// accounts are the gateway's documents.
type accounts struct {
	portals       store.Collection[portal]
	logins        store.Collection[login]
	users         store.Collection[user]
	organizations store.Collection[organization]
	arrivals      store.Collection[arrival]
}

// The collections.
const (
	portalsCollection = "portals"
	usersCollection   = "users"
)

func newAccounts(db *store.DB) accounts {
	return accounts{
		store.Of[portal](db, portalsCollection), store.Of[login](db, "logins"), store.Of[user](db, usersCollection),
		store.Of[organization](db, "organizations"), store.Of[arrival](db, "arrivals"),
	}
}

// byEmail finds an account by its canonical address: two reads by _id, made for an unknown address as well so that it
// takes the same time.
func (a accounts) byEmail(ctx context.Context, portalID, email string) (user, error) {
	l, err := a.logins.Get(ctx, portalID+"/"+email)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return user{}, err
	}
	u, err := a.users.Get(ctx, portalID+"/"+l.User)
	if err == nil && u.Email != email {
		return user{}, store.ErrNotFound // the claim of an address that they have not yet, or no more
	}
	return u, err
}

// byID finds an account by id: one read by _id.
func (a accounts) byID(ctx context.Context, who contract.Account) (user, error) {
	return a.users.Get(ctx, who.Portal+"/"+who.User)
}

// claimSettles is how old a claim must be before one without its account counts for nothing: who is still at work on
// it has given up long before.
const claimSettles = time.Minute

// claim takes an address for an account; of two parallel claims one is [store.ErrExists]. One that a crash left over
// is taken over.
func (a accounts) claim(ctx context.Context, portalID, email, userID string, now time.Time) error {
	c := login{ID: portalID + "/" + email, User: userID, At: now}
	err := a.logins.Insert(ctx, c)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	held, err := a.logins.Get(ctx, c.ID)
	if err != nil || held.User == userID {
		return err
	}
	owner, err := a.users.Get(ctx, portalID+"/"+held.User)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case err == nil && owner.Email == email && !owner.Deleted, now.Sub(held.At) < claimSettles:
		return store.ErrExists
	}
	taken, err := a.logins.Update(ctx, c.ID, store.Change{
		Guard:  bson.D{{Key: "user", Value: held.User}},
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "user", Value: userID}, {Key: "at", Value: now}}}},
	})
	if err == nil && !taken {
		return store.ErrExists
	}
	return err
}

// disclaim gives an address up that the account had.
func (a accounts) disclaim(ctx context.Context, portalID, email, userID string) error {
	_, err := a.logins.DeleteIf(ctx, portalID+"/"+email, bson.D{{Key: "user", Value: userID}})
	return err
}

// add writes a new account. The address is claimed first, so that of two parallel adds one is [store.ErrExists]; a
// crash in between leaves a claim without an account, which add finishes when it is tried again with the same id. Whoever
// asks again has another id, and would be told for a minute that the address is taken, so a lost reply is not left at that.
func (a accounts) add(ctx context.Context, u user, now time.Time) error {
	if err := surely(func() error { return a.claim(ctx, u.Portal, u.Email, u.User, now) }); err != nil {
		return err
	}
	if u.Organization != "" {
		if err := a.organization(ctx, u.Portal, &u.Organization); err != nil {
			return err
		}
	}
	u.ID = u.Portal + "/" + u.User
	u.index()
	lost := false
	return surely(func() error {
		err := a.users.Insert(ctx, u)
		if lost && errors.Is(err, store.ErrExists) {
			if there, e := a.users.Get(ctx, u.ID); e == nil && there.Email == u.Email {
				return nil
			}
		}
		lost = true
		return err
	})
}

// cutOff is how soon a connection that is cut off in the middle of a write is noticed; a store that is gone takes longer.
const cutOff = 500 * time.Millisecond

// surely does again what may be done twice, if its answer was lost at once.
func surely(do func() error) error {
	begun := time.Now() // real time: how long the store took
	err := do()
	// real time: the same
	if contract.CodeOf(err) == contract.Unavailable && time.Since(begun) < cutOff {
		err = do()
	}
	return err
}

// all lists the portals: a handful of documents.
func (a accounts) all(ctx context.Context) ([]portal, error) {
	return a.portals.Query(ctx, bson.D{}, bson.D{{Key: "_id", Value: 1}}, 1000)
}

// organization is a client company, found by its name without case and accents: one company is one spelling.
type organization struct {
	ID     string `bson:"_id"`
	Portal string `bson:"portal"`
	Key    string `bson:"key"`
	Name   string `bson:"name"`
}

// organization makes sure of a company and replaces its name by the spelling it is known under.
func (a accounts) organization(ctx context.Context, portalID string, name *string) error {
	key := fold(*name)
	o := organization{ID: portalID + "/" + key, Portal: portalID, Key: key, Name: *name}
	err := a.organizations.Insert(ctx, o)
	if errors.Is(err, store.ErrExists) {
		o, err = a.organizations.Get(ctx, o.ID)
	}
	*name = o.Name
	return err
}

package gateway

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// portal is a customer's portal: its look and where its people go. Owned by operators.
type portal struct {
	ID                string `bson:"_id"`
	Name              string `bson:"name"`
	PublicURL         string `bson:"public_url,omitempty"` // empty: PUBLIC_URL of the installation
	Accent            string `bson:"accent,omitempty"`
	SupportEmail      string `bson:"support_email,omitempty"`
	SupportURL        string `bson:"support_url,omitempty"`
	HelpText          string `bson:"help_text,omitempty"`
	RequestAccountURL string `bson:"request_account_url,omitempty"`
	ResetLoginURL     string `bson:"reset_login_url,omitempty"`
	// SMSWithoutRelogin lets the confirmation of a number open the session; by default the person signs in again.
	SMSWithoutRelogin bool `bson:"sms_without_relogin,omitempty"`
	// Providers are the portal's own sign-in providers, by id.
	Providers map[string]provider `bson:"providers,omitempty"`
	// StandIn lets federated people use a password while there is no provider: for the demo only.
	StandIn bool `bson:"stand_in,omitempty"`
}

// login finds the account of an e-mail address: its _id is portal/address in canonical form, so that one address is
// one account whatever its spelling.
type login struct {
	ID   string `bson:"_id"`
	User string `bson:"user"`
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
	// Password is an argon2id hash in PHC form.
	Password string `bson:"password,omitempty"`
}

// accounts are the gateway's documents.
type accounts struct {
	db      *store.DB
	portals store.Collection[portal]
	logins  store.Collection[login]
	users   store.Collection[user]
}

func newAccounts(db *store.DB) accounts {
	return accounts{db, store.Of[portal](db, "portals"), store.Of[login](db, "logins"), store.Of[user](db, "users")}
}

// byEmail finds an account by its canonical address: two reads by _id, made for an unknown address as well so that it
// takes the same time.
func (a accounts) byEmail(ctx context.Context, portalID, email string) (user, error) {
	l, err := a.logins.Get(ctx, portalID+"/"+email)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return user{}, err
	}
	return a.users.Get(ctx, portalID+"/"+l.User)
}

// byID finds an account by id: one read by _id.
func (a accounts) byID(ctx context.Context, who contract.Account) (user, error) {
	return a.users.Get(ctx, who.Portal+"/"+who.User)
}

// add writes a new account. The address is claimed first, so that of two parallel adds one is [store.ErrExists]; a
// crash in between leaves a claim without an account, which add finishes when it is tried again with the same id.
func (a accounts) add(ctx context.Context, u user) error {
	claim := login{ID: u.Portal + "/" + u.Email, User: u.User}
	if err := a.logins.Insert(ctx, claim); err != nil {
		if !errors.Is(err, store.ErrExists) {
			return err
		}
		held, err := a.logins.Get(ctx, claim.ID)
		if err != nil {
			return err
		}
		if held.User != u.User {
			return store.ErrExists
		}
	}
	u.ID = u.Portal + "/" + u.User
	return a.users.Insert(ctx, u)
}

// all lists the portals: a handful of documents.
func (a accounts) all(ctx context.Context) ([]portal, error) {
	return a.portals.Query(ctx, bson.D{}, bson.D{{Key: "_id", Value: 1}}, 1000)
}

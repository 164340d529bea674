package gateway

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/store"
)

// identityLogin is the _id under which an identity finds its account. No address looks like it: it has no @.
func identityLogin(portalID, key string) string { return portalID + "/oidc:" + key }

// byIdentity finds the account of an identity: two reads by _id. Who asks compares [user.Identity], which decides; the
// login only finds.
func (a accounts) byIdentity(ctx context.Context, portalID, key string) (user, error) {
	l, err := a.logins.Get(ctx, identityLogin(portalID, key))
	if err != nil {
		return user{}, err
	}
	return a.users.Get(ctx, portalID+"/"+l.User)
}

// noteIdentity makes an account findable by its identity. A crash before it costs nothing: the next sign-in with the
// same address notes it.
func (a accounts) noteIdentity(ctx context.Context, u user) error {
	set := bson.D{{Key: "$set", Value: bson.D{{Key: "user", Value: u.User}}}}
	_, err := a.logins.Update(ctx, identityLogin(u.Portal, u.Identity), store.Change{Update: set, Upsert: true})
	return err
}

// bind gives a federated account its identity, unless it has one or was disabled: then it is [store.ErrNotFound].
func (a accounts) bind(ctx context.Context, u user, key, providerID string, l bus.Letter) (user, error) {
	return a.users.Apply(ctx, u.ID, store.Change{
		Guard: bson.D{
			{Key: "federated", Value: true},
			{Key: "disabled", Value: bson.D{{Key: "$ne", Value: true}}},
			{Key: "identity", Value: bson.D{{Key: "$exists", Value: false}}},
		},
		Update: bson.D{{Key: "$set", Value: append(bson.D{{Key: "identity", Value: key}, {Key: "provider", Value: providerID}}, store.Put(l)...)}},
	})
}

// withLetter is a new account and what is to be told of it.
type withLetter struct {
	User   user                  `bson:",inline"`
	Outbox map[string]bus.Letter `bson:"outbox"`
}

// addWith writes a new account with its letter, the address first as [accounts.add] does. Its id is that of its
// identity, so that who finds the address claimed by a crash goes on with it.
func (a accounts) addWith(ctx context.Context, u user, l bus.Letter) (user, error) {
	u.ID = u.Portal + "/" + u.User
	claim := login{ID: u.Portal + "/" + u.Email, User: u.User}
	if err := a.logins.Insert(ctx, claim); err != nil {
		if !errors.Is(err, store.ErrExists) {
			return user{}, err
		}
		held, err := a.logins.Get(ctx, claim.ID)
		if err != nil {
			return user{}, err
		}
		if held.User != u.User {
			return user{}, store.ErrExists
		}
	}
	users := store.Of[withLetter](a.db, "users")
	return u, users.Insert(ctx, withLetter{u, map[string]bus.Letter{l.ID: l}})
}

// setProvider writes one provider of a portal; [store.ErrNotFound] where there is no such portal.
func setProvider(ctx context.Context, db *store.DB, portalID string, p provider, l bus.Letter) error {
	set := append(bson.D{{Key: "providers." + p.ID, Value: p}}, store.Put(l)...)
	_, err := store.Of[portal](db, "portals").Apply(ctx, portalID, store.Change{Update: bson.D{{Key: "$set", Value: set}}})
	return err
}

// removeProvider takes one provider out of a portal; [store.ErrNotFound] where there is none of that id.
func removeProvider(ctx context.Context, db *store.DB, portalID, providerID string, l bus.Letter) error {
	field := "providers." + providerID
	_, err := store.Of[portal](db, "portals").Apply(ctx, portalID, store.Change{
		Guard: bson.D{{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}},
		Update: bson.D{
			{Key: "$unset", Value: bson.D{{Key: field, Value: ""}}},
			{Key: "$set", Value: store.Put(l)},
		},
	})
	return err
}

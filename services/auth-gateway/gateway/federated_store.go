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

// claimIdentity takes an identity for a new account and returns the id which that account has: of twins one makes it,
// and what a crash left half-way is gone on with.
func (a accounts) claimIdentity(ctx context.Context, portalID, key, userID string) (string, error) {
	l := login{ID: identityLogin(portalID, key), User: userID}
	err := a.logins.Insert(ctx, l)
	if errors.Is(err, store.ErrExists) {
		l, err = a.logins.Get(ctx, l.ID)
	}
	return l.User, err
}

// disclaimIdentity makes a deleted account's identity a stranger's.
func (a accounts) disclaimIdentity(ctx context.Context, u user) error {
	if u.Identity == "" {
		return nil
	}
	_, err := a.logins.DeleteIf(ctx, identityLogin(u.Portal, u.Identity), bson.D{{Key: "user", Value: u.User}})
	return err
}

// binding gives a federated account its identity, unless it has one by now or was disabled.
func binding(key, providerID string) store.Change {
	return store.Change{
		Guard: bson.D{
			{Key: "federated", Value: true},
			{Key: "disabled", Value: bson.D{{Key: "$ne", Value: true}}},
			{Key: "identity", Value: bson.D{{Key: "$exists", Value: false}}},
		},
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "identity", Value: key}, {Key: "provider", Value: providerID}}}},
	}
}

// keptSealed is where this service keeps what it sealed: the client secrets of sign-in providers.
func keptSealed() []store.Sealed {
	return []store.Sealed{store.SealedIn(portalsCollection, func(p portal) (string, []store.SealedValue) {
		var values []store.SealedValue
		for id, v := range p.Providers {
			values = append(values, store.SealedValue{Field: "providers." + id + ".client_secret", Value: v.ClientSecret, Place: secretPlace(p.ID, id)})
		}
		return p.ID, values
	})}
}

// setProvider writes one provider of a portal; [store.ErrNotFound] where there is no such portal.
func setProvider(ctx context.Context, db *store.DB, portalID string, p provider, l bus.Letter) error {
	set := append(bson.D{{Key: "providers." + p.ID, Value: p}}, store.Put(l)...)
	_, err := store.Of[portal](db, portalsCollection).Apply(ctx, portalID, store.Change{Update: bson.D{{Key: "$set", Value: set}}})
	return err
}

// removeProvider takes one provider out of a portal; [store.ErrNotFound] where there is none of that id.
func removeProvider(ctx context.Context, db *store.DB, portalID, providerID string, l bus.Letter) error {
	field := "providers." + providerID
	_, err := store.Of[portal](db, portalsCollection).Apply(ctx, portalID, store.Change{
		Guard: bson.D{{Key: field, Value: bson.D{{Key: "$exists", Value: true}}}},
		Update: bson.D{
			{Key: "$unset", Value: bson.D{{Key: field, Value: ""}}},
			{Key: "$set", Value: store.Put(l)},
		},
	})
	return err
}

package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/store"
)

const apiKeysCollection = "api_keys"

// apiKey is how a portal's server proves who it is. Its _id is portal/id; the id is part of the key, and no secret.
type apiKey struct {
	ID     string `bson:"_id"`
	Portal string `bson:"portal"`
	Key    string `bson:"key"`
	Name   string `bson:"name"`
	// App is whose key it is: the keys of one app share its people's ids and its sign-ins.
	App string `bson:"app"`
	// Hash is the SHA-256 of the key's secret part; gone when it is revoked.
	Hash      []byte    `bson:"hash,omitempty"`
	CreatedAt time.Time `bson:"created_at"`
	// UsedAt is when it was last used, at most [keyTouch] behind.
	UsedAt    time.Time `bson:"used_at,omitempty"`
	RevokedAt time.Time `bson:"revoked_at,omitempty"`

	Outbox map[string]bus.Letter `bson:"outbox,omitempty"`
}

// apiKeys are the keys of all portals.
type apiKeys struct{ store.Collection[apiKey] }

func apiKeysOf(db *store.DB) apiKeys { return apiKeys{store.Of[apiKey](db, apiKeysCollection)} }

// doorIndexes serve the list of a portal's keys.
func doorIndexes() []store.Index {
	return []store.Index{{Collection: apiKeysCollection, Name: "by_portal", Keys: bson.D{{Key: "portal", Value: 1}, {Key: "created_at", Value: 1}}}}
}

// of lists the keys of a portal, the oldest first.
func (k apiKeys) of(ctx context.Context, portalID string) ([]apiKey, error) {
	return k.Query(ctx, bson.D{{Key: "portal", Value: portalID}}, bson.D{{Key: "created_at", Value: 1}}, 1000)
}

// used notes that a key was used.
func (k apiKeys) used(ctx context.Context, id string, at time.Time) error {
	_, err := k.Update(ctx, id, store.Change{Update: bson.D{{Key: "$max", Value: bson.D{{Key: "used_at", Value: at}}}}})
	return err
}

// revoke kills a key that lives; [store.ErrNotFound] where it does not.
func (k apiKeys) revoke(ctx context.Context, id string, at time.Time, l bus.Letter) error {
	_, err := k.Apply(ctx, id, store.Change{
		Guard: bson.D{{Key: "hash", Value: bson.D{{Key: "$exists", Value: true}}}},
		Update: bson.D{
			{Key: "$set", Value: append(bson.D{{Key: "revoked_at", Value: at}}, store.Put(l)...)},
			{Key: "$unset", Value: bson.D{{Key: "hash", Value: ""}}},
		},
	})
	return err
}

// registerURL adds a return URL to a portal, or leaves it there.
func registerURL(ctx context.Context, db *store.DB, portalID, raw string, l bus.Letter) error {
	_, err := store.Of[portal](db, portalsCollection).Apply(ctx, portalID, store.Change{Update: bson.D{
		{Key: "$addToSet", Value: bson.D{{Key: "return_urls", Value: raw}}},
		{Key: "$set", Value: store.Put(l)},
	}})
	return err
}

// dropURL takes a return URL from a portal; [store.ErrNotFound] where it has none such.
func dropURL(ctx context.Context, db *store.DB, portalID, raw string, l bus.Letter) error {
	_, err := store.Of[portal](db, portalsCollection).Apply(ctx, portalID, store.Change{
		Guard: bson.D{{Key: "return_urls", Value: raw}},
		Update: bson.D{
			{Key: "$pull", Value: bson.D{{Key: "return_urls", Value: raw}}},
			{Key: "$set", Value: store.Put(l)},
		},
	})
	return err
}

// doorLogin is the _id under which what an app calls a person finds their account. No address looks like it: it has no @.
func doorLogin(portalID, subject string) string { return portalID + "/door:" + subject }

// bySubject finds the account that an app calls so: two reads by _id. What decides is [user.Doors]; the login only finds.
func (a accounts) bySubject(ctx context.Context, portalID, app, subject string) (user, error) {
	l, err := a.logins.Get(ctx, doorLogin(portalID, subject))
	if err != nil {
		return user{}, err
	}
	u, err := a.users.Get(ctx, portalID+"/"+l.User)
	if err == nil && (u.Deleted || u.Doors[app] != subject) {
		return user{}, store.ErrNotFound
	}
	return u, err
}

// noteSubject makes an account findable by what an app calls its person. A crash before it costs nothing: the next
// sign-in with the same address notes it.
func (a accounts) noteSubject(ctx context.Context, u user, subject string) error {
	set := bson.D{{Key: "$set", Value: bson.D{{Key: "user", Value: u.User}}}}
	_, err := a.logins.Update(ctx, doorLogin(u.Portal, subject), store.Change{Update: set, Upsert: true})
	return err
}

// claimSubject takes what an app calls a person for a new account and returns the id which that account has: of twins
// one makes it, and what a crash left half-way is gone on with.
func (a accounts) claimSubject(ctx context.Context, portalID, subject, userID string) (string, error) {
	l := login{ID: doorLogin(portalID, subject), User: userID}
	err := a.logins.Insert(ctx, l)
	if errors.Is(err, store.ErrExists) {
		l, err = a.logins.Get(ctx, l.ID)
	}
	return l.User, err
}

// disclaimSubjects makes what apps called a deleted account's person a stranger's.
func (a accounts) disclaimSubjects(ctx context.Context, u user) error {
	var errs []error
	for _, subject := range u.Doors {
		_, err := a.logins.DeleteIf(ctx, doorLogin(u.Portal, subject), bson.D{{Key: "user", Value: u.User}})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hosting makes an account that of an app's person, unless it changed hands or rights since it was read.
func hosting(u user, app, subject string) store.Change {
	known := bson.E{Key: "doors." + app, Value: bson.D{{Key: "$exists", Value: false}}}
	if was := u.Doors[app]; was != "" {
		known.Value = was
	}
	return store.Change{
		Guard:  append(slices.Concat(unchanged(u), bson.D{known}), bson.E{Key: "federated", Value: bson.D{{Key: "$ne", Value: true}}}),
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "doors." + app, Value: subject}}}},
	}
}

// keeping brings an account in step with what its portal says of it.
func keeping(was, is user) store.Change {
	ch := amending(was, is)
	for i, e := range ch.Update {
		if e.Key == "$set" {
			ch.Update[i].Value = append(e.Value.(bson.D), bson.E{Key: "email_unverified", Value: is.Unverified}) //nolint:forcetypeassert // made by amending
		}
	}
	return ch
}

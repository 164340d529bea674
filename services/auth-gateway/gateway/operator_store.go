package gateway

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/store"
)

// reopen enables an account, takes its password away and gives it a link. Who has no password is counted among the
// reachable admins no more; who sets one is counted then.
func (a accounts) reopen(ctx context.Context, u user, link linkHash, letters []bus.Letter) error {
	guard := append(asRead(u), bson.E{Key: "federated", Value: bson.D{{Key: "$ne", Value: true}}})
	u.Disabled = false
	set := append(bson.D{{Key: "password_link", Value: link}, {Key: "disabled", Value: false}}, u.indexed()...)
	done, err := a.users.Update(ctx, u.ID, store.Change{
		Guard: guard,
		Update: bson.D{
			{Key: "$set", Value: append(set, store.Put(letters...)...)},
			{Key: "$unset", Value: bson.D{{Key: "password", Value: ""}}},
		},
	})
	if err == nil && !done {
		err = errMeanwhile
	}
	if err != nil {
		return err
	}
	return a.uncount(ctx, u.account())
}

// setSMSRelogin writes whether a portal's people sign in again after they confirmed their number; [store.ErrNotFound] where
// there is no such portal.
func (a accounts) setSMSRelogin(ctx context.Context, portalID string, again bool, l bus.Letter) error {
	set := append(bson.D{{Key: "sms_without_relogin", Value: !again}}, store.Put(l)...)
	_, err := a.portals.Apply(ctx, portalID, store.Change{Update: bson.D{{Key: "$set", Value: set}}})
	return err
}

// asRead guards what writes an account's keys of the directory again, which also hold the name.
func asRead(u user) bson.D {
	return append(unchanged(u), bson.E{Key: "name", Value: u.Name})
}

// enable lets an account in again.
func (a accounts) enable(ctx context.Context, u user, l bus.Letter) error {
	guard := asRead(u)
	u.Disabled = false
	set := append(bson.D{{Key: "disabled", Value: false}}, u.indexed()...)
	done, err := a.users.Update(ctx, u.ID, store.Change{Guard: guard, Update: bson.D{{Key: "$set", Value: append(set, store.Put(l)...)}}})
	if err == nil && !done {
		err = errMeanwhile
	}
	if err == nil && u.reachable() {
		err = a.count(ctx, u.account())
	}
	return err
}

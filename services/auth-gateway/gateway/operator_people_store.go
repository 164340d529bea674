package gateway

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/store"
)

// keepForms notes how imported hashes were made.
func (a accounts) keepForms(ctx context.Context, portalID string, forms map[string]string) error {
	if len(forms) == 0 {
		return nil
	}
	var set bson.D
	for form, dummy := range forms {
		set = append(set, bson.E{Key: "hash_forms." + form, Value: dummy})
	}
	_, err := a.portals.Update(ctx, portalID, store.Change{Update: bson.D{{Key: "$set", Value: set}}})
	return err
}

// forgetForm forgets one that nobody has any more.
func (a accounts) forgetForm(ctx context.Context, portalID, form string) error {
	_, err := a.portals.Update(ctx, portalID, store.Change{Update: bson.D{{Key: "$unset", Value: bson.D{{Key: "hash_forms." + form, Value: ""}}}}})
	return err
}

// importing makes was into is, with its letter, unless somebody else changed it meanwhile. A password is set where there
// is none, and replaced nowhere.
func importing(was, is user, l bus.Letter) store.Change {
	ch := amending(was, is)
	if is.Password != was.Password {
		for _, none := range []string{"password", "password_link"} {
			ch.Guard = append(ch.Guard, bson.E{Key: none, Value: bson.D{{Key: "$exists", Value: false}}})
		}
		ch.Update[0].Value = append(ch.Update[0].Value.(bson.D), bson.E{Key: "password", Value: is.Password}, bson.E{Key: "hash_form", Value: is.HashForm}) //nolint:forcetypeassert // made by amending
	}
	ch.Update = withLetter(ch.Update, l)
	return ch
}

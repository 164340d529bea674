package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// The portal's document counts the Master Admins who can sign in, so that no change, and no two changes at once, leave
// a portal without one (B32). Who is no longer one is taken out of the count first and changed then; who becomes one is
// changed first and counted then. A crash in between counts too few, which refuses too much and never too little; the
// same change made again, or the next start, puts it right.

var errLastAdmin = contract.Refuse(contract.Conflict, "This is the only Master Admin who can sign in. Make somebody else Master Admin first.")

// count counts a Master Admin, once.
func (a accounts) count(ctx context.Context, who contract.Account) error {
	_, err := a.portals.Update(ctx, who.Portal, store.Change{
		Guard: bson.D{{Key: "admins." + who.User, Value: bson.D{{Key: "$exists", Value: false}}}},
		Update: bson.D{
			{Key: "$set", Value: bson.D{{Key: "admins." + who.User, Value: true}}},
			{Key: "$inc", Value: bson.D{{Key: "admin_count", Value: 1}}},
		},
	})
	if err != nil {
		return err
	}
	// Whoever changed the account meanwhile may have looked at the count before.
	u, err := a.byID(ctx, who)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if !u.reachable() {
		return a.uncount(ctx, who)
	}
	return nil
}

// release takes a Master Admin out of the count, unless it is the last one: [errLastAdmin].
func (a accounts) release(ctx context.Context, who contract.Account) error {
	done, err := a.take(ctx, who, bson.E{Key: "admin_count", Value: bson.D{{Key: "$gt", Value: 1}}})
	if err != nil || done {
		return err
	}
	p, err := a.portals.Get(ctx, who.Portal)
	if err != nil {
		return err
	}
	if p.Admins[who.User] {
		return errLastAdmin
	}
	return nil // not counted: an earlier attempt got this far
}

// uncount takes out of the count who is no reachable Master Admin any more.
func (a accounts) uncount(ctx context.Context, who contract.Account) error {
	_, err := a.take(ctx, who)
	return err
}

func (a accounts) take(ctx context.Context, who contract.Account, guard ...bson.E) (bool, error) {
	return a.portals.Update(ctx, who.Portal, store.Change{
		Guard: append(bson.D{{Key: "admins." + who.User, Value: bson.D{{Key: "$exists", Value: true}}}}, guard...),
		Update: bson.D{
			{Key: "$unset", Value: bson.D{{Key: "admins." + who.User, Value: ""}}},
			{Key: "$inc", Value: bson.D{{Key: "admin_count", Value: -1}}},
		},
	})
}

// masters reads a portal's Master Admins in the order of their addresses.
func (a accounts) masters(ctx context.Context, portalID string, limit int64) ([]user, error) {
	return a.users.Query(ctx, bson.D{{Key: "portal", Value: portalID}, {Key: "master_admin", Value: true}}, bson.D{{Key: "email", Value: 1}}, limit)
}

// masterNames are the names of Master Admins who can be asked.
func (a accounts) masterNames(ctx context.Context, portalID string, most int) ([]string, error) {
	all, err := a.masters(ctx, portalID, 20)
	var names []string
	for _, u := range all {
		if name := strings.TrimSpace(u.Name); u.reachable() && name != "" && len(names) < most && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// repair counts the Master Admins of a portal whom nobody has counted yet.
func (a accounts) repair(ctx context.Context, p portal) error {
	all, err := a.masters(ctx, p.ID, 1000)
	if err != nil {
		return err
	}
	for _, u := range all {
		if u.reachable() && !p.Admins[u.User] {
			if err := a.count(ctx, u.account()); err != nil {
				return err
			}
		}
	}
	return nil
}

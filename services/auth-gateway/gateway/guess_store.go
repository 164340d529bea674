package gateway

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/meter"
	"sallyport/pkg/store"
)

const (
	guessesName = "guesses"
	homesName   = "homes"
	// homesMost is how many homes of an address are kept: the newest.
	homesMost = 8
	// homesIdle is how long homes are kept where nobody has typed the right password.
	homesIdle = 365 * 24 * time.Hour
)

// homes are the networks from which the right password of an address came last, by a hash of each. Its _id is portal "/"
// hash of the address. An address without an account has none.
type homes struct {
	ID    string                 `bson:"_id"`
	Homes map[string]homeNetwork `bson:"homes"`
	Used  time.Time              `bson:"used"`
}

// homeNetwork is one of them. It counts by itself what is typed there for the address.
type homeNetwork struct {
	// At is when the right password came last.
	At     time.Time         `bson:"at"`
	Counts meter.Counts      `bson:"counts"`
	Told   map[string]string `bson:"told"`
}

// guessRecords keep the counts of passwords: the meters of addresses and networks, and those of homes.
type guessRecords struct {
	meters store.Meters
	homes  store.Collection[homes]
}

func newGuessRecords(db *store.DB) guessRecords {
	return guessRecords{store.MetersOf(db, guessesName), store.Of[homes](db, homesName)}
}

// guessIndexes serve the sweep.
func guessIndexes() []store.Index {
	return []store.Index{store.MetersIndex(guessesName), store.MetersIndex(homesName)}
}

func pathOf(mark string) string { return "homes." + mark }

// countHome counts a guess at a home, and returns the home as it was before; false where the network is none.
func (r guessRecords) countHome(ctx context.Context, id, mark string, limits meter.Limits, now time.Time) (homeNetwork, bool, error) {
	before, err := r.homes.Apply(ctx, id, store.Change{
		Guard:  bson.D{{Key: pathOf(mark), Value: bson.D{{Key: "$exists", Value: true}}}},
		Update: bson.D{{Key: "$inc", Value: store.CountIn(pathOf(mark)+".counts", limits, now, 1)}},
		Before: true,
	})
	if errors.Is(err, store.ErrNotFound) {
		return homeNetwork{}, false, nil
	}
	return before.Homes[mark], err == nil, err
}

// giveHome gives guesses back to a home, if they are there.
func (r guessRecords) giveHome(ctx context.Context, id, mark string, b back) error {
	field := pathOf(mark) + ".counts"
	_, err := r.homes.Update(ctx, id, store.Change{
		Guard:  store.CountedIn(field, b.limits, b.at, b.n),
		Update: bson.D{{Key: "$inc", Value: store.CountIn(field, b.limits, b.at, -b.n)}},
	})
	return err
}

// home notes that the right password came from a network, and forgets the oldest of too many.
func (r guessRecords) home(ctx context.Context, id, mark string, at time.Time) error {
	before, err := r.homes.Apply(ctx, id, store.Change{
		Update: bson.D{{Key: "$max", Value: bson.D{{Key: pathOf(mark) + ".at", Value: at}, {Key: "used", Value: at}}}},
		Upsert: true, Before: true,
	})
	if err != nil {
		return err
	}
	delete(before.Homes, mark)
	oldest := slices.SortedFunc(maps.Keys(before.Homes), func(a, b string) int {
		return cmp.Or(before.Homes[a].At.Compare(before.Homes[b].At), cmp.Compare(a, b))
	})
	for _, gone := range oldest[:max(len(oldest)+1-homesMost, 0)] {
		// Unless it was used again meanwhile.
		_, err := r.homes.Update(ctx, id, store.Change{
			Guard:  bson.D{{Key: pathOf(gone) + ".at", Value: before.Homes[gone].At}},
			Update: bson.D{{Key: "$unset", Value: bson.D{{Key: pathOf(gone), Value: ""}}}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneHome removes what counts no more.
func (r guessRecords) pruneHome(ctx context.Context, id, mark string, h homeNetwork, now time.Time) error {
	var gone bson.D
	for _, path := range h.Counts.Stale(now) {
		gone = append(gone, bson.E{Key: pathOf(mark) + ".counts." + path, Value: ""})
	}
	_, err := r.homes.Update(ctx, id, store.Change{Update: bson.D{{Key: "$unset", Value: gone}}})
	return err
}

// told notes in the document that has counted it that a limit was told.
func (r guessRecords) told(ctx context.Context, one guess, l meter.Limit, note string) error {
	if one.home {
		mark := pathOf(one.mark())
		_, err := r.homes.Update(ctx, one.homesID(), store.Change{
			Guard:  bson.D{{Key: mark, Value: bson.D{{Key: "$exists", Value: true}}}},
			Update: bson.D{{Key: "$set", Value: bson.D{{Key: mark + ".told." + l.Name(), Value: note}}}},
		})
		return err
	}
	_, err := r.meters.Docs.Update(ctx, one.accountID(), store.Change{
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "told." + l.Name(), Value: note}}}},
	})
	return err
}

// clear makes what was typed for an address count no more; its homes stay. It tells whether there was anything. Where there
// is, note is called first: these documents carry no letters, and what could not be noted is not cleared.
func (r guessRecords) clear(ctx context.Context, one guess, now time.Time, note func(context.Context) error) (bool, error) {
	m, err := r.meters.Docs.Get(ctx, one.accountID())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	h, err := r.homes.Get(ctx, one.homesID())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	counted := m.Counts.Any(now)
	var gone bson.D
	for mark, at := range h.Homes {
		counted = counted || at.Counts.Any(now)
		gone = append(gone, bson.E{Key: pathOf(mark) + ".counts", Value: ""})
	}
	if !counted {
		return false, nil
	}
	if err := note(ctx); err != nil {
		return false, err
	}
	if err := r.meters.Docs.Delete(ctx, one.accountID()); err != nil {
		return false, err
	}
	if len(gone) == 0 {
		return true, nil
	}
	_, err = r.homes.Update(ctx, one.homesID(), store.Change{Update: bson.D{{Key: "$unset", Value: gone}}})
	return err == nil, err
}

// forgetHomes forgets the homes of an address that is its account's no more.
func (r guessRecords) forgetHomes(ctx context.Context, portalID, address string) error {
	return r.homes.Delete(ctx, guess{portal: portalID, address: address}.homesID())
}

// sweep removes what nobody has used for long.
func (r guessRecords) sweep(ctx context.Context, now time.Time) error {
	if err := r.meters.DropIdle(ctx, now); err != nil {
		return err
	}
	const most = 500 // the rest comes with the next sweep
	idle := bson.D{{Key: "used", Value: bson.D{{Key: "$lt", Value: now.Add(-homesIdle)}}}}
	old, err := r.homes.Query(ctx, idle, bson.D{{Key: "used", Value: 1}}, most)
	if err != nil {
		return err
	}
	for _, h := range old {
		if _, err := r.homes.DeleteIf(ctx, h.ID, idle); err != nil {
			return err
		}
	}
	return nil
}

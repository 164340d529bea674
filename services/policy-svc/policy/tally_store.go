package policy

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// talliesIn is one document per admin: how many people they have reset on the last day on which they did.
const talliesIn = "reset_tallies"

// tallies count resets for the figures, exactly, over all replicas. Nothing is decided by them.
type tallies struct {
	admins    store.Collection[tally]
	standings store.Collection[standingDoc]
}

type tally struct {
	ID string `bson:"_id"`
	// Day is the number of the day (UTC) since the epoch, N what was counted on it.
	Day int64 `bson:"day"`
	N   int   `bson:"n"`
}

func newTallies(db *store.DB) tallies {
	return tallies{store.Of[tally](db, talliesIn), store.Of[standingDoc](db, standingsIn)}
}

// first tells whether a reset that has happened is counted for the first time, and notes that it is.
func (t tallies) first(ctx context.Context, f contract.ResetFact) (bool, error) {
	if !isID(f.Reset, 128) {
		return false, invalid("reset", "is not an id")
	}
	return t.standings.Update(ctx, standingID(f.Account), store.Change{
		Guard:  bson.D{cond("resets."+f.Reset, "$exists", true), absent("counted." + f.Reset)},
		Update: is("$set", is("counted."+f.Reset, true)),
	})
}

// count counts one reset by an admin and returns how many they have made on this day. One that is told late counts for
// the day that goes on.
func (t tallies) count(ctx context.Context, admin string, at time.Time) (int, error) {
	day := at.Unix() / int64(24*time.Hour/time.Second)
	for range rounds {
		now, err := t.admins.Apply(ctx, admin, store.Change{
			Guard: bson.D{cond("day", "$gte", day)}, Update: is("$inc", is("n", 1)),
		})
		if !errors.Is(err, store.ErrNotFound) {
			return now.N, err
		}
		now, err = t.admins.Apply(ctx, admin, store.Change{
			Guard: bson.D{cond("day", "$lt", day)}, Update: is("$set", bson.D{field("day", day), field("n", 1)}), Upsert: true,
		})
		if !errors.Is(err, store.ErrExists) { // another replica began the day
			return now.N, err
		}
	}
	return 0, busy()
}

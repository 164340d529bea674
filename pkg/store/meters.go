package store

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/meter"
)

const (
	// ManyStale is how many buckets that count no more a document keeps before they are worth a write that removes them.
	ManyStale = 12
	// meterIdle is how long a meter may be idle before it is removed: longer than the longest window.
	meterIdle = meter.Day + time.Hour
)

// Meter counts what one subject has done of late.
type Meter struct {
	ID     string       `bson:"_id"`
	Counts meter.Counts `bson:"counts"`
	// Told is, by window, who told last that its limit was reached.
	Told map[string]string `bson:"told"`
	// Used is when it counted last; who is idle for longer than any window is removed.
	Used time.Time `bson:"used"`
}

// idleMeter is what must be known of a meter before it is removed.
type idleMeter struct {
	ID     string                `bson:"_id"`
	Outbox map[string]bus.Letter `bson:"outbox"`
}

// Meters are a collection of meters. Counting is one atomic update by _id, which is decided by the meter as it was
// before: see [meter.Counts.Reached].
type Meters struct {
	// Docs are the documents themselves. One may have more fields than a [Meter].
	Docs Collection[Meter]
	idle Collection[idleMeter] // the same documents
}

// MetersOf returns the meters of a database. They need [MetersIndex].
func MetersOf(d *DB, name string) Meters {
	return Meters{Of[Meter](d, name), Of[idleMeter](d, name)}
}

// MetersIndex serves [Meters.DropIdle].
func MetersIndex(name string) Index {
	return Index{Collection: name, Name: "used", Keys: bson.D{{Key: "used", Value: 1}}}
}

// CountIn are the elements of an $inc that counts n in the buckets of this time, of the [meter.Counts] under field.
func CountIn(field string, limits meter.Limits, at time.Time, n int) bson.D {
	var d bson.D
	for _, path := range limits.Paths(at) {
		d = append(d, bson.E{Key: field + "." + path, Value: n})
	}
	return d
}

// CountedIn is the guard that n are there to be given back: what is not (the limits were set anew, or the count was
// cleared) is left alone.
func CountedIn(field string, limits meter.Limits, at time.Time, n int) bson.D {
	var d bson.D
	for _, path := range limits.Paths(at) {
		d = append(d, bson.E{Key: field + "." + path, Value: bson.D{{Key: "$gte", Value: n}}})
	}
	return d
}

// Count counts one and returns the meter as it was before. Of any number that are counted at once each sees those
// before it, so that no more find room than there is. What finds none is taken back.
func (m Meters) Count(ctx context.Context, id string, limits meter.Limits, now time.Time) (before Meter, err error) {
	for range 2 {
		before, err = m.Docs.Apply(ctx, id, Change{
			Update: bson.D{
				{Key: "$inc", Value: CountIn("counts", limits, now, 1)}, {Key: "$set", Value: bson.D{{Key: "used", Value: now}}},
			},
			Upsert: true, Before: true,
		})
		if !errors.Is(err, ErrExists) { // two may make a meter at once
			return before, err
		}
	}
	return before, err
}

// TakeBack takes back what the caller has counted a moment ago.
func (m Meters) TakeBack(ctx context.Context, id string, limits meter.Limits, at time.Time) error {
	_, err := m.Docs.Update(ctx, id, Change{Update: bson.D{{Key: "$inc", Value: CountIn("counts", limits, at, -1)}}})
	return err
}

// GiveBack makes n of some time ago count no more. What is not in the meter is left alone.
func (m Meters) GiveBack(ctx context.Context, id string, limits meter.Limits, at time.Time, n int) error {
	if len(limits) == 0 {
		return nil
	}
	give := func(limits meter.Limits) (bool, error) {
		return m.Docs.Update(ctx, id, Change{
			Guard: CountedIn("counts", limits, at, n), Update: bson.D{{Key: "$inc", Value: CountIn("counts", limits, at, -n)}},
		})
	}
	ok, err := give(limits)
	if ok || err != nil || len(limits) == 1 {
		return err
	}
	for _, one := range limits { // the shorter window is over, and its bucket may be gone
		if _, err := give(meter.Limits{one}); err != nil {
			return err
		}
	}
	return nil
}

// Prune removes what counts no more, where that is worth a write.
func (m Meters) Prune(ctx context.Context, was Meter, now time.Time) error {
	stale := was.Counts.Stale(now)
	if len(stale) < ManyStale {
		return nil
	}
	var gone bson.D
	for _, path := range stale {
		gone = append(gone, bson.E{Key: "counts." + path, Value: ""})
	}
	_, err := m.Docs.Update(ctx, was.ID, Change{Update: bson.D{{Key: "$unset", Value: gone}}})
	return err
}

// DropIdle removes meters that have counted nothing for longer than any window, and have nothing to tell. So many at a
// time that others get their turn; the rest waits for the next call.
func (m Meters) DropIdle(ctx context.Context, now time.Time) error {
	const batches, most = 20, 500
	idle := bson.D{{Key: "used", Value: bson.D{{Key: "$lt", Value: now.Add(-meterIdle)}}}}
	for range batches {
		found, err := m.idle.Query(ctx, idle, bson.D{{Key: "used", Value: 1}}, most)
		if err != nil {
			return err
		}
		removed := 0
		for _, one := range found {
			if len(one.Outbox) > 0 {
				continue
			}
			removed++
			if _, err := m.Docs.DeleteIf(ctx, one.ID, idle); err != nil {
				return err
			}
		}
		if removed < most {
			return nil
		}
	}
	return nil
}

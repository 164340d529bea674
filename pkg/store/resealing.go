package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/seal"
)

// Resealing is how far the values of a service are brought under the key that seals now: one document, with which one
// replica at a time works. Its _id is "store", after the keyset.
type Resealing struct {
	ID string `bson:"_id"`
	// Primary is the key to which the values are brought. BusPrimary is the key that the service seals messages with.
	Primary    int64 `bson:"primary"`
	BusPrimary int64 `bson:"bus_primary"`
	// Collection and After are how far it is: everything up to the document After of that collection was looked at.
	// An empty Collection means that the values were not counted yet.
	Collection string `bson:"collection"`
	After      string `bson:"after"`
	// Left counts the values under older keys as far as they are known, Resealed those that were brought under Primary,
	// Unopened those of the last walk that no key opens.
	Left     int64 `bson:"left"`
	Resealed int64 `bson:"resealed"`
	Unopened int64 `bson:"unopened"`
	// BeganAt is when the first walk to Primary began, DoneAt when the last found nothing that is left to do; until then it is
	// the zero time.
	BeganAt time.Time `bson:"began_at"`
	DoneAt  time.Time `bson:"done_at"`
	// EndedAt is when the last walk ended.
	EndedAt time.Time `bson:"ended_at"`
	// Holder is who works on it, alone until Until.
	Holder string    `bson:"holder"`
	Until  time.Time `bson:"until"`
}

// Done tells whether nothing is left under an older key than this one, as far as the service knows.
func (r Resealing) Done(primary uint32) bool {
	return r.Primary == int64(primary) && !r.DoneAt.IsZero()
}

const (
	// resealings is the collection of [Resealing].
	resealings = "resealing"
	// resealLease is how long a replica that died keeps the others from going on.
	resealLease = 15 * time.Second
	// lookAgain is for how long, after a rotation, a service looks again and again whether a value was written under an
	// old key after all: by a replica that heard of the new one later, or by a call that was under way.
	lookAgain      = 10 * time.Minute
	lookAgainEvery = time.Minute
)

// ReadResealing reads how far a service is; the zero value where it never began.
func ReadResealing(ctx context.Context, db *DB) (Resealing, error) {
	r, err := Of[Resealing](db, resealings).Get(ctx, string(seal.Store))
	if errors.Is(err, ErrNotFound) {
		return Resealing{}, nil
	}
	return r, err
}

// DoubtResealing has a running service look through all its values again.
func DoubtResealing(ctx context.Context, db *DB) error {
	_, err := Of[Resealing](db, resealings).Update(ctx, string(seal.Store), Change{
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "done_at", Value: time.Time{}}, {Key: "collection", Value: ""}, {Key: "after", Value: ""}, {Key: "ended_at", Value: time.Time{}}}}},
	})
	return err
}

// SealedUnder counts, by key, whatever looks like a sealed value, in all documents of all collections: it does not rely on
// what a service says that it seals. For an operator who is about to take a key away.
func (d *DB) SealedUnder(ctx context.Context) (map[uint32]int, error) {
	out := make(map[uint32]int)
	listing, cancel := bound(ctx)
	defer cancel()
	names, err := d.db.ListCollectionNames(listing, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("collections: %w", err)
	}
	const batch = 256
	for _, name := range names {
		c, after := Of[bson.Raw](d, name), ""
		for {
			docs, err := c.Query(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}}, bson.D{{Key: "_id", Value: 1}}, batch)
			if err != nil {
				return nil, err
			}
			for _, doc := range docs {
				if err := countSealed(doc, out); err != nil {
					return nil, fmt.Errorf("a document of %s: %w", name, err)
				}
			}
			if len(docs) < batch {
				break
			}
			after = docs[len(docs)-1].Lookup("_id").StringValue()
		}
	}
	return out, nil
}

// countSealed counts what looks like a sealed value, at any depth.
func countSealed(doc bson.Raw, into map[uint32]int) error {
	elements, err := doc.Elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		v := e.Value()
		switch v.Type {
		case bson.TypeBinary:
			_, raw := v.Binary()
			if id, ok := seal.KeyID(raw); ok {
				into[id]++
			}
		case bson.TypeEmbeddedDocument:
			err = countSealed(v.Document(), into)
		case bson.TypeArray:
			err = countSealed(bson.Raw(v.Array()), into)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

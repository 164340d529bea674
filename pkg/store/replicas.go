package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/seal"
)

// Replica is a running process of a service, with the keys that it has: one document, which it writes itself, so that
// no key begins to seal, or goes, behind the back of one.
type Replica struct {
	ID string `bson:"_id"`
	// Host is where it runs.
	Host string `bson:"host"`
	// Seals are the keys that it seals with, Has those that it has, both by keyset.
	Seals map[seal.Keyset]int64   `bson:"seals"`
	Has   map[seal.Keyset][]int64 `bson:"has"`
	// SeenAt is when it wrote this.
	SeenAt time.Time `bson:"seen_at"`
}

const (
	replicas = "replicas"
	// replicaGone is after how long one that says nothing does not run any more.
	replicaGone = time.Minute
	// replicaForgotten is when the document of one that was killed goes.
	replicaForgotten = time.Hour
)

// String names it for an operator.
func (r Replica) String() string {
	return fmt.Sprintf("replica %s on %s (seen at %s)", r.ID, r.Host, r.SeenAt.UTC().Format(time.RFC3339))
}

// SaySeals writes the document of a replica.
func SaySeals(ctx context.Context, db *DB, id, host string, keys *seal.Keys, now time.Time) error {
	seals, has := make(map[seal.Keyset]int64), make(map[seal.Keyset][]int64)
	for name, box := range map[seal.Keyset]*seal.Box{seal.Store: keys.Store, seal.Bus: keys.Bus} {
		seals[name] = int64(box.PrimaryKeyID())
		for _, key := range box.KeyIDs() {
			has[name] = append(has[name], int64(key))
		}
	}
	_, err := Of[Replica](db, replicas).Apply(ctx, id, Change{Upsert: true, Update: bson.D{{Key: "$set", Value: bson.D{
		{Key: "host", Value: host}, {Key: "seals", Value: seals}, {Key: "has", Value: has}, {Key: "seen_at", Value: now},
	}}}})
	return err
}

// SayGone removes the document of a replica that ends, and those of replicas that were killed long ago.
func SayGone(ctx context.Context, db *DB, id string, now time.Time) error {
	c := Of[Replica](db, replicas)
	if err := c.Delete(ctx, id); err != nil {
		return err
	}
	old := bson.D{{Key: "seen_at", Value: bson.D{{Key: "$lt", Value: now.Add(-replicaForgotten)}}}}
	dead, err := c.Query(ctx, old, nil, resealBatch)
	for _, r := range dead {
		if _, err := c.DeleteIf(ctx, r.ID, old); err != nil {
			return err
		}
	}
	return err
}

// Replicas are those that run, as far as they have said so within a minute.
func Replicas(ctx context.Context, db *DB, now time.Time) ([]Replica, error) {
	return Of[Replica](db, replicas).Query(ctx, bson.D{{Key: "seen_at", Value: bson.D{{Key: "$gt", Value: now.Add(-replicaGone)}}}}, bson.D{{Key: "_id", Value: 1}}, 0)
}

// Lacks tells whether it does not have a key yet.
func (r Replica) Lacks(name seal.Keyset, key uint32) bool {
	return !slices.Contains(r.Has[name], int64(key))
}

// SealsWith tells whether it seals with a key.
func (r Replica) SealsWith(name seal.Keyset, key uint32) bool { return r.Seals[name] == int64(key) }

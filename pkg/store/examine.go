package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sallyport/pkg/contract"
)

// Probe is what was found of a database by using it once.
type Probe struct {
	// Read is how long a read by _id took, Write a write until it was acknowledged.
	Read, Write time.Duration
	// Clock is the server's, and Asked ours at the middle of the question; zero where the server does not say.
	Clock, Asked time.Time
}

// probes is the collection in which a probe is written and removed again.
const probes = "probes"

// Probe reads and writes one document of its own, and removes it.
func (d *DB) Probe(ctx context.Context, id string) (Probe, error) {
	var p Probe
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	ctx, cancel := context.WithTimeout(ctx, 2*OpTimeout)
	defer cancel()
	begin := time.Now()
	if err := d.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err == nil && !hello.LocalTime.IsZero() {
		p.Clock, p.Asked = hello.LocalTime, begin.Add(time.Since(begin)/2)
	}
	c := Of[struct {
		ID string `bson:"_id"`
	}](d, probes)
	begin = time.Now()
	if err := c.Insert(ctx, struct {
		ID string `bson:"_id"`
	}{id}); err != nil {
		return p, fmt.Errorf("a write is not acknowledged: %w", err)
	}
	p.Write = time.Since(begin)
	begin = time.Now()
	_, err := c.Get(ctx, id)
	p.Read = time.Since(begin)
	if err = errors.Join(err, c.Delete(ctx, id)); err != nil {
		return p, fmt.Errorf("what was written cannot be read and removed: %w", err)
	}
	return p, nil
}

// MissingIndexes returns those of the given indexes that the database does not have.
func (d *DB) MissingIndexes(ctx context.Context, indexes []Index) ([]Index, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	there := make(map[string]map[string]bool)
	var missing []Index
	for _, i := range indexes {
		names, ok := there[i.Collection]
		if !ok {
			var err error
			if names, err = d.indexNames(ctx, i.Collection); err != nil {
				return nil, fmt.Errorf("indexes of %s: %w", i.Collection, err)
			}
			there[i.Collection] = names
		}
		if !names[i.Name] {
			missing = append(missing, i)
		}
	}
	return missing, nil
}

// indexNames lists what a collection has; one that does not exist has nothing.
func (d *DB) indexNames(ctx context.Context, collection string) (map[string]bool, error) {
	const namespaceNotFound = 26
	cur, err := d.db.Collection(collection).Indexes().List(ctx, options.ListIndexes())
	var command mongo.CommandError
	if errors.As(err, &command) && command.Code == namespaceNotFound {
		return nil, nil
	}
	if err != nil {
		if mongo.IsTimeout(err) || mongo.IsNetworkError(err) {
			return nil, contract.NotAnswering()
		}
		return nil, err
	}
	var list []struct {
		Name string `bson:"name"`
	}
	if err := cur.All(ctx, &list); err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(list))
	for _, i := range list {
		names[i.Name] = true
	}
	return names, nil
}

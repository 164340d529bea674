package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
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

package policy

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/store"
)

// Line is an entry of the audit log as the tests see it.
type Line struct {
	ID, Portal, Action, Actor, User, Reason, Request string
	At                                               time.Time
	Detail                                           map[string]string
}

// AuditLines reads the audit log of a database, portal by portal, oldest first.
func AuditLines(ctx context.Context, db *store.DB) ([]Line, error) {
	docs, err := store.Of[entry](db, entriesIn).Query(ctx, bson.D{}, ascending("_id"), 10_000)
	out := make([]Line, 0, len(docs))
	for _, d := range docs {
		out = append(out, Line{ID: d.Event, Portal: d.Portal, Action: string(d.Action), Actor: d.Actor, User: d.User, Reason: d.Reason, Request: d.Request, At: d.At, Detail: d.Detail})
	}
	return out, err
}

// Notes counts the letters that were announced and not relayed; -1 when the store does not tell.
func Notes(ctx context.Context, db *store.DB) int {
	notes, err := store.Of[bson.M](db, "outbox").Query(ctx, bson.D{}, bson.D{{Key: "_id", Value: 1}}, 10_000)
	if err != nil {
		return -1
	}
	return len(notes)
}

// Block returns what makes it impossible, and possible again, to append to a portal's log after the given number.
func Block(ctx context.Context, db *store.DB, portal string, seq int64) func(bool) error {
	entries := store.Of[bson.M](db, entriesIn)
	return func(on bool) error {
		if !on {
			return entries.Delete(ctx, entryID(portal, seq))
		}
		return entries.Insert(ctx, bson.M{"_id": entryID(portal, seq), "seq": "not a number"})
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
)

// Outbox makes sure that what a document says happened is told on the bus, a crash at any point included.
//
// A letter is part of the document that caused it: it is written by the same atomic update, under "outbox.<id>". To
// find such documents without searching the collection, their _id is noted in the collection "outbox" before the
// write ([Outbox.Note]); after it, [Outbox.Relay] publishes the letters, takes them out of the document and removes
// the note. What a crash left over is found through the notes by the reconciler ([Outbox.Run]).
type Outbox struct {
	notes Collection[note]
	db    *DB
	send  func(context.Context, bus.Letter) error
	log   *slog.Logger
	work  sync.WaitGroup
	left  leftOver
}

// note says that a document may hold a letter; its _id is the letter's.
type note struct {
	ID         string    `bson:"_id,omitempty"`
	Collection string    `bson:"collection"`
	Document   string    `bson:"document"`
	At         time.Time `bson:"at"`
}

// withLetters is any document with an outbox.
type withLetters struct {
	Outbox map[string]bus.Letter `bson:"outbox"`
}

// NewOutbox returns the outbox of a database; send publishes one letter and is idempotent by its id ([bus.Bus.Send]).
func NewOutbox(db *DB, log *slog.Logger, send func(context.Context, bus.Letter) error) *Outbox {
	return &Outbox{notes: Of[note](db, "outbox"), db: db, send: send, log: log}
}

// Put returns the update operator element that adds letters to a document: part of a $set.
func Put(letters ...bus.Letter) bson.D {
	var set bson.D
	for _, l := range letters {
		set = append(set, bson.E{Key: "outbox." + l.ID, Value: l})
	}
	return set
}

// Note announces that a document is about to get these letters. One by-id write per letter.
func (o *Outbox) Note(ctx context.Context, collection, document string, letters ...bus.Letter) error {
	for _, l := range letters {
		_, err := o.notes.Update(ctx, l.ID, Change{
			Update: bson.D{{Key: "$set", Value: note{ID: l.ID, Collection: collection, Document: document, At: time.Now().UTC()}}},
			Upsert: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Relay publishes a document's letters in the background, after the write that put them there. What fails is logged
// and tried again by the reconciler.
func (o *Outbox) Relay(collection, document string, letters ...bus.Letter) {
	o.work.Add(1)
	go func() {
		defer o.work.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for _, l := range letters {
			if err := o.relay(ctx, note{ID: l.ID, Collection: collection, Document: document}); err != nil {
				o.log.Warn("outbox not relayed yet", slog.String("subject", l.Subject), slog.Any("error", err))
			}
		}
	}()
}

// relay publishes the letter of one note, takes it out of its document and removes the note, in this order: a crash
// in between repeats a step, and each step may be repeated. A letter that is not in its document was never written,
// or is told already.
func (o *Outbox) relay(ctx context.Context, n note) error {
	docs := Of[withLetters](o.db, n.Collection)
	doc, err := docs.Get(ctx, n.Document)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if l, ok := doc.Outbox[n.ID]; ok {
		if err := o.send(ctx, l); err != nil {
			return err
		}
		clear := bson.D{{Key: "$unset", Value: bson.D{{Key: "outbox." + n.ID, Value: ""}}}}
		if _, err := docs.Update(ctx, n.Document, Change{Update: clear}); err != nil {
			return err
		}
	}
	return o.notes.Delete(ctx, n.ID)
}

// Run relays what was left over, at once and then every interval, until ctx ends. Notes younger than the grace are
// left to whoever is writing now; it must be longer than a write may take ([OpTimeout]).
func (o *Outbox) Run(ctx context.Context, interval, grace time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := o.sweep(ctx, grace); err != nil && ctx.Err() == nil {
			o.log.Warn("outbox sweep failed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweepMost is how many left-over letters one sweep looks at.
const sweepMost = 500

func (o *Outbox) sweep(ctx context.Context, grace time.Duration) error {
	old := bson.D{{Key: "at", Value: bson.D{{Key: "$lte", Value: time.Now().Add(-grace).UTC()}}}}
	// The collection holds what is in hand now: a handful of notes, found by a scan. The oldest go first.
	notes, err := o.notes.Query(ctx, old, bson.D{{Key: "at", Value: 1}}, sweepMost)
	if err != nil {
		return err
	}
	// They wait from now on, whatever becomes of them: where the bus takes nothing, each of them takes its time to fail.
	o.left.are(notes)
	var failed error
	var waiting []note
	for i, n := range notes {
		if ctx.Err() != nil {
			waiting = append(waiting, notes[i:]...)
			break
		}
		// One letter that cannot be sent must not hold up the others.
		if err := o.relay(ctx, n); err != nil {
			waiting = append(waiting, n)
			if failed == nil {
				failed = fmt.Errorf("%s: %w", n.ID, err)
			}
		}
	}
	o.left.are(waiting)
	return failed
}

// Close waits for relays in hand, bounded by ctx; the rest is found at the next start.
func (o *Outbox) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() { o.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("outbox: %w", ctx.Err())
	}
}

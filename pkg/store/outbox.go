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
	// empty are the notes whose letter was not in its document, and when that was seen last; the sweep's own.
	empty map[string]time.Time
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
	return &Outbox{notes: Of[note](db, "outbox"), db: db, send: send, log: log, empty: make(map[string]time.Time)}
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
			err := o.relay(ctx, note{ID: l.ID, Collection: collection, Document: document})
			if errors.Is(err, errEmpty) { // it was written, so that somebody has told it
				err = o.notes.Delete(ctx, l.ID)
			}
			if err != nil {
				o.log.Warn("outbox not relayed yet", slog.String("subject", l.Subject), slog.Any("error", err))
			}
		}
	}()
}

// errEmpty says that a note's letter is not in its document.
var errEmpty = errors.New("the letter is not in its document")

// relay publishes the letter of one note, takes it out of its document and removes the note, in this order: a crash
// in between repeats a step, and each step may be repeated. [errEmpty] leaves the note.
func (o *Outbox) relay(ctx context.Context, n note) error {
	docs := Of[withLetters](o.db, n.Collection)
	doc, err := docs.Get(ctx, n.Document)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	l, ok := doc.Outbox[n.ID]
	if !ok {
		return errEmpty
	}
	if err := o.send(ctx, l); err != nil {
		return err
	}
	clear := bson.D{{Key: "$unset", Value: bson.D{{Key: "outbox." + n.ID, Value: ""}}}}
	if _, err := docs.Update(ctx, n.Document, Change{Update: clear}); err != nil {
		return err
	}
	return o.notes.Delete(ctx, n.ID)
}

// Run relays what was left over, at once and then every interval, until ctx ends. Notes younger than the grace are
// left to whoever is writing now; it must be longer than a write may take ([OpTimeout]).
func (o *Outbox) Run(ctx context.Context, interval, grace time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := o.sweep(ctx, grace, emptyFor); err != nil && ctx.Err() == nil {
			o.log.Warn("outbox sweep failed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const (
	// sweepMost is how many left-over letters one sweep looks at.
	sweepMost = 500
	// emptyFor is how long a note is kept whose letter is not in its document. As a rule that letter was never written, or
	// is told; but a write that a replica set has made and not confirmed is seen by nobody until it is, and its letter
	// must be found then. A primary that cannot confirm steps down after ten seconds (electionTimeoutMillis), and what it
	// alone had is gone then, or confirmed by the next one.
	emptyFor = 30 * time.Second
	// emptyAgain is how often such a note is looked at meanwhile.
	emptyAgain = 10 * time.Second
)

// sweep relays what is noted since longer than the grace; a note without a letter goes when it is older than the patience.
func (o *Outbox) sweep(ctx context.Context, grace, patience time.Duration) error {
	now := time.Now() // real time, as the notes have it
	old := bson.D{{Key: "at", Value: bson.D{{Key: "$lte", Value: now.Add(-grace).UTC()}}}}
	// The collection holds what is in hand now: a handful of notes, found by a scan. The oldest go first.
	all, err := o.notes.Query(ctx, old, bson.D{{Key: "at", Value: 1}}, sweepMost+int64(len(o.empty)))
	if err != nil {
		return err
	}
	seen := o.empty
	o.empty = make(map[string]time.Time)
	var notes, again []note
	for _, n := range all {
		switch at, known := seen[n.ID]; {
		case !known:
			notes = append(notes, n)
		case now.Sub(at) < emptyAgain && now.Sub(n.At) < patience:
			o.empty[n.ID] = at
		default:
			again = append(again, n)
		}
	}
	// They wait from now on, whatever becomes of them: where the bus takes nothing, each of them takes its time to fail.
	o.left.are(notes)
	var failed error
	var waiting []note
	for i, n := range append(notes, again...) {
		if ctx.Err() != nil {
			waiting = append(waiting, notes[min(i, len(notes)):]...)
			break
		}
		err := o.relay(ctx, n)
		if errors.Is(err, errEmpty) {
			if now.Sub(n.At) < patience {
				o.empty[n.ID] = now
				continue
			}
			err = o.notes.Delete(ctx, n.ID)
		}
		// One letter that cannot be sent must not hold up the others.
		if err != nil {
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

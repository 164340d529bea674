package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/seal"
)

// SealedValue is a sealed value in a document.
type SealedValue struct {
	// Field is where it is, such as "active.secret".
	Field string
	Value []byte
	// Place is what it opens in.
	Place seal.Place
}

// Sealed is a collection that holds sealed values.
type Sealed struct {
	// Collection is its name.
	Collection string
	page       func(ctx context.Context, db *DB, after string) ([]sealedDocument, error)
}

type sealedDocument struct {
	id     string
	values []SealedValue
}

// resealBatch is how many documents are looked at between two pauses.
const resealBatch = 64

// SealedIn says what is sealed in the documents of a collection: its _id and the values of each, those that are empty
// included. The order of the list of a service's collections must not matter.
func SealedIn[T any](collection string, values func(T) (id string, sealed []SealedValue)) Sealed {
	return Sealed{Collection: collection, page: func(ctx context.Context, db *DB, after string) ([]sealedDocument, error) {
		docs, err := Of[T](db, collection).Query(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}}, bson.D{{Key: "_id", Value: 1}}, resealBatch)
		out := make([]sealedDocument, len(docs))
		for i, d := range docs {
			out[i].id, out[i].values = values(d)
			out[i].values = slices.DeleteFunc(out[i].values, func(v SealedValue) bool { return len(v.Value) == 0 })
		}
		return out, err
	}}
}

// eachSealed goes through all documents; between is called between two batches, with the time of the first.
func eachSealed(ctx context.Context, db *DB, kept []Sealed, do func(sealedDocument), between func(context.Context, time.Duration) error) error {
	for _, s := range kept {
		after := ""
		for {
			begin := time.Now()
			docs, err := s.page(ctx, db, after)
			if err != nil {
				return fmt.Errorf("sealed values of %s: %w", s.Collection, err)
			}
			for _, d := range docs {
				do(d)
				after = d.id
			}
			if len(docs) < resealBatch {
				break
			}
			if err := between(ctx, time.Since(begin)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Resealer brings the values of a service under the key that seals now, in background, while they are in use: batch by
// batch in the order of their _id, each value with one update that holds only while the value is what was opened. It
// works for a quarter of the time. One replica works at a time, and how far it is stands in the document, so that another
// one, or the next process, goes on there.
type Resealer struct {
	db   *DB
	docs Collection[Resealing]
	keys *seal.Keys
	kept []Sealed
	me   string
	now  func() time.Time
	seen func(result, at string)
}

// Outcomes of a value under an old key.
const (
	// Resealed: it is under the new one.
	Resealed = "resealed"
	// Changed: somebody else has replaced or removed it meanwhile.
	Changed = "changed"
	// Unopened: no key opens it.
	Unopened = "unopened"
)

// NewResealer returns one for a service's sealed collections. seen is called with the outcome of each value
// and where it is.
func NewResealer(db *DB, keys *seal.Keys, kept []Sealed, now func() time.Time, seen func(result, at string)) *Resealer {
	return &Resealer{db: db, docs: Of[Resealing](db, resealings), keys: keys, kept: kept, me: bus.NewID(), now: now, seen: seen}
}

// Check refuses keys that lack the one under which the service's values were brought last: an older copy of a key file, or
// another installation's.
func (r *Resealer) Check(ctx context.Context) error {
	p, err := ReadResealing(ctx, r.db)
	if err != nil || p.Primary == 0 || slices.Contains(r.keys.Store.KeyIDs(), uint32(p.Primary)) { //nolint:gosec // it was one when it was written
		return err
	}
	return fmt.Errorf("the key file lacks the %q key %d, which sealed what is stored: this is an older copy, or another installation's; restore the file that has it", seal.Store, p.Primary)
}

// Progress reads how far it is.
func (r *Resealer) Progress(ctx context.Context) (Resealing, error) { return ReadResealing(ctx, r.db) }

// errLost says that another replica works now, or that the document was doubted meanwhile.
var errLost = errors.New("another replica has taken over")

// Turn does what there is to do, if nobody else does it, and returns when it is done, or ctx ends.
func (r *Resealer) Turn(ctx context.Context) error {
	p, mine, err := r.take(ctx)
	if err != nil || !mine {
		return err
	}
	defer r.release(context.WithoutCancel(ctx))
	if err = r.walk(ctx, p); errors.Is(err, errLost) {
		return nil
	}
	return err
}

// take takes the lease where there is something to do that is ours to do.
func (r *Resealer) take(ctx context.Context) (p Resealing, mine bool, err error) {
	p, err = ReadResealing(ctx, r.db)
	if err != nil {
		return p, false, err
	}
	store, message, now := int64(r.keys.Store.PrimaryKeyID()), int64(r.keys.Bus.PrimaryKeyID()), r.now()
	again := now.Sub(p.BeganAt) < lookAgain && now.Sub(p.DoneAt) >= lookAgainEvery
	switch {
	case p.Primary != 0 && p.Primary != store && !older(r.keys.Store, p.Primary),
		p.BusPrimary != 0 && p.BusPrimary != message && !older(r.keys.Bus, p.BusPrimary):
		return p, false, nil // a neighbour has heard of a newer key already
	case p.ID != "" && now.Before(p.Until):
		return p, false, nil
	case p.Primary == store && p.BusPrimary == message && !p.DoneAt.IsZero() && !again:
		return p, false, nil
	case p.Primary == store && p.BusPrimary == message && p.Unopened > 0 && p.Collection == "" && now.Sub(p.EndedAt) < lookAgain:
		return p, false, nil // what does not open is looked at again, but not without end
	}
	fields := bson.D{{Key: "holder", Value: r.me}, {Key: "until", Value: now.Add(resealLease)}, {Key: "bus_primary", Value: message}}
	if p.Primary != store {
		fields = append(fields, bson.E{Key: "primary", Value: store}, bson.E{Key: "began_at", Value: now}, bson.E{Key: "resealed", Value: int64(0)})
	}
	if p.Primary != store || again && !p.DoneAt.IsZero() {
		fields = append(fields, bson.E{Key: "collection", Value: ""}, bson.E{Key: "after", Value: ""})
	}
	if p.Primary != store {
		fields = append(fields, bson.E{Key: "done_at", Value: time.Time{}}, bson.E{Key: "left", Value: int64(0)}, bson.E{Key: "unopened", Value: int64(0)})
	}
	ch := Change{Update: bson.D{{Key: "$set", Value: fields}}}
	if p.ID == "" {
		ch.Upsert, ch.Guard = true, bson.D{{Key: "primary", Value: bson.D{{Key: "$exists", Value: false}}}}
	} else {
		ch.Guard = bson.D{{Key: "holder", Value: p.Holder}, {Key: "until", Value: p.Until}, {Key: "primary", Value: p.Primary}}
	}
	p, err = r.docs.Apply(ctx, string(seal.Store), ch)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) {
		return p, false, nil // another replica was first
	}
	return p, err == nil, err
}

// older tells whether a key was there before the one that seals now.
func older(box *seal.Box, id int64) bool {
	ids := box.KeyIDs()
	at := slices.Index(ids, uint32(id)) //nolint:gosec // ids are written as such
	return at >= 0 && at < slices.Index(ids, box.PrimaryKeyID())
}

// keep writes progress and holds the lease for longer; [errLost] where it is not ours any more, or where the key that
// seals has changed meanwhile.
func (r *Resealer) keep(ctx context.Context, p Resealing, update ...bson.E) error {
	if p.Primary != int64(r.keys.Store.PrimaryKeyID()) {
		return errLost
	}
	set := bson.D{{Key: "until", Value: r.now().Add(resealLease)}}
	set = append(set, update...)
	ok, err := r.docs.Update(ctx, p.ID, Change{
		Guard:  bson.D{{Key: "holder", Value: r.me}, {Key: "primary", Value: p.Primary}},
		Update: bson.D{{Key: "$set", Value: set}},
	})
	if err == nil && !ok {
		err = errLost
	}
	return err
}

// release lets others go on at once.
func (r *Resealer) release(ctx context.Context) {
	_, _ = r.docs.Update(ctx, string(seal.Store), Change{
		Guard:  bson.D{{Key: "holder", Value: r.me}},
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: "until", Value: time.Time{}}}}},
	}) // else the lease ends by itself
}

// walk counts what there is to do, does it from where it was, and counts again.
func (r *Resealer) walk(ctx context.Context, p Resealing) error {
	if p.Collection == "" {
		left, err := r.count(ctx, p)
		if err != nil {
			return err
		}
		if left == 0 {
			return r.keep(ctx, p, bson.E{Key: "left", Value: int64(0)}, bson.E{Key: "unopened", Value: int64(0)}, bson.E{Key: "done_at", Value: r.now()})
		}
		p.Collection, p.After, p.Left, p.Unopened = r.kept[0].Collection, "", left, 0
		if err := r.keep(ctx, p, append(r.at(p), bson.E{Key: "done_at", Value: time.Time{}})...); err != nil {
			return err
		}
	}
	for i := max(0, slices.IndexFunc(r.kept, func(s Sealed) bool { return s.Collection == p.Collection })); i < len(r.kept); i++ {
		if p.Collection != r.kept[i].Collection {
			p.Collection, p.After = r.kept[i].Collection, ""
		}
		if err := r.through(ctx, &p, r.kept[i]); err != nil {
			return err
		}
	}
	left, err := r.count(ctx, p)
	if err != nil {
		return err
	}
	done := time.Time{}
	if left == 0 {
		done = r.now()
	}
	p.Collection, p.After, p.Left = "", "", left
	return r.keep(ctx, p, append(r.at(p), bson.E{Key: "done_at", Value: done}, bson.E{Key: "ended_at", Value: r.now()})...)
}

// at is how far a walk is.
func (r *Resealer) at(p Resealing) []bson.E {
	return []bson.E{
		{Key: "collection", Value: p.Collection},
		{Key: "after", Value: p.After},
		{Key: "left", Value: p.Left},
		{Key: "resealed", Value: p.Resealed},
		{Key: "unopened", Value: p.Unopened},
	}
}

// through brings one collection under the new key.
func (r *Resealer) through(ctx context.Context, p *Resealing, s Sealed) error {
	for {
		begin := time.Now()
		docs, err := s.page(ctx, r.db, p.After)
		if err != nil {
			return fmt.Errorf("reseal %s: %w", s.Collection, err)
		}
		for _, d := range docs {
			for _, v := range d.values {
				if !r.keys.Store.Old(v.Value) {
					continue
				}
				result, err := r.reseal(ctx, s.Collection, d.id, v)
				if err != nil {
					return fmt.Errorf("reseal %s: %w", s.Collection, err)
				}
				r.seen(result, s.Collection+" "+d.id+" "+v.Field)
				switch result {
				case Resealed:
					p.Resealed++
					p.Left--
				case Unopened:
					p.Unopened++
				case Changed:
					p.Left--
				}
			}
			p.After = d.id
		}
		p.Left = max(p.Left, p.Unopened)
		if err := r.keep(ctx, *p, r.at(*p)...); err != nil {
			return err
		}
		if len(docs) < resealBatch {
			return nil
		}
		if err := pause(ctx, time.Since(begin)); err != nil {
			return err
		}
	}
}

// reseal brings one value under the new key, unless it is another one by now.
func (r *Resealer) reseal(ctx context.Context, collection, id string, v SealedValue) (string, error) {
	plain, err := r.keys.Store.Open(v.Value, v.Place)
	if err != nil {
		return Unopened, nil //nolint:nilerr // it stays as it is, and is counted
	}
	defer clear(plain)
	fresh, err := r.keys.Store.Seal(plain, v.Place)
	if err != nil {
		return "", err
	}
	ok, err := Of[bson.D](r.db, collection).Update(ctx, id, Change{
		Guard:  bson.D{{Key: v.Field, Value: v.Value}},
		Update: bson.D{{Key: "$set", Value: bson.D{{Key: v.Field, Value: fresh}}}},
	})
	if err != nil {
		return "", err
	}
	if !ok {
		return Changed, nil
	}
	return Resealed, nil
}

// Rescue brings the values under these keys under the one that seals now, without the lease: they were retired, so that
// none but this process can open what it sealed with them. It returns how many there were.
func (r *Resealer) Rescue(ctx context.Context, retired []uint32) (int, error) {
	found := 0
	for _, s := range r.kept {
		var failed error
		err := eachSealed(ctx, r.db, []Sealed{s}, func(d sealedDocument) {
			for _, v := range d.values {
				id, ok := seal.KeyID(v.Value)
				if !ok || !slices.Contains(retired, id) {
					continue
				}
				result, err := r.reseal(ctx, s.Collection, d.id, v)
				if err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				if result != Unopened { // what was moved is nobody's to save
					found++
				}
				r.seen(result, s.Collection+" "+d.id+" "+v.Field)
			}
		}, pause)
		if err = errors.Join(err, failed); err != nil {
			return found, fmt.Errorf("rescue %s: %w", s.Collection, err)
		}
	}
	return found, nil
}

// count counts the values under old keys.
func (r *Resealer) count(ctx context.Context, p Resealing) (int64, error) {
	var n int64
	err := eachSealed(ctx, r.db, r.kept, func(d sealedDocument) {
		for _, v := range d.values {
			if r.keys.Store.Old(v.Value) {
				n++
			}
		}
	}, func(ctx context.Context, took time.Duration) error {
		if err := r.keep(ctx, p); err != nil {
			return err
		}
		return pause(ctx, took)
	})
	return n, err
}

// pause lets people go first: three times as long as the work took.
func pause(ctx context.Context, took time.Duration) error {
	t := time.NewTimer(max(3*took, 20*time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

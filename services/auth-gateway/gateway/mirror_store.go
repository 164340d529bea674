package gateway

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// reflect writes what policy-svc says of a person beside their account, unless something newer stands there. Another
// enrolment takes the lock of the one before with it.
func (a accounts) reflect(ctx context.Context, who contract.Account, r contract.StandingReply) error {
	m := mirrorOf(r)
	set := func(clear bool) bson.D {
		d := bson.D{
			{Key: "mirror.rev", Value: m.Rev},
			{Key: "mirror.enrolled_in", Value: m.EnrolledIn},
			{Key: "mirror.skipped_in", Value: m.SkippedIn},
			{Key: "mirror.skipped_opt_out", Value: m.SkippedOptOut},
			{Key: "mirror.factor", Value: m.Factor},
			{Key: "mirror.enrolment", Value: m.Enrolment},
			{Key: "mirror.label", Value: m.Label},
			{Key: "mirror.since", Value: m.Since},
		}
		if clear {
			d = append(d, bson.E{Key: "mirror.locked", Value: false})
		}
		return bson.D{{Key: "$set", Value: d}}
	}
	older := bson.E{Key: "mirror.rev", Value: bson.D{{Key: "$not", Value: bson.D{{Key: "$gte", Value: m.Rev}}}}}
	id := who.Portal + "/" + who.User
	same, err := a.users.Update(ctx, id, store.Change{Guard: bson.D{older, {Key: "mirror.enrolment", Value: m.Enrolment}}, Update: set(false)})
	if err != nil || same {
		return err
	}
	_, err = a.users.Update(ctx, id, store.Change{Guard: bson.D{older}, Update: set(true)})
	return err
}

// locked writes a lock beside the account, unless the factor was opened or enrolled after it.
func (a accounts) locked(ctx context.Context, l contract.LockFact) error {
	notAfter := bson.D{{Key: "$not", Value: bson.D{{Key: "$gt", Value: l.At}}}}
	_, err := a.users.Update(ctx, l.Portal+"/"+l.User, store.Change{
		Guard: bson.D{{Key: "mirror.opened_at", Value: notAfter}, {Key: "mirror.since", Value: notAfter}},
		Update: bson.D{{Key: "$set", Value: bson.D{
			{Key: "mirror.locked", Value: true}, {Key: "mirror.locked_until", Value: l.Until},
		}}},
	})
	return err
}

// opened takes the lock away.
func (a accounts) opened(ctx context.Context, who contract.Account, at time.Time) error {
	_, err := a.users.Update(ctx, who.Portal+"/"+who.User, store.Change{Update: bson.D{{Key: "$set", Value: bson.D{
		{Key: "mirror.locked", Value: false}, {Key: "mirror.opened_at", Value: at},
	}}}})
	return err
}

// arrival is when a person last signed in. It is kept apart from the account, by the same _id: it changes at every
// sign-in, and a change of the account is one of all its indexes.
type arrival struct {
	ID string    `bson:"_id"`
	At time.Time `bson:"at"`
}

// arrived notes a sign-in. Where it is news to lists (the first one, or one with a factor that they hold to be closed),
// the account is changed as well.
func (a accounts) arrived(ctx context.Context, who contract.Account, at time.Time, news bool) error {
	id := who.Portal + "/" + who.User
	if news {
		_, err := a.users.Update(ctx, id, store.Change{Update: bson.D{
			{Key: "$max", Value: bson.D{{Key: "mirror.opened_at", Value: at}}},
			{Key: "$set", Value: bson.D{{Key: "signed_in", Value: true}, {Key: "mirror.locked", Value: false}}},
		}})
		if err != nil {
			return err
		}
	}
	_, err := a.arrivals.Update(ctx, id, store.Change{Update: bson.D{{Key: "$max", Value: bson.D{{Key: "at", Value: at}}}}, Upsert: true})
	return err
}

// lookups is how many documents one page reads at once.
const lookups = 8

// arrivalsOf fills in when the people of a page last signed in: one read by _id each.
func (a accounts) arrivalsOf(ctx context.Context, page []card) error {
	var group errgroup.Group
	group.SetLimit(lookups)
	for i := range page {
		group.Go(func() (err error) {
			page[i].LastSignInAt, err = a.lastArrival(ctx, page[i].user)
			return err
		})
	}
	return group.Wait()
}

// lastArrival is when a person last signed in, or nil.
func (a accounts) lastArrival(ctx context.Context, u user) (*time.Time, error) {
	if !u.SignedIn {
		return nil, nil //nolint:nilnil // never is an answer
	}
	last, err := a.arrivals.Get(ctx, u.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // not noted yet
	}
	return &last.At, err
}

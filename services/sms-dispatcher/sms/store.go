package sms

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// The collections of this service. Every write below addresses one document by its _id.
const (
	phonesName     = "phones"
	challengesName = "challenges"
)

// records are the collections, with one method per question that the service asks them.
type records struct {
	people     store.Collection[person]
	challenges store.Collection[challenge]
	budgets    store.Collection[budget]
	meters     store.Meters
	traffic    store.Collection[traffic]
	outbox     *store.Outbox
}

func newRecords(ctx context.Context, db *store.DB, outbox *store.Outbox) (*records, error) {
	err := db.EnsureIndexes(ctx, append(guardIndexes(), []store.Index{
		// The reconciler's one query, from either end.
		{Collection: challengesName, Name: "due", Keys: bson.D{field("due", 1)}},
		// The list of deliveries, of a portal and of one person.
		{Collection: challengesName, Name: "portal_order", Keys: bson.D{field("portal", 1), field("order", 1)}},
		{Collection: challengesName, Name: "portal_user_order", Keys: bson.D{field("portal", 1), field("user", 1), field("order", 1)}},
	}...))
	return &records{
		people: store.Of[person](db, phonesName), challenges: store.Of[challenge](db, challengesName),
		budgets: store.Of[budget](db, budgetsName), outbox: outbox,
		meters: store.MetersOf(db, metersName), traffic: store.Of[traffic](db, trafficName),
	}, err
}

// keptSealed is where this service keeps what it sealed: telephone numbers, and codes until they are spent.
func keptSealed() []store.Sealed {
	return []store.Sealed{
		store.SealedIn(phonesName, func(p person) (string, []store.SealedValue) {
			var values []store.SealedValue
			portal, user, _ := strings.Cut(p.ID, "/") // a portal's name has no slash
			for name, n := range map[string]*number{"pending": p.Pending, "active": p.Active} {
				if n != nil {
					values = append(values, store.SealedValue{
						Field: name + ".phone", Value: n.Phone, Place: placeOfNumber(contract.Account{Portal: portal, User: user}, n.Enrolment),
					})
				}
			}
			return p.ID, values
		}),
		store.SealedIn(challengesName, func(c challenge) (string, []store.SealedValue) {
			return c.ID, []store.SealedValue{
				{Field: "phone", Value: c.Phone, Place: placeOfPhone(c.account(), c.ID)},
				{Field: "code", Value: c.Code, Place: placeOfCode(c.account(), c.ID)},
			}
		}),
	}
}

func personID(who contract.Account) string { return who.Portal + "/" + who.User }

func set(fields ...bson.E) bson.E     { return bson.E{Key: "$set", Value: bson.D(fields)} }
func inc(fields ...bson.E) bson.E     { return bson.E{Key: "$inc", Value: bson.D(fields)} }
func field(name string, v any) bson.E { return bson.E{Key: name, Value: v} }
func cond(op string, v any) bson.D    { return bson.D{{Key: op, Value: v}} }

func unset(names ...string) bson.E {
	var d bson.D
	for _, n := range names {
		d = append(d, field(n, ""))
	}
	return bson.E{Key: "$unset", Value: d}
}

// clearGuesses starts the count of guesses again.
func clearGuesses() []bson.E {
	return []bson.E{store.ClearGuesses("guess"), field("calls", bson.D{})}
}

// found turns "none, or the guard does not hold" into a plain false.
func found(err error) (bool, error) {
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// --- people

// unsend takes a text that never went out from what the person is limited by. One that loses a race stays counted.
func (r *records) unsend(ctx context.Context, who contract.Account, challenge string) error {
	for range 3 {
		p, err := r.people.Get(ctx, personID(who))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		s, counted := p.Sends.without(challenge)
		if !counted {
			return nil
		}
		ok, err := r.people.Update(ctx, p.ID, store.Change{
			Guard:  bson.D{field("sends.serial", p.Sends.Serial), field("sends.today", p.Sends.Today)},
			Update: bson.D{set(field("sends.recent", s.Recent), field("sends.today", s.Today))},
		})
		if ok || err != nil {
			return err
		}
	}
	return nil
}

// known makes sure that there is a document of this person.
func (r *records) known(ctx context.Context, who contract.Account, epoch int64) error {
	err := r.people.Insert(ctx, person{ID: personID(who), Epoch: epoch, Calls: map[string]time.Time{}, Sends: sends{Recent: []sent{}}})
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// raise makes everything of an older generation than epoch disappear, once per epoch, and starts the count of guesses
// again: a reset is the way out of a disabled factor. It returns the person as they were, and whether there was
// anything to do.
func (r *records) raise(ctx context.Context, who contract.Account, epoch int64) (person, bool, error) {
	before, err := r.people.Apply(ctx, personID(who), store.Change{
		Guard:  bson.D{field("epoch", cond("$lt", epoch))},
		Update: bson.D{set(append(clearGuesses(), field("epoch", epoch))...), unset("pending", "active")},
		Before: true,
	})
	ok, err := found(err)
	return before, ok, err
}

// admit remembers one more text, if the person is still as they were when the limits were asked. With a number, it
// becomes the pending one by the same write.
func (r *records) admit(ctx context.Context, p person, next sends, pending *number) (bool, error) {
	fields := []bson.E{
		field("sends.serial", next.Serial), field("sends.recent", next.Recent), field("sends.day", next.Day), field("sends.today", next.Today),
	}
	if pending != nil {
		fields = append(fields, field("pending", pending))
	}
	return r.people.Update(ctx, p.ID, store.Change{
		Guard:  bson.D{field("sends.serial", p.Sends.Serial), field("epoch", p.Epoch)},
		Update: bson.D{set(fields...)},
	})
}

// countGuess counts one guess if one is allowed now and call was not counted before, and returns the person with
// it. False means that it was not counted.
func (r *records) countGuess(ctx context.Context, who contract.Account, call string, now time.Time) (person, bool, error) {
	counted, at := store.CountGuess("guess", now)
	p, err := r.people.Apply(ctx, personID(who), store.Change{
		Guard:  append(store.GuessGuard("guess", now), field("calls."+call, cond("$exists", false))),
		Update: bson.D{inc(counted), set(at, field("calls."+call, now))},
	})
	ok, err := found(err)
	return p, ok, err
}

// proved starts the count of guesses again after a right code, and forgives the texts up to then.
func (r *records) proved(ctx context.Context, p person) error {
	_, err := r.people.Update(ctx, p.ID, store.Change{
		Update: bson.D{set(clearGuesses()...), {Key: "$max", Value: bson.D{field("sends.forgiven", p.Sends.Serial)}}},
	})
	return err
}

// activate is proved, and makes the pending number the active one, if it is still the one that the code was sent to.
func (r *records) activate(ctx context.Context, p person, active number, letter bus.Letter) (bool, error) {
	if err := r.outbox.Note(ctx, phonesName, p.ID, letter); err != nil {
		return false, err
	}
	fields := append(append(clearGuesses(), field("active", active)), store.Put(letter)...)
	ok, err := r.people.Update(ctx, p.ID, store.Change{
		Guard: bson.D{field("pending.ref", active.Ref), field("epoch", p.Epoch)},
		Update: bson.D{
			set(fields...), unset("pending"),
			{Key: "$max", Value: bson.D{field("sends.forgiven", p.Sends.Serial)}},
		},
	})
	if ok {
		r.outbox.Relay(phonesName, p.ID, letter)
	}
	return ok, err
}

// adopt makes a number from elsewhere the active one, if the person is still as they were read. What is pending stays,
// since the person may be at it, unless a reset has killed it. An empty person is created.
func (r *records) adopt(ctx context.Context, who contract.Account, was person, n number) (bool, error) {
	if was.ID == "" {
		err := r.people.Insert(ctx, person{
			ID: personID(who), Epoch: n.Epoch.Person, Active: &n, Calls: map[string]time.Time{}, Sends: sends{Recent: []sent{}},
		})
		if errors.Is(err, store.ErrExists) {
			return false, nil
		}
		return err == nil, err
	}
	guard := bson.D{field("epoch", was.Epoch), field("active", cond("$exists", false))}
	if was.Active != nil {
		guard[1] = field("active.ref", was.Active.Ref)
	}
	update := bson.D{set(append(clearGuesses(), field("epoch", n.Epoch.Person), field("active", n))...)}
	if was.Epoch != n.Epoch.Person {
		update = append(update, unset("pending"))
	}
	return r.people.Update(ctx, was.ID, store.Change{Guard: guard, Update: update})
}

// tellLocked puts the news of a lock into the person's document and sends it, unless that was done for this lock before.
// It tells whether it did.
func (r *records) tellLocked(ctx context.Context, p person, letter bus.Letter) (bool, error) {
	if err := r.outbox.Note(ctx, phonesName, p.ID, letter); err != nil {
		return false, err
	}
	told, err := r.people.Update(ctx, p.ID, store.Change{
		Guard:  bson.D{field("told", cond("$ne", p.Guess.LastAt))},
		Update: bson.D{set(append(store.Put(letter), field("told", p.Guess.LastAt))...)},
	})
	if err != nil {
		return false, err
	}
	r.outbox.Relay(phonesName, p.ID, letter) // in the document by now, or told and then only its note goes
	return told, nil
}

// unlock starts the count of guesses again if it still stands as it was read, with the letter that tells of it. It
// tells whether it did: a guess that was counted meanwhile is not taken back.
func (r *records) unlock(ctx context.Context, p person, unlock string, letter bus.Letter) (bool, error) {
	if err := r.outbox.Note(ctx, phonesName, p.ID, letter); err != nil {
		return false, err
	}
	return r.people.Update(ctx, p.ID, store.Change{
		Guard: bson.D{
			field("guess.failures", p.Guess.Failures), field("guess.last_at", p.Guess.LastAt), field("unlocked", cond("$ne", unlock)),
		},
		Update: bson.D{set(append(append(clearGuesses(), field("unlocked", unlock)), store.Put(letter)...)...)},
	})
}

// --- challenges

// deliveries lists the challenges of a portal, or of one person, whose order is at least from and less than before
// (empty: no bound), newest first.
func (r *records) deliveries(ctx context.Context, portal, user, from, before string, limit int64) ([]challenge, error) {
	filter := bson.D{field("portal", portal)}
	if user != "" {
		filter = append(filter, field("user", user))
	}
	var span bson.D
	if from != "" {
		span = append(span, field("$gte", from))
	}
	if before != "" {
		span = append(span, field("$lt", before))
	}
	if span != nil {
		filter = append(filter, field("order", span))
	}
	return r.challenges.Query(ctx, filter, bson.D{field("order", -1)}, limit)
}

// open writes a challenge. It returns the one that is there if it was written before.
func (r *records) open(ctx context.Context, c challenge) (_ challenge, made bool, err error) {
	err = r.challenges.Insert(ctx, c)
	if errors.Is(err, store.ErrExists) {
		c, err = r.challenges.Get(ctx, c.ID)
		return c, false, err
	}
	return c, err == nil, err
}

// reserve counts an attempt before it is made and takes the challenge for worker, if it is still as it was read:
// wanted, under the cap, and in nobody else's hands. An attempt whose worker has gone silent is taken over and counts
// as ambiguous. A fresh challenge was not read: it is taken if nobody ever had it in hand.
func (r *records) reserve(ctx context.Context, c challenge, worker string, fresh bool, now time.Time) (challenge, bool, error) {
	guard := bson.D{
		field("state", c.State), field("closed", stillOpen), field("expires_at", cond("$gt", now)),
		field("attempts", c.Attempts), field("worker", c.Worker),
	}
	if fresh {
		guard = append(guard, field("portal", c.Portal), field("user", c.User))
	} else {
		guard = append(guard, field("lease_until", c.LeaseUntil))
	}
	counts := []bson.E{field("attempts", 1)}
	if c.State == sending {
		counts = append(counts, field("ambiguous", 1))
	}
	until := now.Add(lease)
	c, err := r.challenges.Apply(ctx, c.ID, store.Change{Guard: guard, Update: bson.D{
		inc(counts...), set(field("state", sending), field("worker", worker), field("lease_until", until), field("due", until)),
	}})
	ok, err := found(err)
	return c, ok, err
}

// requeue writes that an attempt brought no outcome. An ambiguous one counts; any other is given back.
func (r *records) requeue(ctx context.Context, c challenge, counts bool, until time.Time) error {
	change := inc(field("attempts", -1))
	if counts {
		change = inc(field("ambiguous", 1))
	}
	_, err := r.challenges.Update(ctx, c.ID, store.Change{
		Guard:  bson.D{field("state", sending), field("worker", c.Worker), field("attempts", c.Attempts)},
		Update: bson.D{change, set(field("state", queued), field("lease_until", until), field("due", until))},
	})
	return err
}

// release gives a queued challenge out of a worker's hands before its lease is over.
func (r *records) release(ctx context.Context, id, worker string, now time.Time) error {
	_, err := r.challenges.Update(ctx, id, store.Change{
		Guard:  bson.D{field("state", queued), field("worker", worker)},
		Update: bson.D{set(field("worker", ""), field("lease_until", now), field("due", now))},
	})
	return err
}

// end writes a challenge's outcome, if it has none yet; an outcome other than sent also needs the challenge to be as it
// was read. Superseded and expired codes are erased by the same write.
func (r *records) end(ctx context.Context, c challenge, o ending, now time.Time) (bool, error) {
	guard := bson.D{field("state", cond("$in", bson.A{queued, sending}))}
	if o.outcome != contract.OutcomeSent && o.outcome != contract.OutcomeSuperseded {
		guard = append(guard, field("attempts", c.Attempts), field("worker", c.Worker), field("lease_until", c.LeaseUntil))
	}
	fields := []bson.E{field("state", state(o.outcome)), field("reason", o.reason), field("ended_at", now)}
	if o.messageID != "" {
		fields = append(fields, field("message_id", o.messageID))
	}
	update := bson.D{}
	if o.closed != stillOpen {
		// A code that was typed meanwhile has proved that its text arrived: that outcome is another one.
		guard = append(guard, field("closed", stillOpen))
		fields = append(fields, field("closed", o.closed))
		update = append(update, unset("code", "phone"))
	}
	write := func(guard bson.D, due time.Time) (bool, error) {
		return r.challenges.Update(ctx, c.ID, store.Change{Guard: guard, Update: append(slices.Clip(update), set(append(slices.Clip(fields), field("due", due))...))})
	}
	if o.closed == stillOpen && c.Closed == stillOpen {
		ended, err := write(append(slices.Clip(guard), field("closed", stillOpen)), earlier(now.Add(tellAgain), c.ExpiresAt))
		if ended || err != nil {
			return ended, err
		}
		// Perhaps the code was typed while its text was under way.
	}
	return write(guard, now) // nothing is waited for any more
}

// claim spends the code of a challenge for one call: of any number of them, one succeeds.
func (r *records) claim(ctx context.Context, c challenge, call string, now time.Time) (bool, error) {
	// Due even where the text is under way as far as c knows: its outcome may have been written meanwhile.
	fields := []bson.E{field("closed", closedVerified), field("claimed_by", call), field("verified_at", now), field("due", now)}
	return r.challenges.Update(ctx, c.ID, store.Change{
		Guard:  bson.D{field("closed", stillOpen), field("expires_at", cond("$gt", now))},
		Update: bson.D{set(fields...), unset("code", "phone")},
	})
}

// closeCode ends the life of a code whose message has its outcome.
func (r *records) closeCode(ctx context.Context, id string, why closing, now time.Time) error {
	_, err := r.challenges.Update(ctx, id, store.Change{
		Guard:  bson.D{field("closed", stillOpen)},
		Update: bson.D{set(field("closed", why), field("due", now)), unset("code", "phone")},
	})
	return err
}

// settle writes that a challenge is over, once, and closes its code if it is still open. It is due again when it may be
// removed.
func (r *records) settle(ctx context.Context, c challenge) (bool, error) {
	return r.challenges.Update(ctx, c.ID, store.Change{
		Guard: bson.D{field("settled", false), field("closed", cond("$in", bson.A{stillOpen, c.Closed}))},
		Update: bson.D{
			set(field("settled", true), field("closed", c.Closed), field("due", c.CreatedAt.Add(keepFor))), unset("code", "phone", "meters"),
		},
	})
}

// due lists challenges that somebody should look at, the youngest or the oldest first.
func (r *records) due(ctx context.Context, now time.Time, limit int, youngest bool) ([]challenge, error) {
	order := 1
	if youngest {
		order = -1
	}
	return r.challenges.Query(ctx, bson.D{field("due", cond("$lte", now))}, bson.D{field("due", order)}, int64(limit))
}

// lookAgain moves the time at which a challenge is looked at, if it is still the one that was read.
func (r *records) lookAgain(ctx context.Context, c challenge, at time.Time) error {
	_, err := r.challenges.Update(ctx, c.ID, store.Change{Guard: bson.D{field("due", c.Due)}, Update: bson.D{set(field("due", at))}})
	return err
}

// --- budget

// spend takes one text from the day's budget, atomically; false means that none is left.
func (r *records) spend(ctx context.Context, day string, limit int) (bool, error) {
	for range 2 {
		ok, err := r.budgets.Update(ctx, day, store.Change{
			Guard: bson.D{field("sent", cond("$lt", limit))}, Update: bson.D{inc(field("sent", 1))},
		})
		if ok || err != nil {
			return ok, err
		}
		if err = r.budgets.Insert(ctx, budget{ID: day}); err != nil && !errors.Is(err, store.ErrExists) {
			return false, err
		}
	}
	return false, nil
}

// refund gives one text back that was not sent after all.
func (r *records) refund(ctx context.Context, day string) error {
	_, err := r.budgets.Update(ctx, day, store.Change{Guard: bson.D{field("sent", cond("$gt", 0))}, Update: bson.D{inc(field("sent", -1))}})
	return err
}

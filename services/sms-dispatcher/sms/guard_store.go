package sms

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/store"
)

const (
	metersName  = "meters"
	trafficName = "traffic"
	budgetsName = "budgets"
	// idleMeters is how long a meter may be idle before it is removed: longer than the longest window.
	idleMeters = day + time.Hour
)

// guardIndexes serve the queries below.
func guardIndexes() []store.Index {
	return []store.Index{
		{Collection: metersName, Name: "used", Keys: bson.D{field("used", 1)}},
		{Collection: trafficName, Name: "portal_country", Keys: bson.D{field("portal", 1), field("country", 1)}},
		{Collection: trafficName, Name: "stopped_until", Keys: bson.D{field("stopped_until", 1)}},
	}
}

func add(names []string, n int) bson.E {
	var fields []bson.E
	for _, name := range names {
		fields = append(fields, field(name, n))
	}
	return inc(fields...)
}

// --- meters

// count counts one text and returns the meter as it was before. Of any number of texts that are counted at once each
// sees those before it, so that no more find room than there is.
func (r *records) count(ctx context.Context, id string, limits Limits, now time.Time) (meter, error) {
	for range 2 {
		before, err := r.meters.Apply(ctx, id, store.Change{
			Update: bson.D{add(limits.fields(now), 1), set(field("used", now))}, Before: true,
		})
		if !errors.Is(err, store.ErrNotFound) {
			return before, err
		}
		err = r.meters.Insert(ctx, meter{ID: id, Counts: map[string]buckets{}, Told: map[string]string{}, Used: now})
		if err != nil && !errors.Is(err, store.ErrExists) {
			return meter{}, err
		}
	}
	return meter{}, errors.New("a meter disappears as soon as it is made")
}

// takeBack takes back what this call has counted.
func (r *records) takeBack(ctx context.Context, id string, limits Limits, at time.Time) error {
	_, err := r.meters.Update(ctx, id, store.Change{Update: bson.D{add(limits.fields(at), -1)}})
	return err
}

// giveBack counts a text of some time ago no more. What is not in the meter (the limits were set anew) is left alone.
func (r *records) giveBack(ctx context.Context, id string, limits Limits, at time.Time) error {
	fields := limits.fields(at)
	guard := func(fields []string) bson.D {
		var d bson.D
		for _, name := range fields {
			d = append(d, field(name, cond("$gt", 0)))
		}
		return d
	}
	if len(fields) == 0 {
		return nil
	}
	ok, err := r.meters.Update(ctx, id, store.Change{Guard: guard(fields), Update: bson.D{add(fields, -1)}})
	if ok || err != nil || len(fields) == 1 {
		return err
	}
	for _, one := range fields { // the shorter window is over, and its bucket may be gone
		if _, err := r.meters.Update(ctx, id, store.Change{Guard: guard([]string{one}), Update: bson.D{add([]string{one}, -1)}}); err != nil {
			return err
		}
	}
	return nil
}

// tellMeter puts the news that a limit was reached into its meter, and sends it.
func (r *records) tellMeter(ctx context.Context, id string, l Limit, letter bus.Letter) error {
	return r.tellIn(ctx, metersName, id, "told."+l.name(), letter)
}

// tellPerson does the same for the limit of a person.
func (r *records) tellPerson(ctx context.Context, id string, letter bus.Letter) error {
	return r.tellIn(ctx, phonesName, id, "limited", letter)
}

// tellBudget does the same for the budget of a day, once per letter.
func (r *records) tellBudget(ctx context.Context, day string, letter bus.Letter) error {
	return r.tellIn(ctx, budgetsName, day, "told."+letter.ID, letter)
}

func (r *records) tellIn(ctx context.Context, collection, id, mark string, letter bus.Letter) error {
	if err := r.outbox.Note(ctx, collection, id, letter); err != nil {
		return err
	}
	change := store.Change{
		Guard:  bson.D{field(mark, cond("$ne", letter.ID))},
		Update: bson.D{set(append(store.Put(letter), field(mark, letter.ID))...)},
	}
	var ok bool
	var err error
	switch collection {
	case metersName:
		ok, err = r.meters.Update(ctx, id, change)
	case phonesName:
		ok, err = r.people.Update(ctx, id, change)
	default:
		ok, err = r.budgets.Update(ctx, id, change)
	}
	if ok {
		r.outbox.Relay(collection, id, letter)
	}
	return err
}

// prune removes buckets that count no more.
func (r *records) prune(ctx context.Context, id string, stale []string) error {
	_, err := r.meters.Update(ctx, id, store.Change{Update: bson.D{unset(stale...)}})
	return err
}

// idle lists meters that have counted nothing since then.
func (r *records) idle(ctx context.Context, since time.Time, limit int64) ([]idleMeter, error) {
	return r.idleMeters.Query(ctx, bson.D{field("used", cond("$lt", since))}, bson.D{field("used", 1)}, limit)
}

// drop removes a meter if it has counted nothing since then.
func (r *records) drop(ctx context.Context, id string, since time.Time) error {
	_, err := r.meters.DeleteIf(ctx, id, bson.D{field("used", cond("$lt", since))})
	return err
}

// --- countries

func trafficID(portal, country string) string { return portal + "/" + country }

// over counts a text that is over, and returns how its country fares now. False means that it does not count: it was
// asked for before the country was stopped.
func (r *records) over(ctx context.Context, c challenge, answered bool, now time.Time) (traffic, bool, error) {
	id := trafficID(c.Portal, c.Region)
	counts := []string{"sent." + hours.bucket(now)}
	if answered {
		counts = append(counts, "answered."+hours.bucket(now))
	}
	for range 2 {
		t, err := r.traffic.Apply(ctx, id, store.Change{
			Guard: bson.D{field("since", cond("$lte", c.CreatedAt))}, Update: bson.D{add(counts, 1)},
		})
		if !errors.Is(err, store.ErrNotFound) {
			return t, err == nil, err
		}
		err = r.traffic.Insert(ctx, traffic{
			ID: id, Portal: c.Portal, Country: c.Region, Sent: buckets{}, Answered: buckets{}, Since: time.UnixMilli(0), StoppedUntil: time.UnixMilli(0),
		})
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return traffic{}, false, err
		}
	}
	return traffic{}, false, nil
}

// pruneTraffic removes hours that count no more.
func (r *records) pruneTraffic(ctx context.Context, id string, stale []string) error {
	_, err := r.traffic.Update(ctx, id, store.Change{Update: bson.D{unset(stale...)}})
	return err
}

// stop writes a stop with the letter that tells it, if the country is as it was read: not stopped since.
func (r *records) stop(ctx context.Context, was, next traffic, letter bus.Letter) (bool, error) {
	if err := r.outbox.Note(ctx, trafficName, was.ID, letter); err != nil {
		return false, err
	}
	fields := []bson.E{
		field("stops", next.Stops), field("stopped_until", next.StoppedUntil), field("rest", next.Rest), field("since", next.Since),
		field("led_sent", next.LedSent), field("led_answered", next.LedAnswered), field("recorded", next.Recorded),
		field("sent", buckets{}), field("answered", buckets{}),
	}
	ok, err := r.traffic.Update(ctx, was.ID, store.Change{
		Guard: bson.D{field("stops", was.Stops)}, Update: bson.D{set(append(fields, store.Put(letter)...)...)},
	})
	if ok {
		r.outbox.Relay(trafficName, was.ID, letter)
	}
	return ok, err
}

// resume ends a stop with the letter that tells it, if it is the one that was read.
func (r *records) resume(ctx context.Context, was traffic, now time.Time, letter bus.Letter) (bool, error) {
	if err := r.outbox.Note(ctx, trafficName, was.ID, letter); err != nil {
		return false, err
	}
	fields := []bson.E{
		field("stopped_until", now), field("since", now), field("sent", buckets{}), field("answered", buckets{}),
	}
	return r.traffic.Update(ctx, was.ID, store.Change{
		Guard:  bson.D{field("stops", was.Stops), field("stopped_until", was.StoppedUntil)},
		Update: bson.D{set(append(fields, store.Put(letter)...)...)},
	})
}

// stopped lists the countries that are stopped now.
func (r *records) stopped(ctx context.Context, now time.Time) ([]traffic, error) {
	const most = 5000
	return r.traffic.Query(ctx, bson.D{field("stopped_until", cond("$gt", now))}, bson.D{field("stopped_until", 1)}, most)
}

// country reads how the texts of a portal to one country fare; nothing went there where there is none.
func (r *records) country(ctx context.Context, portal, country string) (traffic, error) {
	t, err := r.traffic.Get(ctx, trafficID(portal, country))
	if errors.Is(err, store.ErrNotFound) {
		return traffic{}, nil
	}
	return t, err
}

// countries lists those of a portal.
func (r *records) countries(ctx context.Context, portal string) ([]traffic, error) {
	const most = 300 // there are fewer
	return r.traffic.Query(ctx, bson.D{field("portal", portal)}, bson.D{field("country", 1)}, most)
}

// --- budget

// budget reads that of a day; nothing is spent where there is none.
func (r *records) budget(ctx context.Context, day string) (budget, error) {
	b, err := r.budgets.Get(ctx, day)
	if errors.Is(err, store.ErrNotFound) {
		return budget{ID: day}, nil
	}
	return b, err
}

package sms

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/meter"
	"sallyport/pkg/store"
)

const (
	metersName  = "meters"
	trafficName = "traffic"
	budgetsName = "budgets"
)

// guardIndexes serve the queries below.
func guardIndexes() []store.Index {
	return []store.Index{
		store.MetersIndex(metersName),
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

// tellMeter puts the news that a limit was reached into its meter, and sends it.
func (r *records) tellMeter(ctx context.Context, id string, l meter.Limit, letter bus.Letter) error {
	return r.tellIn(ctx, metersName, id, "told."+l.Name(), letter)
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
		ok, err = r.meters.Docs.Update(ctx, id, change)
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

// --- countries

func trafficID(portal, country string) string { return portal + "/" + country }

// over counts a text that is over, and returns how its country fares now. False means that it does not count: it was
// asked for before the country was stopped.
func (r *records) over(ctx context.Context, c challenge, answered bool, now time.Time) (traffic, bool, error) {
	id := trafficID(c.Portal, c.Region)
	counts := []string{"sent." + hours.Bucket(now)}
	if answered {
		counts = append(counts, "answered."+hours.Bucket(now))
	}
	for range 2 {
		t, err := r.traffic.Apply(ctx, id, store.Change{
			Guard: bson.D{field("since", cond("$lte", c.CreatedAt))}, Update: bson.D{add(counts, 1)},
		})
		if !errors.Is(err, store.ErrNotFound) {
			return t, err == nil, err
		}
		err = r.traffic.Insert(ctx, traffic{
			ID: id, Portal: c.Portal, Country: c.Region, Sent: meter.Buckets{}, Answered: meter.Buckets{}, Since: time.UnixMilli(0), StoppedUntil: time.UnixMilli(0),
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
		field("sent", meter.Buckets{}), field("answered", meter.Buckets{}),
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
		field("stopped_until", now), field("since", now), field("sent", meter.Buckets{}), field("answered", meter.Buckets{}),
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

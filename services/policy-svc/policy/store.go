package policy

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// Collections of the service's database.
const (
	settingsIn  = "settings"  // one document per portal
	standingsIn = "standings" // one per person who ever enrolled, skipped or was reset
	auditIn     = "audit"     // one per fact
)

// state is what the service keeps. Every operation addresses documents by _id alone.
type state struct {
	outbox    *store.Outbox
	settings  store.Collection[settingsDoc]
	standings store.Collection[standingDoc]
	audit     store.Collection[auditDoc]
}

type settingsDoc struct {
	Portal string `bson:"_id"`
	Rules  `bson:",inline"`
	// LastCall is the call that made this version: the same call, asked again, is no conflict.
	LastCall string                `bson:"last_call,omitempty"`
	Outbox   map[string]bus.Letter `bson:"outbox,omitempty"`
}

type standingDoc struct {
	ID     string `bson:"_id"`
	Person `bson:",inline"`
	// Resets are those that happened, with the generation that each began.
	Resets map[string]int64 `bson:"resets,omitempty"`
}

// auditDoc is one line of the audit log. Its _id is the event's, so that a redelivery changes nothing.
type auditDoc struct {
	ID      string            `bson:"_id"`
	Portal  string            `bson:"portal"`
	At      time.Time         `bson:"at"`
	Action  action            `bson:"action"`
	Actor   string            `bson:"actor,omitempty"`
	User    string            `bson:"user,omitempty"`
	Detail  map[string]string `bson:"detail,omitempty"`
	Request string            `bson:"request,omitempty"`
}

func newState(db *store.DB, outbox *store.Outbox) state {
	return state{
		outbox:    outbox,
		settings:  store.Of[settingsDoc](db, settingsIn),
		standings: store.Of[standingDoc](db, standingsIn),
		audit:     store.Of[auditDoc](db, auditIn),
	}
}

func standingID(a contract.Account) string { return a.Portal + "/" + a.User }

// rules reads a portal's settings; those of an unknown portal are off.
func (s state) rules(ctx context.Context, portal string) (settingsDoc, error) {
	doc, err := s.settings.Get(ctx, portal)
	if errors.Is(err, store.ErrNotFound) {
		return settingsDoc{Portal: portal, Rules: noRules()}, nil
	}
	return doc, err
}

// standing reads what is remembered of a person; of a stranger, nothing is.
func (s state) standing(ctx context.Context, who contract.Account) (standingDoc, error) {
	doc, err := s.standings.Get(ctx, standingID(who))
	if errors.Is(err, store.ErrNotFound) {
		return standingDoc{ID: standingID(who)}, nil
	}
	return doc, err
}

// both reads settings and standing at once.
func (s state) both(ctx context.Context, who contract.Account) (Rules, standingDoc, error) {
	var rules settingsDoc
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		rules, failed = s.rules(ctx, who.Portal)
	}()
	standing, err := s.standing(ctx, who)
	<-done
	if failed != nil {
		err = failed
	}
	return rules.Rules, standing, err
}

// change replaces a portal's settings if their version is still that of before, and tells whether it was.
func (s state) change(ctx context.Context, portal, call string, before, after Rules, letter bus.Letter) (bool, error) {
	if err := s.outbox.Note(ctx, settingsIn, portal, letter); err != nil {
		return false, err
	}
	changed := true
	var err error
	if before.Version == 0 {
		err = s.settings.Insert(ctx, settingsDoc{
			Portal: portal, Rules: after, LastCall: call, Outbox: map[string]bus.Letter{letter.ID: letter},
		})
		if errors.Is(err, store.ErrExists) {
			changed, err = false, nil
		}
	} else {
		changed, err = s.settings.Update(ctx, portal, store.Change{
			Guard: bson.D{{Key: "version", Value: before.Version}},
			Update: bson.D{{Key: "$set", Value: append(bson.D{
				{Key: "internal", Value: after.Internal},
				{Key: "organizations", Value: after.Organizations},
				{Key: "version", Value: after.Version},
				{Key: "last_call", Value: call},
			}, store.Put(letter)...)}},
		})
	}
	if err != nil || !changed {
		return false, err
	}
	s.outbox.Relay(settingsIn, portal, letter)
	return true, nil
}

// update changes a person's document under a guard; a person without one gets an empty one first.
func (s state) update(ctx context.Context, who contract.Account, ch store.Change) (bool, error) {
	done, err := s.standings.Update(ctx, standingID(who), ch)
	if err != nil || done {
		return done, err
	}
	err = s.standings.Insert(ctx, standingDoc{ID: standingID(who)})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return false, err
	}
	// Whether the document was there all the time or came this moment, from us or another, is not known here.
	return s.standings.Update(ctx, standingID(who), ch)
}

// record keeps an enrolment, and forgets the skip, unless the person was reset since it was begun, or a newer enrolment
// of this factor is there. It tells whether it did; the same enrolment may be recorded again.
func (s state) record(ctx context.Context, who contract.Account, f contract.Factor, e Enrolment) (bool, error) {
	at := "factors." + string(f)
	population, since := at+".epoch.population", at+".since"
	return s.update(ctx, who, store.Change{
		Guard: bson.D{
			{Key: "person", Value: e.Epoch.Person},
			{Key: "$or", Value: bson.A{
				bson.D{{Key: at, Value: bson.D{{Key: "$exists", Value: false}}}},
				bson.D{{Key: population, Value: bson.D{{Key: "$lt", Value: e.Epoch.Population}}}},
				bson.D{
					{Key: population, Value: e.Epoch.Population},
					{Key: since, Value: bson.D{{Key: "$lte", Value: e.Since}}},
				},
			}},
		},
		Update: bson.D{
			{Key: "$set", Value: bson.D{{Key: at, Value: e}}},
			{Key: "$unset", Value: bson.D{{Key: "skip", Value: ""}}},
		},
	})
}

// skip remembers a skip, unless the person was reset since it was allowed, or it is remembered already. It tells
// whether it did.
func (s state) skip(ctx context.Context, who contract.Account, skip Skip, letter bus.Letter) (bool, error) {
	if err := s.outbox.Note(ctx, standingsIn, standingID(who), letter); err != nil {
		return false, err
	}
	done, err := s.update(ctx, who, store.Change{
		Guard: bson.D{
			{Key: "person", Value: skip.Epoch.Person},
			{Key: "$or", Value: bson.A{
				bson.D{{Key: "skip.epoch.population", Value: bson.D{{Key: "$ne", Value: skip.Epoch.Population}}}},
				bson.D{{Key: "skip.epoch.person", Value: bson.D{{Key: "$ne", Value: skip.Epoch.Person}}}},
				bson.D{{Key: "skip.opt_out_generation", Value: bson.D{{Key: "$ne", Value: skip.OptOutGeneration}}}},
			}},
		},
		Update: bson.D{{Key: "$set", Value: append(bson.D{{Key: "skip", Value: skip}}, store.Put(letter)...)}},
	})
	if err == nil && done {
		s.outbox.Relay(standingsIn, standingID(who), letter)
	}
	return done, err
}

// reset begins a person's next generation, which kills what was enrolled and skipped, if nobody else began it. It
// tells whether it did. Every reset raises the generation, so one that was not there when the generation was read is
// not there now.
func (s state) reset(ctx context.Context, who contract.Account, reset string, next int64, letter bus.Letter) (bool, error) {
	if err := s.outbox.Note(ctx, standingsIn, standingID(who), letter); err != nil {
		return false, err
	}
	done, err := s.update(ctx, who, store.Change{
		Guard: bson.D{{Key: "person", Value: next - 1}},
		Update: bson.D{
			{Key: "$set", Value: append(bson.D{
				{Key: "person", Value: next},
				{Key: "resets." + reset, Value: next},
			}, store.Put(letter)...)},
			{Key: "$unset", Value: bson.D{{Key: "factors", Value: ""}, {Key: "skip", Value: ""}}},
		},
	})
	if err == nil && done {
		s.outbox.Relay(standingsIn, standingID(who), letter)
	}
	return done, err
}

// write adds a line to the audit log, once.
func (s state) write(ctx context.Context, line auditDoc) error {
	err := s.audit.Insert(ctx, line)
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

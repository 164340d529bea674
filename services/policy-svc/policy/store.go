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
	settingsIn  = "settings"      // one document per portal
	standingsIn = "standings"     // one per person who ever enrolled, skipped, wished to enrol or was reset
	entriesIn   = "audit_entries" // one per link of a portal's chain
	headsIn     = "audit_heads"   // one per portal: how far its chain goes
	marksIn     = "audit_ids"     // one per audited event: where it stands in the chain
	auditKeysIn = "audit_keys"    // the sealed key of the hashes
)

// chainKey is the _id of the one key.
const chainKey = "chain"

// state is what the service decides by. Every operation addresses documents by _id alone.
type state struct {
	outbox    *store.Outbox
	settings  store.Collection[settingsDoc]
	standings store.Collection[standingDoc]
}

type settingsDoc struct {
	Portal string `bson:"_id"`
	Rules  `bson:",inline"`
	// Last is the change that made this version: the same call, asked again, is no conflict.
	Last   lastChange            `bson:"last"`
	Outbox map[string]bus.Letter `bson:"outbox,omitempty"`
}

type lastChange struct {
	Call string                `bson:"call"`
	Fact contract.SettingsFact `bson:"fact"`
}

type standingDoc struct {
	ID     string `bson:"_id"`
	Person `bson:",inline"`
	// Rev counts the changes of this document.
	Rev int64 `bson:"rev"`
	// Resets are those that happened, with the generation that each began.
	Resets map[string]int64 `bson:"resets,omitempty"`
}

func newState(db *store.DB, outbox *store.Outbox) state {
	return state{
		outbox:    outbox,
		settings:  store.Of[settingsDoc](db, settingsIn),
		standings: store.Of[standingDoc](db, standingsIn),
	}
}

func standingID(a contract.Account) string { return a.Portal + "/" + a.User }

func is(name string, v any) bson.D       { return bson.D{{Key: name, Value: v}} }
func cond(name, op string, v any) bson.E { return bson.E{Key: name, Value: is(op, v)} }
func field(name string, v any) bson.E    { return bson.E{Key: name, Value: v} }
func anyOf(conditions ...bson.D) bson.E  { return bson.E{Key: "$or", Value: conditions} }
func absent(name string) bson.E          { return cond(name, "$exists", false) }
func isNot(name string, v any) bson.E    { return cond(name, "$ne", v) }
func descending(name string) bson.D      { return is(name, -1) }
func ascending(names ...string) (d bson.D) {
	for _, n := range names {
		d = append(d, field(n, 1))
	}
	return d
}

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
func (s state) change(ctx context.Context, portal string, before, after Rules, last lastChange, letter bus.Letter) (bool, error) {
	if err := s.outbox.Note(ctx, settingsIn, portal, letter); err != nil {
		return false, err
	}
	changed := true
	var err error
	if before.Version == 0 {
		err = s.settings.Insert(ctx, settingsDoc{
			Portal: portal, Rules: after, Last: last, Outbox: map[string]bus.Letter{letter.ID: letter},
		})
		if errors.Is(err, store.ErrExists) {
			changed, err = false, nil
		}
	} else {
		changed, err = s.settings.Update(ctx, portal, store.Change{
			Guard: is("version", before.Version),
			Update: is("$set", append(bson.D{
				field("internal", after.Internal),
				field("organizations", after.Organizations),
				field("version", after.Version),
				field("last", last),
			}, store.Put(letter)...)),
		})
	}
	if err != nil || !changed {
		return false, err
	}
	s.outbox.Relay(settingsIn, portal, letter)
	return true, nil
}

// move is a change of what is remembered of a person.
type move struct {
	guard, set bson.D
	unset      []string
}

// update changes a person's document under a guard, raises its revision and tells the letters; a person without a
// document gets an empty one first. It tells whether it did.
func (s state) update(ctx context.Context, who contract.Account, m move, letters []bus.Letter) (bool, error) {
	id := standingID(who)
	if err := s.outbox.Note(ctx, standingsIn, id, letters...); err != nil {
		return false, err
	}
	ch := store.Change{Guard: m.guard, Update: bson.D{
		field("$set", append(m.set, store.Put(letters...)...)),
		field("$inc", is("rev", 1)),
	}}
	if len(m.unset) > 0 {
		ch.Update = append(ch.Update, field("$unset", ascending(m.unset...)))
	}
	done, err := s.standings.Update(ctx, id, ch)
	if err == nil && !done {
		err = s.standings.Insert(ctx, standingDoc{ID: id})
		if err == nil || errors.Is(err, store.ErrExists) {
			// Whether the document was there all the time or came this moment, from us or another, is not known here.
			done, err = s.standings.Update(ctx, id, ch)
		}
	}
	if err != nil {
		return false, err
	}
	for _, l := range letters {
		// The news of the standing is this attempt's own: where nothing was written, only its note is taken away. The
		// other letters may be those of a neighbour who is about to write.
		if done || l.Subject == contract.StandingChanged.Subject {
			s.outbox.Relay(standingsIn, id, l)
		}
	}
	return done, nil
}

// record keeps an enrolment, and forgets skip, wish and reset, unless the person was reset since it was begun, or it or
// a newer enrolment of this factor is there.
func (s state) record(ctx context.Context, who contract.Account, f contract.Factor, e Enrolment, letters []bus.Letter) (bool, error) {
	at := "factors." + string(f)
	population, since := at+".epoch.population", at+".since"
	return s.update(ctx, who, move{
		guard: bson.D{
			field("person", e.Epoch.Person),
			anyOf(
				bson.D{absent(at)},
				bson.D{cond(population, "$lt", e.Epoch.Population)},
				bson.D{field(population, e.Epoch.Population), cond(since, "$lt", e.Since)},
				// The same one is not written again: it may have another name by now.
				bson.D{field(population, e.Epoch.Population), field(since, e.Since), isNot(at+".enrolment", e.ID)},
			),
		},
		set:   is(at, e),
		unset: []string{"skip", "wish", "last_reset"},
	}, letters)
}

// adopt keeps an enrolment of a person who may be new here: of most there is no document yet. Who has one, has it as
// [state.record] would, without a letter.
func (s state) adopt(ctx context.Context, who contract.Account, f contract.Factor, e Enrolment) error {
	if e.Epoch.Person == 0 {
		err := s.standings.Insert(ctx, standingDoc{
			ID: standingID(who), Person: Person{Factors: map[contract.Factor]Enrolment{f: e}}, Rev: 1,
		})
		if !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	_, err := s.record(ctx, who, f, e, nil)
	return err
}

// rename gives a person's enrolment another label, unless it is another one by now.
func (s state) rename(ctx context.Context, who contract.Account, f contract.Factor, e Enrolment, label string, letters []bus.Letter) (bool, error) {
	at := "factors." + string(f)
	return s.update(ctx, who, move{
		guard: bson.D{field("person", e.Epoch.Person), field(at+".enrolment", e.ID)},
		set:   is(at+".label", label),
	}, letters)
}

// skip remembers a skip, and that a wish to enrol is over, unless the person was reset since it was allowed, it is
// remembered already, or the wish is another by now.
func (s state) skip(ctx context.Context, who contract.Account, skip Skip, wish *Wish, letters []bus.Letter) (bool, error) {
	guard := bson.D{
		field("person", skip.Epoch.Person),
		anyOf(
			bson.D{isNot("skip.epoch.population", skip.Epoch.Population)},
			bson.D{isNot("skip.epoch.person", skip.Epoch.Person)},
			bson.D{isNot("skip.opt_out_generation", skip.OptOutGeneration)},
		),
	}
	set := is("skip", skip)
	if wish == nil {
		guard = append(guard, absent("wish"))
	} else {
		guard, set = append(guard, field("wish.id", wish.ID)), append(set, field("wish.declined", true))
	}
	return s.update(ctx, who, move{guard: guard, set: set}, letters)
}

// wish remembers that a person wishes to enrol, and forgets their skip, unless they were reset since they could.
func (s state) wish(ctx context.Context, who contract.Account, wish Wish, letters []bus.Letter) (bool, error) {
	return s.update(ctx, who, move{
		guard: bson.D{
			field("person", wish.Epoch.Person),
			anyOf(
				bson.D{isNot("wish.id", wish.ID)},
				bson.D{isNot("wish.epoch.population", wish.Epoch.Population)},
				bson.D{isNot("wish.epoch.person", wish.Epoch.Person)},
			),
		},
		set:   is("wish", wish),
		unset: []string{"skip"},
	}, letters)
}

// decline remembers that a person has thought better of their wish.
func (s state) decline(ctx context.Context, who contract.Account, wish Wish, letters []bus.Letter) (bool, error) {
	return s.update(ctx, who, move{
		guard: bson.D{field("person", wish.Epoch.Person), field("wish.id", wish.ID), isNot("wish.declined", true)},
		set:   is("wish.declined", true),
	}, letters)
}

// reset begins a person's next generation, which kills what was enrolled and skipped, if nobody else began it. Every
// reset raises the generation, so one that was not there when the generation was read is not there now.
func (s state) reset(ctx context.Context, who contract.Account, id string, next int64, r Reset, letters []bus.Letter) (bool, error) {
	return s.update(ctx, who, move{
		guard: is("person", next-1),
		set:   bson.D{field("person", next), field("resets."+id, next), field("last_reset", r)},
		unset: []string{"factors", "skip", "wish"},
	}, letters)
}

// chains is what the audit log keeps.
type chains struct {
	entries store.Collection[entry]
	heads   store.Collection[headDoc]
	marks   store.Collection[markDoc]
	keys    store.Collection[keyDoc]
	// settings tell which portals there are.
	settings store.Collection[settingsDoc]
}

type headDoc struct {
	Portal string `bson:"_id"`
	Seq    int64  `bson:"seq"`
	Hash   string `bson:"hash"`
}

// markDoc says that an event is in the chain, at Seq; while that is 0 it is, if at all, behind After.
type markDoc struct {
	ID    string `bson:"_id"`
	After int64  `bson:"after"`
	Seq   int64  `bson:"seq"`
}

type keyDoc struct {
	ID     string    `bson:"_id"`
	Sealed []byte    `bson:"sealed"`
	At     time.Time `bson:"at"`
}

func newChains(ctx context.Context, db *store.DB) (chains, error) {
	index := func(name string, keys ...string) store.Index {
		return store.Index{Collection: entriesIn, Name: name, Keys: ascending(keys...)}
	}
	err := db.EnsureIndexes(ctx, []store.Index{
		index("chain", "portal", "seq"), // lists, exports and verification walk it
		index("user", "portal", "user", "seq"),
		index("action", "portal", "action", "seq"),
		index("user_action", "portal", "user", "action", "seq"),
		index("time", "portal", "at"), // a filter by time alone
	})
	return chains{
		entries: store.Of[entry](db, entriesIn), heads: store.Of[headDoc](db, headsIn),
		marks: store.Of[markDoc](db, marksIn), keys: store.Of[keyDoc](db, auditKeysIn),
		settings: store.Of[settingsDoc](db, settingsIn),
	}, err
}

// keptSealed is where this service keeps what it sealed: the key of the audit log's hashes.
func keptSealed() []store.Sealed {
	return []store.Sealed{store.SealedIn(auditKeysIn, func(k keyDoc) (string, []store.SealedValue) {
		return k.ID, []store.SealedValue{{Field: "sealed", Value: k.Sealed, Place: auditPlace}}
	})}
}

func (c chains) key(ctx context.Context) ([]byte, error) {
	doc, err := c.keys.Get(ctx, chainKey)
	return doc.Sealed, err
}

func (c chains) keepKey(ctx context.Context, sealed []byte) error {
	return c.keys.Insert(ctx, keyDoc{ID: chainKey, Sealed: sealed, At: time.Now().UTC()}) // real time: for whoever looks
}

// mark reads how far the appending of an event is; begin writes that it begins, finish that it is done.
func (c chains) mark(ctx context.Context, portal, event string) (after, seq int64, err error) {
	doc, err := c.marks.Get(ctx, portal+"/"+event)
	return doc.After, doc.Seq, err
}

func (c chains) begin(ctx context.Context, portal, event string, after int64) error {
	return c.marks.Insert(ctx, markDoc{ID: portal + "/" + event, After: after})
}

func (c chains) finish(ctx context.Context, portal, event string, seq int64) error {
	_, err := c.marks.Update(ctx, portal+"/"+event, store.Change{Update: is("$set", is("seq", seq))})
	return err
}

func (c chains) head(ctx context.Context, portal string) (Head, error) {
	doc, err := c.heads.Get(ctx, portal)
	return Head{Seq: doc.Seq, Hash: doc.Hash}, err
}

// moveHead moves a portal's head forward, unless another replica moved it further.
func (c chains) moveHead(ctx context.Context, portal string, h Head) error {
	_, err := c.heads.Update(ctx, portal, store.Change{
		Guard: bson.D{cond("seq", "$lt", h.Seq)}, Update: is("$set", bson.D{field("seq", h.Seq), field("hash", h.Hash)}), Upsert: true,
	})
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

func (c chains) entry(ctx context.Context, portal string, seq int64) (entry, error) {
	return c.entries.Get(ctx, entryID(portal, seq))
}

func (c chains) insert(ctx context.Context, e entry) error { return c.entries.Insert(ctx, e) }

// window returns the entries with numbers from one, inclusive, to another, exclusive.
func (c chains) window(ctx context.Context, portal string, from, to int64, limit int) ([]entry, error) {
	return c.entries.Query(ctx, bson.D{
		field("portal", portal), field("seq", bson.D{field("$gte", from), field("$lt", to)}),
	}, ascending("seq"), int64(limit))
}

// newest returns the latest entries that a filter chooses, below a number if it is not 0.
func (c chains) newest(ctx context.Context, portal string, f Filter, below int64, limit int) ([]entry, error) {
	filter := f.bson(portal)
	if below > 0 {
		filter = append(filter, cond("seq", "$lt", below))
	}
	return c.entries.Query(ctx, filter, descending("seq"), int64(limit))
}

// oldest returns the first entries that a filter chooses, above a number.
func (c chains) oldest(ctx context.Context, portal string, f Filter, above int64, limit int) ([]entry, error) {
	return c.entries.Query(ctx, append(f.bson(portal), cond("seq", "$gt", above)), ascending("seq"), int64(limit))
}

func (f Filter) bson(portal string) bson.D {
	d := is("portal", portal)
	if f.User != "" {
		d = append(d, field("user", f.User))
	}
	if f.Action != "" {
		d = append(d, field("action", f.Action))
	}
	var at bson.D
	if !f.From.IsZero() {
		at = append(at, field("$gte", f.From.UTC()))
	}
	if !f.To.IsZero() {
		at = append(at, field("$lt", f.To.UTC()))
	}
	if len(at) > 0 {
		d = append(d, field("at", at))
	}
	return d
}

// used tells whether there is any log.
func (c chains) used(ctx context.Context) (bool, error) {
	heads, err := c.heads.Query(ctx, bson.D{}, ascending("_id"), 1)
	return len(heads) > 0, err
}

// nextPortal returns the first portal behind another, by name, that has settings or a log, or [store.ErrNotFound]. A
// portal is made with settings, so that nobody hides a log by taking its head away.
func (c chains) nextPortal(ctx context.Context, last string) (string, error) {
	behind := bson.D{cond("_id", "$gt", last)}
	heads, err := c.heads.Query(ctx, behind, ascending("_id"), 1)
	if err != nil {
		return "", err
	}
	settings, err := c.settings.Query(ctx, behind, ascending("_id"), 1)
	switch {
	case err != nil:
		return "", err
	case len(heads) == 0 && len(settings) == 0:
		return "", store.ErrNotFound
	case len(heads) == 0 || len(settings) > 0 && settings[0].Portal < heads[0].Portal:
		return settings[0].Portal, nil
	}
	return heads[0].Portal, nil
}

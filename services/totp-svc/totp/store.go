package totp

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/pkg/store"
)

// The two collections. Every operation addresses one document by its _id, which is the person's; no other index is
// needed.
const (
	authenticators = "authenticators"
	recoverySets   = "recovery_sets"
)

// authenticator is all that is kept of a person's authenticator app.
type authenticator struct {
	ID string `bson:"_id"`
	// Person is the newest generation of this person that was heard of. No secret in this document is of a newer one,
	// so that a reset removes what it finds if, and only if, it is the first to raise this.
	Person  int64    `bson:"person"`
	Pending *pending `bson:"pending,omitempty"`
	Active  *active  `bson:"active,omitempty"`
	// Confirmed is the enrolment that was confirmed last; its id begins nothing again, even after a reset.
	Confirmed string `bson:"confirmed,omitempty"`
	// LastStep is the last step of the active secret that was accepted: it and all before it are spent.
	LastStep int64         `bson:"last_step"`
	Guess    lockout.State `bson:"guess"`
	// ToldAt is the LastAt of the lock that was published last.
	ToldAt time.Time `bson:"told_at,omitempty"`
	Drift  *drift    `bson:"drift,omitempty"`
	// Counted and Accepted remember the last calls, by slot.
	Counted  map[string]counted  `bson:"counted,omitempty"`
	Accepted map[string]accepted `bson:"accepted,omitempty"`
	// Unlocked is the unlock that started the count again last.
	Unlocked string `bson:"unlocked,omitempty"`
}

// Credential is a secret of an authenticator app, as it is kept. (The driver sees exported embedded types only.)
type Credential struct {
	Enrolment string `bson:"enrolment"`
	// Seed names this very secret: an update made for one secret never applies to another.
	Seed string `bson:"seed"`
	// Secret is sealed for this person and enrolment.
	Secret []byte         `bson:"secret"`
	Epoch  contract.Epoch `bson:"epoch"`
}

// pending is a secret that waits for its first code.
type pending struct {
	Credential `bson:",inline"`
	Issuer     string    `bson:"issuer"`
	Account    string    `bson:"account"`
	ExpiresAt  time.Time `bson:"expires_at"`
}

// active is the secret that sign-ins are checked against.
type active struct {
	Credential `bson:",inline"`
	Label      string    `bson:"label"`
	Since      time.Time `bson:"since"`
}

// counted is a call whose guess was counted.
type counted struct {
	Call string    `bson:"call"`
	At   time.Time `bson:"at"`
}

// accepted is a call that succeeded.
type accepted struct {
	Call      string `bson:"call"`
	Enrolment string `bson:"enrolment"`
	Step      int64  `bson:"step"`
}

// recoverySet is a person's recovery codes.
type recoverySet struct {
	ID     string `bson:"_id"`
	Person int64  `bson:"person"`
	// Population is the generation in which the set was made: it is as dead in a later one as every enrolment of then.
	Population int64 `bson:"population,omitempty"`
	// Set names the codes that were made together, MadeBy the call that made them.
	Set    string    `bson:"set"`
	MadeBy string    `bson:"made_by"`
	MadeAt time.Time `bson:"made_at,omitempty"`
	// Codes are the hashes of the codes that are left, each with its set, Left how many that are. (The embedded store
	// takes two subdocuments for one when all their values are equal, whatever their keys: the values must differ.)
	Codes    map[string]string   `bson:"codes"`
	Left     int                 `bson:"left"`
	Guess    lockout.State       `bson:"guess"`
	Counted  map[string]counted  `bson:"counted,omitempty"`
	Accepted map[string]recovery `bson:"accepted,omitempty"`
	Unlocked string              `bson:"unlocked,omitempty"`
}

// recovery is a call that spent a code.
type recovery struct {
	Call     string `bson:"call"`
	Recovery string `bson:"recovery"`
	Left     int    `bson:"left"`
}

// counter is what both kinds of documents have in common: a count of guesses that an unlock starts again.
type counter struct {
	Guess    lockout.State `bson:"guess"`
	Unlocked string        `bson:"unlocked"`
}

// state is this service's database.
type state struct {
	authenticators store.Collection[authenticator]
	sets           store.Collection[recoverySet]
	// counters are the same documents, by collection.
	counters map[string]store.Collection[counter]
}

func newState(db *store.DB) state {
	return state{
		authenticators: store.Of[authenticator](db, authenticators),
		sets:           store.Of[recoverySet](db, recoverySets),
		counters: map[string]store.Collection[counter]{
			authenticators: store.Of[counter](db, authenticators), recoverySets: store.Of[counter](db, recoverySets),
		},
	}
}

// keptSealed is where this service keeps what it sealed: the secrets of authenticator apps.
func keptSealed() []store.Sealed {
	return []store.Sealed{store.SealedIn(authenticators, func(a authenticator) (string, []store.SealedValue) {
		var values []store.SealedValue
		portal, user, _ := strings.Cut(a.ID, "/") // a portal's name has no slash
		who := contract.Account{Portal: portal, User: user}
		if p := a.Pending; p != nil {
			values = append(values, store.SealedValue{Field: "pending.secret", Value: p.Secret, Place: place(who, p.Enrolment)})
		}
		if c := a.Active; c != nil {
			values = append(values, store.SealedValue{Field: "active.secret", Value: c.Secret, Place: place(who, c.Enrolment)})
		}
		return a.ID, values
	})}
}

// documentID is the _id of a person's documents. A portal's name has no slash (see checkAccount).
func documentID(who contract.Account) string { return who.Portal + "/" + who.User }

func field(key string, value any) bson.E { return bson.E{Key: key, Value: value} }

func is(operator string, value any) bson.D { return bson.D{field(operator, value)} }

// authenticator reads a person's document; a person without one has an empty one.
func (s state) authenticator(ctx context.Context, id string) (authenticator, error) {
	doc, err := s.authenticators.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return authenticator{}, nil
	}
	return doc, err
}

// guess is one call with a code.
type guess struct {
	id   string // of the document
	call string
	now  time.Time
	// asked is when the call's guess was counted: a call that is repeated later is compared as of then, because against
	// another window the same digits would be another guess, and nobody has counted that.
	asked time.Time
	// first tells that it was counted just now: not by an earlier attempt of the same call.
	first bool
}

// came is what is counted of a guess that came to r: an earlier attempt of the same call has counted it already.
func (g guess) came(r result) result {
	if g.first {
		return r
	}
	return repeated
}

// count are guard and update that count a guess, once per call.
func (g guess) count() (guard, update bson.D) {
	inc, last := store.CountGuess("guess", g.now)
	guard = append(store.GuessGuard("guess", g.now),
		field("counted."+slot(g.call)+".call", is("$ne", g.call)),
		field("accepted."+slot(g.call)+".call", is("$ne", g.call)),
	)
	update = bson.D{
		field("$inc", bson.D{inc}),
		field("$set", bson.D{last, field("counted."+slot(g.call), counted{Call: g.call, At: g.now})}),
	}
	return guard, update
}

// countActive counts a guess at the active secret of an enrolment and returns the document with it. Where that may not
// be, or was done before by the same call, ok is false and the document is the one that says why.
func (s state) countActive(ctx context.Context, g guess, enrolment string) (doc authenticator, ok bool, err error) {
	return s.count(ctx, g, field("active.enrolment", enrolment))
}

// countPending does the same for the pending secret of an enrolment.
func (s state) countPending(ctx context.Context, g guess, enrolment string) (doc authenticator, ok bool, err error) {
	return s.count(ctx, g, field("pending.enrolment", enrolment), field("pending.expires_at", is("$gt", g.now)))
}

func (s state) count(ctx context.Context, g guess, of ...bson.E) (doc authenticator, ok bool, err error) {
	guard, update := g.count()
	doc, err = s.authenticators.Apply(ctx, g.id, store.Change{Guard: append(guard, of...), Update: update})
	if errors.Is(err, store.ErrNotFound) {
		doc, err = s.authenticator(ctx, g.id)
		return doc, false, err
	}
	return doc, err == nil, err
}

// accept spends a step of the active secret and starts the count again. It tells whether it did: the step, or a later
// one, may be spent already, or the secret may be another one now.
func (s state) accept(ctx context.Context, g guess, c Credential, step int64) (bool, error) {
	return s.authenticators.Update(ctx, g.id, store.Change{
		Guard: bson.D{field("active.seed", c.Seed), field("last_step", is("$lt", step))},
		Update: bson.D{
			field("$set", bson.D{
				field("last_step", step), store.ClearGuesses("guess"),
				field("accepted."+slot(g.call), accepted{Call: g.call, Enrolment: c.Enrolment, Step: step}),
			}),
			field("$unset", bson.D{field("drift", "")}),
		},
	})
}

// confirm makes the pending secret the active one, spends the step that confirmed it and starts the count again, with
// the letter that tells of it. It tells whether it did: the pending secret may be another one now, or gone.
func (s state) confirm(ctx context.Context, g guess, a active, step int64, letter bus.Letter) (bool, error) {
	return s.authenticators.Update(ctx, g.id, store.Change{
		Guard: bson.D{field("pending.seed", a.Seed)},
		Update: bson.D{
			field("$set", append(store.Put(letter),
				field("active", a), field("confirmed", a.Enrolment),
				// The steps of another secret say nothing about this one's: set, not raised.
				field("last_step", step), store.ClearGuesses("guess"),
				field("accepted."+slot(g.call), accepted{Call: g.call, Enrolment: a.Enrolment, Step: step}),
			)),
			field("$unset", bson.D{field("pending", ""), field("drift", "")}),
		},
	})
}

// remark is what is remembered of a wrong guess, besides its count.
type remark struct {
	drift *drift
	// lock tells that this guess closed the factor.
	lock *bus.Letter
}

// remark writes what a wrong guess is remembered for, unless the count went on or was cleared meanwhile. A lock is
// told once, whoever tries.
func (s state) remark(ctx context.Context, id string, at lockout.State, r remark) (bool, error) {
	guard := bson.D{field("guess.failures", at.Failures), field("guess.last_at", at.LastAt)}
	var set bson.D
	if r.drift != nil {
		set = append(set, field("drift", *r.drift))
	}
	if r.lock != nil {
		guard = append(guard, field("told_at", is("$ne", at.LastAt)))
		set = append(append(set, field("told_at", at.LastAt)), store.Put(*r.lock)...)
	}
	return s.authenticators.Update(ctx, id, store.Change{Guard: guard, Update: bson.D{field("$set", set)}})
}

// begin puts a pending secret into a person's document, if that is still as it was read. An empty one is created.
func (s state) begin(ctx context.Context, id string, was authenticator, p pending) (bool, error) {
	if was.ID == "" {
		err := s.authenticators.Insert(ctx, authenticator{ID: id, Person: p.Epoch.Person, Pending: &p})
		if errors.Is(err, store.ErrExists) {
			return false, nil
		}
		return err == nil, err
	}
	guard := bson.D{field("person", was.Person), field("confirmed", is("$ne", p.Enrolment))}
	if was.Pending == nil {
		guard = append(guard, field("pending", is("$exists", false)))
	} else {
		guard = append(guard, field("pending.seed", was.Pending.Seed))
	}
	return s.authenticators.Update(ctx, id, store.Change{
		Guard: guard, Update: bson.D{field("$set", bson.D{field("pending", p)})},
	})
}

// adopt makes a secret from elsewhere the active one, with steps up to one spent, if the document is still as it was
// read. What is pending stays, since the person may be at it, unless a reset has killed it. An empty document is created.
func (s state) adopt(ctx context.Context, id string, was authenticator, a active, spent int64) (bool, error) {
	if was.ID == "" {
		err := s.authenticators.Insert(ctx, authenticator{ID: id, Person: a.Epoch.Person, Active: &a, Confirmed: a.Enrolment, LastStep: spent})
		if errors.Is(err, store.ErrExists) {
			return false, nil
		}
		return err == nil, err
	}
	guard := bson.D{field("person", was.Person), field("active", is("$exists", false))}
	if was.Active != nil {
		guard[1] = field("active.seed", was.Active.Seed)
	}
	gone := bson.D{field("drift", "")}
	if was.Person != a.Epoch.Person {
		gone = append(gone, field("pending", ""))
	}
	return s.authenticators.Update(ctx, id, store.Change{Guard: guard, Update: bson.D{
		field("$set", bson.D{
			field("person", a.Epoch.Person), field("active", a), field("confirmed", a.Enrolment), field("last_step", spent), store.ClearGuesses("guess"),
		}),
		field("$unset", gone),
	}})
}

// reset raises a person's generation: secrets of earlier ones are removed and the counts start again, exactly once.
// It tells whether an authenticator's document was changed. A generation that is known already changes nothing.
func (s state) reset(ctx context.Context, id string, person int64) (bool, error) {
	removed, err := s.authenticators.Update(ctx, id, store.Change{
		Guard: bson.D{field("person", is("$lt", person))},
		Update: bson.D{
			field("$set", bson.D{field("person", person), store.ClearGuesses("guess")}),
			field("$unset", bson.D{field("active", ""), field("pending", ""), field("drift", "")}),
		},
	})
	if err != nil {
		return false, err
	}
	// Guesses at recovery codes are counted whether there are any or not: a set that begins to be kept later must know
	// of this generation, or the event, delivered again, would lower a count that it does not mean.
	raise := store.Change{
		Guard:  bson.D{field("person", is("$lt", person))},
		Update: bson.D{field("$set", bson.D{field("person", person), store.ClearGuesses("guess")})},
	}
	if ok, err := s.sets.Update(ctx, id, raise); ok || err != nil {
		return removed, err
	}
	if err = s.sets.Insert(ctx, recoverySet{ID: id, Person: person}); errors.Is(err, store.ErrExists) {
		_, err = s.sets.Update(ctx, id, raise) // it may have been created between the two
	}
	return removed, err
}

// recoverySet reads a person's recovery codes; a person without any has an empty set.
func (s state) recoverySet(ctx context.Context, id string) (recoverySet, error) {
	doc, err := s.sets.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return recoverySet{}, nil
	}
	return doc, err
}

// countRecovery counts a guess at a recovery code, whether there are any or not, and returns the document with it.
// Where that may not be, or was done before by the same call, ok is false and the document is the one that says why.
func (s state) countRecovery(ctx context.Context, g guess) (doc recoverySet, ok bool, err error) {
	guard, update := g.count()
	doc, err = s.sets.Apply(ctx, g.id, store.Change{Guard: guard, Update: withPerson(update), Upsert: true})
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
		doc, err = s.recoverySet(ctx, g.id)
		return doc, false, err
	}
	return doc, err == nil, err
}

// withPerson makes sure that an update that creates a recovery set gives it the fields that guards compare.
func withPerson(update bson.D) bson.D {
	for i, e := range update {
		if inc, ok := e.Value.(bson.D); ok && e.Key == "$inc" {
			update[i].Value = append(inc, field("person", 0))
		}
	}
	return update
}

// spend takes one code out of a set and starts the count again, with the letter that tells of it. It tells whether it
// did: the code may be spent, or another one of the set, or the set may have been replaced.
func (s state) spend(ctx context.Context, g guess, was recoverySet, hash string, r recovery, letter bus.Letter) (bool, error) {
	return s.sets.Update(ctx, g.id, store.Change{
		Guard: bson.D{field("codes."+hash, was.Set), field("left", was.Left)},
		Update: bson.D{
			field("$set", append(store.Put(letter),
				field("left", r.Left), field("accepted."+slot(g.call), r), store.ClearGuesses("guess"),
			)),
			field("$unset", bson.D{field("codes."+hash, "")}),
		},
	})
}

// replaceSet kills a person's recovery codes and puts others of this population generation in their place, once per call;
// the count stays. It tells whether it did.
func (s state) replaceSet(ctx context.Context, g guess, population int64, set string, hashes []string) (bool, error) {
	codes := make(map[string]string, len(hashes))
	for _, h := range hashes {
		codes[h] = set
	}
	ok, err := s.sets.Update(ctx, g.id, store.Change{
		Guard: bson.D{field("made_by", is("$ne", g.call))},
		Update: bson.D{
			field("$set", bson.D{
				field("set", set), field("population", population), field("made_by", g.call), field("made_at", g.now),
				field("codes", codes), field("left", len(codes)),
			}),
			// Nothing is added; a new document gets the fields that guards compare.
			field("$inc", bson.D{field("guess.failures", 0), field("person", 0)}),
		},
		Upsert: true,
	})
	if errors.Is(err, store.ErrExists) {
		return false, nil
	}
	return ok, err
}

// dropSet kills the recovery codes that were made until a time; what was made later stays.
func (s state) dropSet(ctx context.Context, id string, until time.Time) error {
	_, err := s.sets.Update(ctx, id, store.Change{
		Guard: bson.D{field("made_at", is("$not", is("$gt", until)))},
		Update: bson.D{
			field("$set", bson.D{field("set", ""), field("left", 0)}),
			field("$unset", bson.D{field("codes", "")}),
		},
	})
	return err
}

// counter reads the count of a person's document; who has none never guessed.
func (s state) counter(ctx context.Context, collection, id string) (counter, error) {
	c, err := s.counters[collection].Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return counter{}, nil
	}
	return c, err
}

// unlock starts a count again if it still stands as it was read, with the letters that tell of it. It tells whether it
// did: a guess that was counted meanwhile is not taken back. What codes are spent is another matter and stays.
func (s state) unlock(ctx context.Context, collection, id, unlock string, was lockout.State, letters ...bus.Letter) (bool, error) {
	return s.counters[collection].Update(ctx, id, store.Change{
		Guard: bson.D{
			field("guess.failures", was.Failures), field("guess.last_at", was.LastAt), field("unlocked", is("$ne", unlock)),
		},
		Update: bson.D{
			field("$set", append(store.Put(letters...), store.ClearGuesses("guess"), field("unlocked", unlock))),
			field("$unset", bson.D{field("drift", "")}),
		},
	})
}

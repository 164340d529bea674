package attack

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// row is a document of any service, with the parts of a factor apart.
type row struct {
	ID      string         `bson:"_id"`
	Active  map[string]any `bson:"active,omitempty"`
	Pending map[string]any `bson:"pending,omitempty"`
	Rest    map[string]any `bson:",inline"`
}

// rows are a collection in the hands of somebody who can write to the store, and has no keys.
type rows struct{ store.Collection[row] }

func (h *house) rows(service contract.Service, collection string) rows {
	return rows{store.Of[row](h.store(service), collection)}
}

func (r rows) read(t testing.TB, id string) row {
	t.Helper()
	d, err := r.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r rows) write(t testing.TB, d row) {
	t.Helper()
	if err := r.Delete(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Insert(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// with returns a copy of some fields with others in their place.
func with(fields map[string]any, from map[string]any, names ...string) map[string]any {
	out := maps.Clone(fields)
	for _, n := range names {
		out[n] = from[n]
	}
	return out
}

// rowID is the _id of what is kept of a person.
func (p *person) rowID() string { return p.account().Portal + "/" + p.user }

// TestRule01ASeedThatWasMovedDoesNotOpen moves sealed seeds between people, enrolments and fields of the store, and signs
// in with the app they belong to. A seed opens where it was sealed, and nowhere else.
func TestRule01ASeedThatWasMovedDoesNotOpen(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	victim, mallory := people[0], people[1]
	victims := victim.enrol(t)
	mallorys := mallory.enrol(t)
	h.Clock.Add(2 * sut.Step)
	docs := h.rows(contract.TOTP, "authenticators")
	theirs, own := docs.read(t, victim.rowID()), docs.read(t, mallory.rowID())
	another := sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", victims, nil)).Key
	pending := docs.read(t, victim.rowID())
	for what, c := range map[string]struct {
		forged row
		key    string
	}{
		"the other's factor":                         {row{theirs.ID, own.Active, nil, theirs.Rest}, mallory.key},
		"the other's secret":                         {row{theirs.ID, with(theirs.Active, own.Active, "secret"), nil, theirs.Rest}, mallory.key},
		"the other's secret under its name":          {row{theirs.ID, with(theirs.Active, own.Active, "secret", "seed"), nil, theirs.Rest}, mallory.key},
		"the other's factor under this enrolment":    {row{theirs.ID, with(own.Active, theirs.Active, "enrolment"), nil, theirs.Rest}, mallory.key},
		"the other's whole document":                 {row{theirs.ID, own.Active, nil, own.Rest}, mallory.key},
		"the person's own, of an app that was begun": {row{theirs.ID, with(theirs.Active, pending.Pending, "secret"), nil, theirs.Rest}, another},
	} {
		docs.write(t, c.forged)
		s := victim.begin(t)
		for at, door := range map[string]try{"API": h.verifyDoor(t, s), "page": h.verifyPage(t, s), "step-up": h.stepUpDoor(t, victims)} {
			if a := door(h.appCode(t, c.key, 0)); verdict(a) == in {
				t.Errorf("%s, at the %s: %s", what, at, a)
			}
		}
		if a := h.verifyDoor(t, s)(h.appCode(t, victim.key, 0)); verdict(a) == in {
			t.Errorf("%s: the victim's app opens what is not its seed", what)
		}
	}
	// One that waits for its first code.
	sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", mallorys, nil))
	begun := docs.read(t, mallory.rowID())
	for what, from := range map[string]map[string]any{"a seed that was begun": begun.Pending, "a seed in use": own.Active} {
		docs.write(t, row{theirs.ID, theirs.Active, with(pending.Pending, from, "secret"), theirs.Rest})
		if a := h.replaceDoor(t, victims)(h.appCode(t, mallory.key, 0)); verdict(a) == in {
			t.Errorf("%s of another is confirmed: %s", what, a)
		}
		if a := h.post(t, "/v1/account/factors/totp", victims, nil); a.Status < 300 {
			t.Errorf("%s of another is shown: %s", what, a)
		}
	}
	docs.write(t, theirs)
	victim.last = 0
	victim.signIn(t)
}

// TestRule01ANumberThatWasMovedGetsNoText moves sealed numbers and codes between people: no text goes to the wrong phone,
// and no code opens another's door.
func TestRule01ANumberThatWasMovedGetsNoText(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Organization, 2)
	victim, mallory := people[0], people[1]
	victim.enrol(t)
	mallory.enrol(t)
	phones := h.rows(contract.SMSDispatcher, "phones")
	theirs, own := phones.read(t, victim.rowID()), phones.read(t, mallory.rowID())
	for what, forged := range map[string]row{
		"the other's factor":                      {theirs.ID, own.Active, nil, theirs.Rest},
		"the other's number":                      {theirs.ID, with(theirs.Active, own.Active, "phone"), nil, theirs.Rest},
		"the other's number under this enrolment": {theirs.ID, with(own.Active, theirs.Active, "enrolment", "ref"), nil, theirs.Rest},
	} {
		phones.write(t, forged)
		before, others := len(h.inbox.Messages(victim.phone)), len(h.inbox.Messages(mallory.phone))
		a := h.post(t, "/v1/sign-ins", "", victim.credentials())
		if a.Status < 400 {
			t.Errorf("%s: a text is on its way: %s", what, a)
		}
		// A text of the product's own to somebody else comes after whatever this one sent.
		h.Clock.Add(10 * time.Minute)
		mallory.signIn(t)
		if n := len(h.inbox.Messages(mallory.phone)); n != others+1 {
			t.Errorf("%s: %d texts more went to the other's telephone, want only their own", what, n-others)
		}
		if n := len(h.inbox.Messages(victim.phone)); n != before {
			t.Errorf("%s: a text went to the person's telephone, which the record does not name any more", what)
		}
	}
	phones.write(t, theirs)
	h.Clock.Add(time.Hour)
	victim.signIn(t)

	var (
		s, mallorys  sut.SignIn
		code, others string
	)
	for code == others { // one of a million is the other's, too
		h.Clock.Add(time.Hour)
		s, code = victim.beginText(t)
		mallorys, others = mallory.beginText(t)
	}
	challenges := h.rows(contract.SMSDispatcher, "challenges")
	yours, mine := challenges.read(t, h.challengeOf(t, s)), challenges.read(t, h.challengeOf(t, mallorys))
	challenges.write(t, row{ID: yours.ID, Rest: with(yours.Rest, mine.Rest, "code")})
	for _, c := range []string{code, others} {
		if v := verdict(h.verifyDoor(t, s)(c)); v == in {
			t.Errorf("a code that was moved opens a door")
		}
	}
	challenges.write(t, yours)
	if v := verdict(h.verifyDoor(t, s)(code)); v != in {
		t.Errorf("the victim's own code, when all is as it was: %s", v)
	}
}

// challengeOf is the text message that a sign-in waits for.
func (h *house) challengeOf(t testing.TB, s sut.SignIn) string {
	t.Helper()
	type signIn struct {
		Challenge string `json:"challenge"`
	}
	kv, err := bus.OpenKV[signIn](t.Context(), h.Bus(contract.AuthGateway), contract.SignIns)
	if err != nil {
		t.Fatal(err)
	}
	is, _, err := kv.Get(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	return is.Challenge
}

// TestRule01RecoveryCodesThatWereMovedAreNobodys moves the hashes of recovery codes to somebody else's set.
func TestRule01RecoveryCodesThatWereMovedAreNobodys(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	victim, mallory := people[0], people[1]
	own := victim.recoveryCodes(t, victim.enrol(t))
	stolen := mallory.recoveryCodes(t, mallory.enrol(t))
	sets := h.rows(contract.TOTP, "recovery_sets")
	theirs, mine := sets.read(t, victim.rowID()), sets.read(t, mallory.rowID())
	for what, fields := range map[string][]string{"hashes": {"codes"}, "hashes and the set's name": {"codes", "set"}, "all": {"codes", "set", "made_by", "left", "person"}} {
		sets.write(t, row{ID: theirs.ID, Rest: with(theirs.Rest, mine.Rest, fields...)})
		if a := h.recoverDoor(t, victim.begin(t))(stolen[0]); verdict(a) != wrongCode {
			t.Errorf("%s moved: %s", what, a)
		}
	}
	sets.write(t, theirs)
	if v := verdict(h.recoverDoor(t, victim.begin(t))(own[0])); v != in {
		t.Errorf("the victim's own code, when all is as it was: %s", v)
	}
}

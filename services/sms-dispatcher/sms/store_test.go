package sms

import (
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sallyport/pkg/contract"
)

// Each query of records that is not by _id is one run of one of these.
func TestB35EachListHasItsIndex(t *testing.T) {
	w := newWorld(t)
	client, err := mongo.Connect(options.Client().ApplyURI(w.StoreURI))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context()) //nolint:errcheck // nothing was written
	db := client.Database(w.Env(contract.SMSDispatcher, nil).Vars["MONGODB_DATABASE"])
	for collection, want := range map[string][][]string{
		challengesName: {{"portal", "order"}, {"portal", "user", "order"}, {"due"}},
		metersName:     {{"used"}},
		trafficName:    {{"portal", "country"}, {"stopped_until"}},
	} {
		indexes, err := db.Collection(collection).Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got [][]string
		for _, i := range indexes {
			var keys bson.D
			if err := bson.Unmarshal(i.KeysDocument, &keys); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, k := range keys {
				names = append(names, k.Key)
			}
			got = append(got, names)
		}
		for _, keys := range want {
			if !slices.ContainsFunc(got, func(g []string) bool { return slices.Equal(g, keys) }) {
				t.Errorf("%s has no index on %v, only %v", collection, keys, got)
			}
		}
	}
}

// meterIDs are the names of all meters.
func meterIDs(t *testing.T, r *records) []string {
	t.Helper()
	all, err := r.meters.Docs.Query(t.Context(), bson.D{}, bson.D{{Key: "_id", Value: 1}}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range all {
		out = append(out, m.ID)
	}
	return out
}

// Whether a code is typed before, while or after its text's outcome is written: the challenge is due at once then, and
// half a minute later otherwise. Nobody's texts count as unanswered for minutes because the answer came fast.
func TestATypedCodeIsDueAtOnce(t *testing.T) {
	w := newWorld(t)
	ctx, now := t.Context(), asKept(w.Clock.Now())
	later := now.Add(time.Second)
	sent := func(c challenge) error {
		ok, err := w.records.end(ctx, c, ending{outcome: contract.OutcomeSent, messageID: "m1"}, later)
		if err == nil && !ok {
			t.Error("the outcome was not written")
		}
		return err
	}
	typed := func(c challenge) error {
		ok, err := w.records.claim(ctx, c, "call", later)
		if err == nil && !ok {
			t.Error("the code was not taken")
		}
		return err
	}
	for name, steps := range map[string][]func(challenge) error{"never": {sent}, "before": {typed, sent}, "after": {sent, typed}} {
		c := challenge{ID: name, Portal: "northwind", User: "u1", State: queued, LeaseUntil: now, CreatedAt: now, ExpiresAt: now.Add(codeLife), Due: now.Add(grace)}
		if _, _, err := w.records.open(ctx, c); err != nil {
			t.Fatal(err)
		}
		reserved, ok, err := w.records.reserve(ctx, c, "worker", true, now)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		for _, step := range steps { // each knows the challenge as it was reserved
			if err := step(reserved); err != nil {
				t.Fatal(err)
			}
		}
		got, err := w.records.challenges.Get(ctx, name)
		want := later
		if name == "never" {
			want = later.Add(tellAgain)
		}
		if err != nil || got.State != state(contract.OutcomeSent) || !got.Due.Equal(want) {
			t.Errorf("%s: %s, due %v, want %v (%v)", name, got.State, got.Due, want, err)
		}
	}
}

// A code that runs out while it is compared, as another replica's clock may say, is not taken.
func TestAnExpiredCodeIsNotTaken(t *testing.T) {
	w := newWorld(t)
	ctx, now := t.Context(), asKept(w.Clock.Now())
	c, _, err := w.records.open(ctx, challenge{ID: "c1", Portal: "northwind", User: "u1", State: queued, CreatedAt: now, ExpiresAt: now.Add(codeLife), Due: now.Add(grace)})
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{codeLife, codeLife + time.Hour} {
		if ok, err := w.records.claim(ctx, c, "late", now.Add(after)); err != nil || ok {
			t.Errorf("%v after it was made: taken %t, %v", after, ok, err)
		}
	}
	if ok, err := w.records.claim(ctx, c, "in time", now.Add(codeLife-time.Millisecond)); err != nil || !ok {
		t.Errorf("in its last moment: taken %t, %v", ok, err)
	}
}

package sms

import (
	"slices"
	"testing"

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

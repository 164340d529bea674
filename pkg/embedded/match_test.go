package embedded

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/FerretDB/wire/wirebson"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"pgregory.net/rapid"
)

// wireDocument is a document as it comes from the wire: nested ones are still encoded.
func wireDocument(tb rapid.TB, doc bson.D) *wirebson.Document {
	tb.Helper()
	raw, err := bson.Marshal(doc)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := wirebson.RawDocument(raw).Decode()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// TestMatches states what MongoDB answers where it is easy to think otherwise.
func TestMatches(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)
	id := bson.ObjectID{1, 2, 3}
	nan := math.NaN()
	const yes, no, unsure = "yes", "no", "unsure"
	tests := []struct {
		doc, filter bson.D
		want        string
	}{
		// A missing field.
		{d(), d(), yes},
		{d(), d("a", 1), no},
		{d(), d("a", nil), yes},
		{d(), d("a", d("$eq", nil)), yes},
		{d(), d("a", d("$ne", nil)), no},
		{d(), d("a", d("$ne", 1)), yes},
		{d(), d("a", d("$in", bson.A{1, nil})), yes},
		{d(), d("a", d("$nin", bson.A{1, nil})), no},
		{d(), d("a", d("$nin", bson.A{1})), yes},
		{d(), d("a", d("$in", bson.A{})), no},
		{d(), d("a", d("$nin", bson.A{})), yes},
		{d(), d("a", d("$lt", 1)), no},
		{d(), d("a", d("$gte", 1)), no},
		{d(), d("a", d("$lte", nil)), yes},
		{d(), d("a", d("$gte", nil)), yes},
		{d(), d("a", d("$lt", nil)), no},
		{d(), d("a", d("$gt", nil)), no},
		{d(), d("a", d("$not", d("$gte", 1))), yes},
		{d(), d("a", d("$exists", false)), yes},
		{d(), d("a", d("$exists", true)), no},
		{d(), d("a", bson.D{}), no},

		// A field that is null.
		{d("a", nil), d("a", nil), yes},
		{d("a", nil), d("a", d("$exists", true)), yes},
		{d("a", nil), d("a", d("$exists", false)), no},
		{d("a", nil), d("a", d("$ne", nil)), no},
		{d("a", nil), d("a", d("$lte", nil)), yes},
		{d("a", nil), d("a", d("$lt", 1)), no},
		{d("a", nil), d("a", false), no},
		{d("a", 0), d("a", nil), no},

		// Types compare with themselves alone.
		{d("a", "5"), d("a", d("$gt", 1)), no},
		{d("a", "5"), d("a", d("$lt", 1)), no},
		{d("a", "5"), d("a", d("$not", d("$lt", 1))), yes},
		{d("a", 5), d("a", d("$lt", "z")), no},
		{d("a", 5), d("a", d("$lt", now)), no},
		{d("a", 5), d("a", d("$gt", false)), no},
		{d("a", true), d("a", 1), no},
		{d("a", true), d("a", d("$gt", false)), yes},
		{d("a", false), d("a", d("$gte", true)), no},
		{d("a", id), d("a", id.Hex()), no},
		{d("a", id), d("a", d("$lte", id)), yes},
		{d("a", id), d("a", d("$lt", bson.ObjectID{1, 3})), yes},
		{d("a", now), d("a", d("$lte", now)), yes},
		{d("a", now), d("a", d("$lt", now)), no},
		{d("a", now), d("a", d("$gt", now.Add(-time.Millisecond))), yes},
		{d("a", now), d("a", now.Add(999*time.Microsecond)), yes},
		{d("a", now), d("a", now.UnixMilli()), no},
		{d("a", "a"), d("a", d("$gt", "B")), yes},
		{d("a", "ab"), d("a", d("$gt", "a")), yes},
		{d("a", "é"), d("a", d("$gt", "z")), yes},
		{d("a", []byte{1, 0}), d("a", []byte{1, 0}), yes},
		{d("a", []byte{1, 0}), d("a", []byte{1}), no},
		{d("a", bson.Binary{Subtype: 4, Data: []byte{1}}), d("a", []byte{1}), no},
		{d("a", []byte{1}), d("a", "\x01"), no},

		// Numbers compare by value.
		{d("a", int32(5)), d("a", int64(5)), yes},
		{d("a", int64(5)), d("a", 5.0), yes},
		{d("a", 5.0), d("a", int32(5)), yes},
		{d("a", 5.5), d("a", d("$gt", int32(5), "$lt", int64(6))), yes},
		{d("a", -5.5), d("a", d("$lt", int32(-5), "$gt", int64(-6))), yes},
		{d("a", 5), d("a", d("$in", bson.A{4.0, 5.0})), yes},
		{d("a", math.Copysign(0, -1)), d("a", 0), yes},
		{d("a", int64(1<<53+1)), d("a", float64(1<<53)), no},
		{d("a", int64(1<<53+1)), d("a", d("$gt", float64(1<<53))), yes},
		{d("a", int64(math.MaxInt64)), d("a", float64(1<<63)), no},
		{d("a", int64(math.MaxInt64)), d("a", d("$lt", float64(1<<63))), yes},
		{d("a", int64(math.MinInt64)), d("a", float64(-1<<63)), yes},
		{d("a", int64(math.MinInt64)), d("a", d("$gt", -1e30)), yes},
		{d("a", math.Inf(1)), d("a", d("$gt", int64(math.MaxInt64))), yes},
		{d("a", math.Inf(-1)), d("a", d("$lt", int64(math.MinInt64))), yes},
		{d("a", nan), d("a", nan), yes},
		{d("a", nan), d("a", d("$lte", nan)), yes},
		{d("a", nan), d("a", d("$lt", nan)), no},
		{d("a", nan), d("a", d("$lt", 1)), no},
		{d("a", nan), d("a", d("$gte", 1.5)), no},
		{d("a", nan), d("a", d("$ne", 1)), yes},
		{d("a", 1), d("a", d("$lt", nan)), no},
		{d("a", 1.5), d("a", d("$gte", nan)), no},
		{d("a", 1.5), d("a", d("$lte", nan)), no},
		{d("a", 1), d("a", d("$not", d("$gte", nan))), yes},
		{d("a", 1), d("a", d("$in", bson.A{nan})), no},

		// Documents are equal field by field, in order.
		{d("a", d("b", 1, "c", 2)), d("a", d("b", 1, "c", 2)), yes},
		{d("a", d("b", 1, "c", 2)), d("a", d("b", 1.0, "c", int64(2))), yes},
		{d("a", d("b", 1, "c", 2)), d("a", d("c", 2, "b", 1)), no},
		{d("a", d("b", 1, "c", 2)), d("a", d("b", 1)), no},
		{d("a", d("b", d("c", nil))), d("a", d("b", d("c", nil))), yes},
		{d("a", d("b", nil)), d("a", bson.D{}), no},
		{d("a", bson.D{}), d("a", bson.D{}), yes},
		{d("a", d("b", 1)), d("a", d("$ne", d("b", 2))), yes},
		{d("a", d("b", 1)), d("a", d("$nin", bson.A{d("b", 1)})), no},
		{d("a", d("b", 1)), d("a", d("$gt", 0)), no},
		{d("a", d("b", 1)), d("a", nil), no},

		// Paths.
		{d("a", d("b", d("c", 1))), d("a.b.c", 1), yes},
		{d("a", d("b", d("c", 1))), d("a.b", d("c", 1)), yes},
		{d("a", d("b", 1)), d("a.c", nil), yes},
		{d("a", 5), d("a.b", nil), yes},
		{d("a", 5), d("a.b", d("$exists", false)), yes},
		{d("a", 5), d("a.b", d("$ne", 5)), yes},
		{d("a", 5), d("a.b", 5), no},
		{d("a", nil), d("a.b", nil), yes},
		{d("a", d("0", 1)), d("a.0", 1), yes},

		// Together.
		{d("a", 1, "b", 2), d("a", 1, "b", 3), no},
		{d("a", 1, "b", 2), d("$or", bson.A{d("a", 2), d("b", 2)}), yes},
		{d("a", 1, "b", 2), d("$nor", bson.A{d("a", 2), d("b", 3)}), yes},
		{d("a", 1, "b", 2), d("$nor", bson.A{d("a", 2), d("b", 2)}), no},
		{d("a", 1, "b", 2), d("$and", bson.A{d("a", 1), d("$or", bson.A{d("b", 1)})}), no},
		{d("a", 1), d("$and", bson.A{bson.D{}}), yes},
		{d("a", 5), d("a", d("$not", d("$gte", 1, "$lt", 5))), yes},
		{d("a", 4), d("a", d("$not", d("$gte", 1, "$lt", 5))), no},
		{d("a", 4), d("a", d("$not", d("$not", d("$gt", 1)))), yes},

		// Arrays: MongoDB looks into them, except to see whether they are there.
		{d("a", bson.A{1}), d("a", d("$exists", true)), yes},
		{d("a", bson.A{1}), d("a", 1), unsure},
		{d("a", bson.A{1}), d("a", d("$ne", 1)), unsure},
		{d("a", bson.A{1}), d("a", nil), unsure},
		{d("a", bson.A{1}), d("a.0", d("$exists", true)), unsure},
		{d("a", bson.A{d("b", 1)}), d("a.b", 1), unsure},
		{d("a", 1), d("a", bson.A{1}), unsure},
		{d("a", 1), d("a", d("$in", bson.A{bson.A{1}})), unsure},
		{d("a", 1), d("a", d("$in", bson.A{1, bson.Regex{Pattern: "x"}})), unsure},
		{d("a", d("b", bson.A{1})), d("a", d("b", bson.A{1})), unsure},
		{d("b", bson.A{1}, "a", 1), d("a", 1), yes},

		// Not for the matcher, whatever else holds.
		{d("a", 1), d("a", d("$type", "int")), unsure},
		{d("a", 1), d("a", d("$gt", 1, "$mod", bson.A{2, 1})), unsure},
		{d("a", 1), d("$or", bson.A{d("a", 1), d("a", d("$size", 1))}), unsure},
		{d("a", 1), d("$and", bson.A{d("a", 2), d("a", d("$foo", 1))}), unsure},
		{d("a", 1), d("$expr", true), unsure},
		{d("a", 1), d("$comment", "x"), unsure},
		{d("a", 1), d("$or", bson.A{}), unsure},
		{d("a", 1), d("$or", 1), unsure},
		{d("a", 1), d("$or", bson.A{1}), unsure},
		{d("a", 1), d("a", d("$in", 1)), unsure},
		{d("a", 1), d("a", d("$exists", 1)), unsure},
		{d("a", 1), d("a", d("$not", bson.D{})), unsure},
		{d("a", 1), d("a", d("$not", 1)), unsure},
		{d("a", 1), d("a", d("$not", d("b", 1))), unsure},
		{d("a", 1), d("a", d("$eq", 1, "b", 1)), unsure},
		{d("a", 1), d("a", d("b", 1, "$eq", 1)), unsure},
		{d("a", 1), d("a", d("$eq", d("$gt", 1))), unsure},
		{d("a", 1), d("a", bson.Regex{Pattern: "1"}), unsure},
		{d("a", 1), d("a", d("$lt", d("b", 1))), unsure},
		{d("a", []byte{1}), d("a", d("$lt", []byte{2})), unsure},
		{d("a", bson.Timestamp{T: 1}), d("a", d("$ne", 1)), unsure},
		{d("a", 1), d("a", d("$lt", bson.Timestamp{T: 1})), unsure},
		{d("a", 1), d("a..b", 1), unsure},
		{d("a", 1), d("a.$", 1), unsure},
		{d("a", 1), d("", 1), unsure},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.doc, tt.filter), func(t *testing.T) {
			met, sure := matches(wireDocument(t, tt.doc), wireDocument(t, tt.filter))
			got := no
			switch {
			case !sure:
				got = unsure
			case met:
				got = yes
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// anyValue draws values that are often equal to each other. NaN and infinity are not among them: the store refuses them
// in documents, and fails on comparing NaN.
func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		last := 9
		if depth > 0 {
			last = 11
		}
		switch rapid.IntRange(0, last).Draw(t, "kind") {
		case 0:
			return rapid.Int32Range(-1, 2).Draw(t, "int32")
		case 1:
			return rapid.SampledFrom([]int64{-1, 0, 1, 2, 1<<53 + 1, math.MaxInt64, math.MinInt64}).Draw(t, "int64")
		case 2:
			return rapid.SampledFrom([]float64{-1, 0, 1, 1.5, 2, 1 << 53, 1 << 63, -1 << 63}).Draw(t, "double")
		case 3:
			return rapid.SampledFrom([]string{"", "a", "b", "ab", "é", "1"}).Draw(t, "string")
		case 4:
			return rapid.Bool().Draw(t, "bool")
		case 5:
			return bson.DateTime(rapid.Int64Range(-1, 2).Draw(t, "time"))
		case 6:
			return bson.Binary{Subtype: rapid.SampledFrom([]byte{0, 4}).Draw(t, "subtype"), Data: rapid.SampledFrom([][]byte{{}, {1}, {1, 0}}).Draw(t, "data")}
		case 7:
			return bson.ObjectID{rapid.ByteRange(0, 2).Draw(t, "id")}
		case 8, 9:
			return nil
		default:
			return anyDocument(depth-1).Draw(t, "document")
		}
	})
}

func anyDocument(depth int) *rapid.Generator[bson.D] {
	return rapid.Custom(func(t *rapid.T) bson.D {
		doc := bson.D{}
		for _, name := range rapid.Permutation([]string{"a", "b", "0"}).Draw(t, "names") {
			if rapid.Bool().Draw(t, "there") {
				doc = append(doc, bson.E{Key: name, Value: anyValue(depth).Draw(t, name)})
			}
		}
		return doc
	})
}

var anyPath = rapid.SampledFrom([]string{"a", "b", "0", "a.a", "a.b", "b.0", "a.a.b", "b.b.b"})

// anyConditions draws filters of the set that the matcher judges.
func anyConditions(depth int) *rapid.Generator[bson.D] {
	return rapid.Custom(func(t *rapid.T) bson.D {
		filter := bson.D{}
		for _, path := range rapid.SliceOfNDistinct(anyPath, 0, 2, rapid.ID).Draw(t, "paths") {
			var v any
			if rapid.Bool().Draw(t, "operators") {
				v = anyOperators(2).Draw(t, "operators")
			} else {
				v = anyValue(1).Draw(t, "value")
			}
			filter = append(filter, bson.E{Key: path, Value: v})
		}
		if depth > 0 && rapid.Bool().Draw(t, "logical") {
			name := rapid.SampledFrom([]string{"$and", "$or", "$nor"}).Draw(t, "logical")
			list := bson.A{}
			for _, f := range rapid.SliceOfN(anyConditions(depth-1), 1, 3).Draw(t, "clauses") {
				list = append(list, f)
			}
			filter = append(filter, bson.E{Key: name, Value: list})
		}
		return filter
	})
}

func anyOperators(depth int) *rapid.Generator[bson.D] {
	return rapid.Custom(func(t *rapid.T) bson.D {
		names := []string{"$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin", "$exists", "$not"}
		if depth == 0 {
			names = names[:9]
		}
		drawn := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 2, rapid.ID).Draw(t, "names")
		operators := bson.D{}
		for _, name := range drawn {
			var v any
			switch name {
			case "$exists":
				v = rapid.Bool().Draw(t, name)
			case "$in", "$nin":
				v = bson.A(rapid.SliceOfN(anyValue(1), 0, 3).Draw(t, name))
			case "$not":
				v = anyOperators(depth-1).Draw(t, name)
			case "$lt", "$lte", "$gt", "$gte":
				v = anyValue(0).Filter(func(v any) bool { _, ok := v.(bson.Binary); return !ok }).Draw(t, name)
			default: // beside $eq and $ne of a document the store forgets the other operators
				v = anyValue(2-len(drawn)).Draw(t, name)
			}
			operators = append(operators, bson.E{Key: name, Value: v})
		}
		return operators
	})
}

// TestMatchesAsTheStoreDoes lets the store's own filter judge the same documents.
func TestMatchesAsTheStoreDoes(t *testing.T) {
	things := connect(t, startTestStore(t, t.TempDir()).URI()).Database("match").Collection("things")
	yes, all := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		doc, filter := anyDocument(2).Draw(rt, "document"), anyConditions(2).Draw(rt, "filter")
		if _, err := things.ReplaceOne(t.Context(), d("_id", 1), append(d("_id", 1), doc...), options.Replace().SetUpsert(true)); err != nil {
			rt.Fatal(err)
		}
		err := things.FindOne(t.Context(), filter).Err()
		if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
			rt.Fatal(err)
		}
		met, sure := matches(wireDocument(rt, doc), wireDocument(rt, filter))
		if !sure || met != (err == nil) {
			rt.Fatalf("document %v, filter %v: met %v, sure %v; the store: %v", doc, filter, met, sure, err == nil)
		}
		all++
		if met {
			yes++
		}
	})
	if yes < all/20 || yes > all*19/20 {
		t.Errorf("%d of %d drawn filters match: this tests too little", yes, all)
	}
}

// TestPullsMoreThanABatch removes more elements than the store answers at once.
func TestPullsMoreThanABatch(t *testing.T) {
	things := connect(t, startTestStore(t, t.TempDir()).URI()).Database("db").Collection("things")
	var elements bson.A
	for i := range 450 {
		elements = append(elements, d("n", i%2, "i", i))
	}
	if _, err := things.InsertOne(t.Context(), d("_id", "a", "l", elements)); err != nil {
		t.Fatal(err)
	}
	if _, err := things.UpdateOne(t.Context(), d("_id", "a"), d("$pull", d("l", d("n", 0)))); err != nil {
		t.Fatal(err)
	}
	var doc struct{ L []struct{ N, I int } }
	if err := things.FindOne(t.Context(), d("_id", "a")).Decode(&doc); err != nil || len(doc.L) != 225 {
		t.Fatalf("%d elements are left, %v; want 225", len(doc.L), err)
	}
	for i, e := range doc.L {
		if e.N != 1 || e.I != 2*i+1 {
			t.Errorf("element %d is %+v", i, e)
		}
	}
}

package embedded

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/FerretDB/wire/wirebson"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"pgregory.net/rapid"
)

// startPlain starts a second front on the same store that leaves every list to it.
func startPlain(tb testing.TB, s *Store) (uri string) {
	tb.Helper()
	l, err := listen("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	f := &front{dir: s.front.dir, backend: s.front.backend, log: s.front.log, l: l, clients: map[net.Conn]bool{}, plain: true}
	f.wg.Add(1)
	go f.serve()
	tb.Cleanup(func() { _ = f.close(context.Background()) })
	return "mongodb://" + l.Addr().String() + "/?directConnection=true&retryWrites=false"
}

// commandOf is a command as the front reads it.
func commandOf(tb rapid.TB, db string, doc bson.D) (command, []byte) {
	tb.Helper()
	raw, err := bson.Marshal(append(slices.Clone(doc), bson.E{Key: "$db", Value: db}))
	if err != nil {
		tb.Fatal(err)
	}
	asked, err := wirebson.RawDocument(raw).Decode()
	if err != nil {
		tb.Fatal(err)
	}
	frame, err := newFrame(1, 0, asked)
	if err != nil {
		tb.Fatal(err)
	}
	cmd, err := parseCommand(frame)
	if err != nil {
		tb.Fatal(err)
	}
	return cmd, frame
}

// listed tells whether the front answers the command itself.
func listed(tb rapid.TB, s *Store, db string, command bson.D) bool {
	tb.Helper()
	cmd, frame := commandOf(tb, db, command)
	answer, err := s.front.list(cmd, frame)
	if err != nil {
		tb.Fatal(err)
	}
	return answer != nil
}

var fieldNames = []string{"a", "b", "n.x", "n.y", "o"}

// listValue draws from few values, so that documents and filters meet.
func listValue(odd bool) *rapid.Generator[any] {
	values := []any{
		nil, "", "5", "a", "A", "a!", "ab", `a"b'\`, "<é>", "ä", "日本", "\u2028", "😀", "\ufffd", "null", "true", "[1]",
		int32(5), int64(5), int32(-1), int64(0), int32(1), int64(1) << 60, int64(-1) << 62,
		true, false, time.UnixMilli(5).UTC(), time.UnixMilli(0).UTC(), time.UnixMilli(-1).UTC(), time.UnixMilli(1_800_000_000_000).UTC(),
		bson.ObjectID{1}, bson.ObjectID{0xff, 5},
	}
	if odd {
		values = append(values, 5.0, 4.5, bson.A{}, bson.A{"a", int32(5)}, bson.A{d("x", "a")}, bson.Binary{Data: []byte("a")}, d("x", "a"), d(), "a\x00b", "\x00")
	}
	return rapid.SampledFrom(values)
}

func listDocument(odd bool) *rapid.Generator[bson.D] {
	return rapid.Custom(func(t *rapid.T) bson.D {
		var doc, n bson.D
		for _, name := range fieldNames {
			if !rapid.Bool().Draw(t, name+" there") {
				continue
			}
			v := listValue(odd && rapid.IntRange(0, 9).Draw(t, "odd") == 0).Draw(t, name)
			if outer, inner, nested := strings.Cut(name, "."); nested {
				_ = outer
				n = append(n, bson.E{Key: inner, Value: v})
			} else {
				doc = append(doc, bson.E{Key: name, Value: v})
			}
		}
		if n != nil {
			doc = append(doc, bson.E{Key: "n", Value: n})
		} else if odd && rapid.IntRange(0, 9).Draw(t, "n odd") == 0 {
			doc = append(doc, bson.E{Key: "n", Value: listValue(true).Draw(t, "n")})
		}
		return doc
	})
}

func listCondition(odd bool) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		v := listValue(odd).Draw(t, "value")
		switch op := rapid.SampledFrom([]string{"", "", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$not", "range"}).Draw(t, "operator"); op {
		case "":
			return v
		case "$in", "$nin":
			return d(op, bson.A(rapid.SliceOfN(listValue(odd), 1, 4).Draw(t, "list")))
		case "$exists":
			return d(op, rapid.Bool().Draw(t, "exists"))
		case "$not":
			return d(op, d(rapid.SampledFrom([]string{"$gt", "$eq", "$lte"}).Draw(t, "not"), v))
		case "range":
			return d("$gte", v, "$lt", listValue(odd).Draw(t, "upper"))
		default:
			return d(op, v)
		}
	})
}

func listFilter(odd bool, depth int) *rapid.Generator[bson.D] {
	return rapid.Custom(func(t *rapid.T) bson.D {
		filter := bson.D{}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(fieldNames), 0, 3, rapid.ID[string]).Draw(t, "fields") {
			filter = append(filter, bson.E{Key: name, Value: listCondition(odd).Draw(t, name)})
		}
		if depth > 0 && rapid.IntRange(0, 2).Draw(t, "logical") == 0 {
			clauses := bson.A{}
			for range rapid.IntRange(1, 3).Draw(t, "clauses") {
				clauses = append(clauses, append(d(rapid.SampledFrom(fieldNames).Draw(t, "field"), listCondition(odd).Draw(t, "condition")), listFilter(odd, depth-1).Draw(t, "clause")...))
			}
			filter = append(filter, bson.E{Key: rapid.SampledFrom([]string{"$and", "$or", "$nor"}).Draw(t, "operator"), Value: clauses})
		}
		// A filter names a field once.
		seen := map[string]bool{}
		return slices.DeleteFunc(filter, func(e bson.E) bool { was := seen[e.Key]; seen[e.Key] = true; return was })
	})
}

// TestListsAreTheStores compares the answers of the front with the store's own, on documents and questions of all
// kinds: with and without indexes on the fields, with and without values that the front does not know.
func TestListsAreTheStores(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	quick := connect(t, s.URI()).Database("db")
	plain := connect(t, startPlain(t, s)).Database("db")
	asked, answered := 0, 0
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		name := fmt.Sprintf("things%d", round)
		ctx := context.Background()
		defer func() { _ = quick.Collection(name).Drop(ctx) }()
		odd := rapid.IntRange(0, 3).Draw(t, "odd values") == 0
		index := func() {
			for i := range rapid.IntRange(0, 3).Draw(t, "indexes") {
				keys := bson.D{}
				for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(fieldNames), 1, 3, rapid.ID[string]).Draw(t, "keys") {
					keys = append(keys, bson.E{Key: f, Value: rapid.SampledFrom([]int{1, -1}).Draw(t, "direction")})
				}
				if _, err := quick.Collection(name).Indexes().CreateOne(ctx, mongo.IndexModel{Keys: keys, Options: options.Index().SetName(fmt.Sprint("i", i))}); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := rapid.Bool().Draw(t, "indexed before")
		if before {
			index()
		}
		var docs []any
		for i, doc := range rapid.SliceOfN(listDocument(odd), 1, 12).Draw(t, "documents") {
			docs = append(docs, append(d("_id", fmt.Sprintf("id%02d", i)), doc...))
		}
		if _, err := quick.Collection(name).InsertMany(ctx, docs); err != nil {
			t.Fatal(err)
		}
		if !before {
			index()
		}
		for range 12 {
			filter := listFilter(odd, 2).Draw(t, "filter")
			sort := bson.D{}
			for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(fieldNames), 0, 2, rapid.ID[string]).Draw(t, "sort") {
				sort = append(sort, bson.E{Key: f, Value: rapid.SampledFrom([]int{1, -1}).Draw(t, "direction")})
			}
			sort = append(sort, bson.E{Key: "_id", Value: 1}) // what is equal comes in no particular order
			find := d("find", name, "filter", filter, "sort", sort)
			count := d("count", name, "query", filter)
			if limit := rapid.IntRange(0, 6).Draw(t, "limit"); limit > 0 {
				find, count = append(find, bson.E{Key: "limit", Value: limit}), append(count, bson.E{Key: "limit", Value: limit})
			}
			if skip := rapid.IntRange(0, 6).Draw(t, "skip"); skip > 3 {
				find, count = append(find, bson.E{Key: "skip", Value: skip - 3}), append(count, bson.E{Key: "skip", Value: skip - 3})
			}
			projection := rapid.SampledFrom([]bson.D{nil, d("a", 1), d("a", 1, "n", true, "_id", 0), d("b", 0), d("_id", 0), d("_id", 1), d("n.x", 1)}).Draw(t, "projection")
			if projection != nil {
				find = append(find, bson.E{Key: "projection", Value: projection})
			}
			for _, command := range []bson.D{find, count} {
				want, wantErr := plain.RunCommand(ctx, command).Raw()
				got, gotErr := quick.RunCommand(ctx, command).Raw()
				if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
					t.Fatalf("%v:\n got error %v\nwant error %v", command, gotErr, wantErr)
				}
				if !bytes.Equal(want, got) {
					t.Fatalf("%v:\n got %v\nwant %v", command, got, want)
				}
				if asked++; listed(t, s, "db", command) {
					answered++
				}
			}
		}
	})
	if t.Logf("%d of %d answered by the front", answered, asked); answered*2 < asked {
		t.Errorf("the front answered %d of %d commands, want more than half", answered, asked)
	}
}

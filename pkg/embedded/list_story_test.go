package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// TestListsUseAnIndex asks SQLite how it carries out the questions of a list of people: a search in an index, in its
// order, and nothing sorted.
func TestListsUseAnIndex(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	users := connect(t, s.URI()).Database("db").Collection("users")
	fillPeople(t, users, 300)
	raw, table, noted := openTable(t, s, "db", "users")
	set, err := parseSettings(noted)
	if err != nil {
		t.Fatal(err)
	}
	by := d("email", 1)
	tests := map[string]bson.D{
		"first page":        d("filter", d("portal", "portal"), "sort", by, "limit", 51),
		"next page":         d("filter", d("portal", "portal", "email", d("$gt", "m")), "sort", by, "limit", 51),
		"backwards":         d("filter", d("portal", "portal", "email", d("$lt", "m")), "sort", d("email", -1), "limit", 51),
		"starts with":       d("filter", d("portal", "portal", "email", d("$gte", "an", "$lt", "ao")), "sort", by, "limit", 51),
		"audience":          d("filter", d("portal", "portal", "audience", "internal", "email", d("$gt", "m")), "sort", by, "limit", 51),
		"enrolled":          d("filter", d("portal", "portal", "audience", "internal", "mirror.enrolled_in", 1), "sort", by, "limit", 51),
		"without":           d("filter", d("portal", "portal", "audience", "internal", "mirror.enrolled_in", d("$exists", false)), "sort", by, "limit", 51),
		"null":              d("filter", d("portal", "portal", "audience", "internal", "mirror.enrolled_in", nil), "sort", by, "limit", 51),
		"after two keys":    d("filter", d("portal", "portal", "name", d("$gte", "m"), "$or", bson.A{d("name", d("$gt", "m")), d("_id", d("$gt", "x"))}), "sort", d("name", 1, "_id", 1), "limit", 51),
		"condition beside":  d("filter", d("portal", "portal", "disabled", d("$ne", true), "groups", d("$exists", false)), "sort", by, "limit", 51),
		"by _id":            d("filter", d("_id", d("$gte", "portal/", "$lt", "portal0")), "sort", d("_id", -1), "limit", 51),
		"some of them":      d("filter", d("_id", d("$in", bson.A{"portal/000001", "portal/000002"}))),
		"how many":          d("query", d("portal", "portal", "audience", "internal")),
		"how many enrolled": d("query", d("portal", "portal", "audience", "internal", "mirror.enrolled_in", d("$gte", 1))),
	}
	for name, rest := range tests {
		t.Run(name, func(t *testing.T) {
			command := append(d("find", "users"), rest...)
			if rest[0].Key == "query" {
				command = append(d("count", "users"), rest...)
			}
			if !listed(t, s, "db", command) && name != "condition beside" { // there, groups are arrays
				t.Fatal("left to the store")
			}
			q, ok := parseQuery(first(commandOf(t, "db", command)))
			if !ok {
				t.Fatal("not understood")
			}
			p, ok := q.plan(table, set.fields())
			if !ok {
				t.Fatal("not planned")
			}
			for question, args := range map[string][]any{p.rows: p.rowsArgs, p.check: p.checkArgs} {
				if question == "" {
					continue
				}
				rows, err := raw.Query("EXPLAIN QUERY PLAN "+question, args...)
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close() //nolint:errcheck // rows.Err tells
				for rows.Next() {
					var id, parent, unused int
					var step string
					if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
						t.Fatal(err)
					}
					bare := strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "INDEX") && !strings.Contains(step, "CONSTANT ROW") && !strings.Contains(step, "subquery")
					if bare || strings.Contains(step, "B-TREE") {
						t.Errorf("%s\n%s", step, question)
					}
				}
				if err := rows.Err(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestListsFollowTheirCollection takes a list through what may happen to its collection. What the front cannot read it
// leaves to the store with a warning, which is a failure here.
func TestListsFollowTheirCollection(t *testing.T) {
	dir := t.TempDir()
	s := startTestStore(t, dir)
	s.front.log = slog.New(noWarnings{slog.DiscardHandler, t})
	client := connect(t, s.URI())
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	command := d("find", "things", "filter", d("n", d("$gte", 1)), "sort", d("n", 1, "email", 1))
	want := func(client *mongo.Client, collection string, ids ...string) {
		t.Helper()
		command[0].Value = collection
		if !listed(t, s, "db", command) {
			t.Error("left to the store")
		}
		cur, err := client.Database("db").Collection(collection).Find(ctx, command[1].Value, options.Find().SetSort(command[2].Value))
		must(err)
		var docs []struct {
			ID string `bson:"_id"`
		}
		must(cur.All(ctx, &docs))
		got := []string{}
		for _, doc := range docs {
			got = append(got, doc.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("got %v, want %v", got, ids)
		}
	}
	keys := func(n int) {
		t.Helper()
		raw, table, _ := openTable(t, s, "db", command[0].Value.(string))
		var got int
		must(raw.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE tbl_name = ? AND name LIKE '%\_sallyport\_keys' ESCAPE '\'`, table).Scan(&got))
		_ = raw.Close()
		if got != n {
			t.Errorf("%d indexes for lists, want %d", got, n)
		}
	}
	db := client.Database("db")
	things := db.Collection("things")
	_, err := things.InsertMany(ctx, []any{d("_id", "c", "n", 3), d("_id", "a", "n", 1), d("_id", "b", "n", int64(2)), d("_id", "z", "n", "9")})
	must(err)
	want(client, "things", "a", "b", "c")
	keys(1) // that of _id

	_, err = things.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: d("n", 1, "email", 1)}) // with documents there
	must(err)
	want(client, "things", "a", "b", "c")
	keys(2)
	_, err = things.UpdateOne(ctx, d("_id", "a"), d("$set", d("n", 7)))
	must(err)
	want(client, "things", "b", "c", "a")
	_, err = things.UpdateMany(ctx, d(), d("$rename", d("n", "m")))
	must(err)
	want(client, "things")
	_, err = things.UpdateMany(ctx, d(), d("$rename", d("m", "n")))
	must(err)
	want(client, "things", "b", "c", "a")

	must(client.Database("admin").RunCommand(ctx, d("renameCollection", "db.things", "to", "db.others")).Err())
	want(client, "others", "b", "c", "a")
	others := db.Collection("others")
	must(others.Indexes().DropOne(ctx, "n_1_email_1"))
	_, err = others.DeleteOne(ctx, d("_id", "a"))
	must(err)
	_, err = others.InsertOne(ctx, d("_id", "d", "n", 8))
	must(err)
	want(client, "others", "b", "c", "d")
	keys(1) // the next write has dropped what nobody declares any more
	_, err = others.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: d("n", -1)})
	must(err)
	keys(2)

	closeStore(t, s)
	raw, err := openFile(filepath.Join(dir, "db.sqlite"))
	must(err)
	names := map[string]bool{}
	rows, err := raw.Query(`SELECT name FROM sqlite_schema WHERE name LIKE '%sallyport%'`)
	must(err)
	for rows.Next() {
		var name string
		must(rows.Scan(&name))
		names[name] = true
	}
	must(rows.Err())
	for name := range names {
		if strings.HasSuffix(name, oddSuffix) { // as if made by a version before
			_, err = raw.Exec(`DROP INDEX ` + quote(name))
			must(err)
		}
	}
	_ = raw.Close()
	s = startTestStore(t, dir)
	s.front.log = slog.New(noWarnings{slog.DiscardHandler, t})
	client = connect(t, s.URI())
	want(client, "others", "b", "c", "d")
	keys(2)
	raw, err = openFile(filepath.Join(dir, "db.sqlite"))
	must(err)
	for name := range names {
		var n int
		if must(raw.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name = ?`, name).Scan(&n)); n != 1 {
			t.Errorf("index %s is gone after a restart", name)
		}
	}
	_ = raw.Close()

	must(client.Database("db").Collection("others").Drop(ctx))
	for range 3 { // the file is another one each time
		_, err = client.Database("db").Collection("others").InsertOne(ctx, d("_id", "new", "n", 1))
		must(err)
		want(client, "others", "new")
		must(client.Database("db").Drop(ctx))
		if listed(t, s, "db", command) {
			t.Error("a list of a dropped database")
		}
	}
	// An array is looked into, which only the store does.
	_, err = client.Database("db").Collection("others").InsertMany(ctx, []any{d("_id", "x", "n", bson.A{0, 5}), d("_id", "y", "n", 2)})
	must(err)
	if command[0].Value = "others"; listed(t, s, "db", command) {
		t.Error("a list over an array")
	}
}

// noWarnings is a log in which a warning is a failed test.
type noWarnings struct {
	slog.Handler
	tb testing.TB
}

func (noWarnings) Enabled(context.Context, slog.Level) bool { return true }

func (h noWarnings) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		r.Attrs(func(a slog.Attr) bool { h.tb.Errorf("%s: %v", r.Message, a); return true })
	}
	return nil
}

// TestListsSeeOneState has writers raise numbers by twenty, so that each document keeps a remainder of its own, while
// lists run: each shows every document once, in order. Another database is made and dropped meanwhile.
func TestListsSeeOneState(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	s.front.log = slog.New(noWarnings{slog.DiscardHandler, t})
	client := connect(t, s.URI())
	c := client.Database("db").Collection("things")
	if _, err := c.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: d("k", 1, "n", 1)}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := c.InsertOne(t.Context(), d("_id", fmt.Sprint(i), "k", "x", "n", i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var writers, readers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := c.UpdateOne(t.Context(), d("_id", fmt.Sprint((i*4+w)%20)), d("$inc", d("n", 20)))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Go(func() {
		for ctx.Err() == nil {
			other := client.Database("other")
			if _, err := other.Collection("things").InsertOne(t.Context(), d("_id", "a", "n", 1)); err != nil {
				t.Error(err)
			}
			var docs []bson.D
			cur, err := other.Collection("things").Find(t.Context(), d("n", 1))
			if err == nil {
				err = cur.All(t.Context(), &docs)
			}
			if err != nil || len(docs) != 1 {
				t.Errorf("a list after the write that it should show: %v, %v", docs, err)
			}
			if err := other.Drop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				cur, err := c.Find(t.Context(), d("k", "x", "n", d("$gte", 0)), options.Find().SetSort(d("n", 1)).SetLimit(50))
				if err != nil {
					t.Error(err)
					return
				}
				var docs []struct{ N int }
				if err := cur.All(t.Context(), &docs); err != nil || len(docs) != 20 {
					t.Errorf("%d documents, %v, want 20", len(docs), err)
				}
				seen, last := map[int]bool{}, -1
				for _, doc := range docs {
					if doc.N <= last || seen[doc.N%20] {
						t.Errorf("a document twice or out of order: %v", docs)
					}
					seen[doc.N%20], last = true, doc.N
				}
			}
		})
	}
	writers.Wait()
	readers.Wait()
}

package embedded

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// personIndexes are such as a service with a list of people declares.
var personIndexes = []bson.D{
	d("portal", 1, "email", 1),
	d("portal", 1, "audience", 1, "email", 1),
	d("portal", 1, "name", 1, "_id", 1),
	d("portal", 1, "audience", 1, "mirror.enrolled_in", 1, "email", 1),
}

// fillPeople makes people of one portal, half of each audience, a third of them enrolled.
func fillPeople(tb testing.TB, c *mongo.Collection, people int) {
	tb.Helper()
	for _, keys := range personIndexes {
		if _, err := c.Indexes().CreateOne(tb.Context(), mongo.IndexModel{Keys: keys}); err != nil {
			tb.Fatal(err)
		}
	}
	for from := 0; from < people; from += 5_000 {
		var batch []any
		for i := from; i < min(from+5_000, people); i++ {
			mirror := d("rev", int64(3), "since", time.UnixMilli(int64(i)))
			if i%3 == 0 {
				mirror = append(mirror, bson.E{Key: "enrolled_in", Value: int64(1)})
			}
			batch = append(batch, d(
				"_id", fmt.Sprintf("portal/%06d", i), "portal", "portal", "email", personEmail(i), "name", fmt.Sprintf("name %02d", i*7919%100),
				"audience", []string{"internal", "external"}[i%2], "created_at", time.UnixMilli(int64(i)), "mirror", mirror,
				"groups", bson.A{"a", "b"}, "disabled", i%100 == 0,
			))
		}
		if _, err := c.InsertMany(tb.Context(), batch); err != nil {
			tb.Fatal(err)
		}
	}
}

func personEmail(i int) string { return fmt.Sprintf("person-%06d@example.test", i*7919%1_000_000) }

// BenchmarkListAtSize measures pages and counts among 100,000 people beside their floor, the same read from SQLite
// alone, and what the store needs for one by itself.
func BenchmarkListAtSize(b *testing.B) {
	const people = 100_000
	s := startTestStore(b, b.TempDir())
	users := connect(b, s.URI()).Database("db").Collection("users")
	start := time.Now()
	fillPeople(b, users, people)
	b.Logf("%d people inserted in %v", people, time.Since(start))
	store := connect(b, startPlain(b, s)).Database("db").Collection("users")

	page := d("portal", "portal", "audience", "internal", "email", d("$gt", "person-5"))
	find := func(ctx context.Context, c *mongo.Collection, filter, sort bson.D, limit int64) error {
		cur, err := c.Find(ctx, filter, options.Find().SetSort(sort).SetLimit(limit))
		if err != nil {
			return err
		}
		var out []bson.Raw
		if err := cur.All(ctx, &out); err != nil || int64(len(out)) != limit {
			return fmt.Errorf("got %d documents, %w", len(out), err)
		}
		return nil
	}
	count := func(ctx context.Context, filter bson.D) error {
		return users.Database().RunCommand(ctx, d("count", "users", "query", filter)).Err()
	}
	q, _ := parseQuery(first(commandOf(b, "db", d("find", "users", "filter", page, "sort", d("email", 1), "limit", 51))))
	raw, table, noted := openTable(b, s, "db", "users")
	set, err := parseSettings(noted)
	if err != nil {
		b.Fatal(err)
	}
	p, _ := q.plan(table, set.fields())
	floor := func(ctx context.Context, _ *mongo.Collection) error {
		rows, err := raw.QueryContext(ctx, p.rows, p.rowsArgs...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var text sql.RawBytes
			var odd bool
			if err := rows.Scan(&text, &odd); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	for _, k := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"page/floor", func(ctx context.Context) error { return floor(ctx, users) }},
		{"page/front", func(ctx context.Context) error { return find(ctx, users, page, d("email", 1), 51) }},
		{"page-backwards", func(ctx context.Context) error { return find(ctx, users, d("portal", "portal"), d("email", -1), 51) }},
		{"page-after-two-keys", func(ctx context.Context) error {
			return find(ctx, users, d("portal", "portal", "name", d("$gte", "name 90"), "$or", bson.A{
				d("name", d("$gt", "name 90")), d("_id", d("$gt", "portal/0500")),
			}), d("name", 1, "_id", 1), 51)
		}},
		{"page-not-enrolled", func(ctx context.Context) error {
			return find(ctx, users, d("portal", "portal", "audience", "internal", "mirror.enrolled_in", nil), d("email", 1), 51)
		}},
		{"page-with-a-condition-beside", func(ctx context.Context) error {
			return find(ctx, users, d("portal", "portal", "disabled", true), d("email", 1), 51)
		}},
		{"count-all", func(ctx context.Context) error { return count(ctx, d("portal", "portal")) }},
		{"count-half", func(ctx context.Context) error { return count(ctx, d("portal", "portal", "audience", "internal")) }},
		{"count-enrolled", func(ctx context.Context) error {
			return count(ctx, d("portal", "portal", "audience", "internal", "mirror.enrolled_in", int64(1)))
		}},
		{"count-not-enrolled", func(ctx context.Context) error {
			return count(ctx, d("portal", "portal", "audience", "internal", "mirror.enrolled_in", d("$ne", int64(1))))
		}},
		{"count-without-index", func(ctx context.Context) error { return count(ctx, d("disabled", true)) }},
		{"update-by-id", func(ctx context.Context) error {
			return matchedOne(users.UpdateOne(ctx, d("_id", "portal/000777"), d("$inc", d("n", 1))))
		}},
		{"store/page", func(ctx context.Context) error { return find(ctx, store, page, d("email", 1), 51) }},
	} {
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() {
				if err := k.do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func first[A, B any](a A, _ B) A { return a }

// openTable opens a collection's table for a look past the store.
func openTable(tb testing.TB, s *Store, database, collection string) (db *sql.DB, table, noted string) {
	tb.Helper()
	db, err := openFile(filepath.Join(s.front.dir, database+".sqlite"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	if err := db.QueryRow(`SELECT table_name, settings FROM `+collectionsTable+` WHERE name = ?`, collection).Scan(&table, &noted); err != nil {
		tb.Fatal(err)
	}
	return db, table, noted
}

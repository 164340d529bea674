package embedded

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/FerretDB/wire/wirebson"
	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// TestMain lets tests run this binary again as another process: EMBEDDED_TEST_CHILD names what it then does.
func TestMain(m *testing.M) {
	switch os.Getenv("EMBEDDED_TEST_CHILD") {
	case "increment":
		os.Exit(childIncrement(os.Getenv("URI")))
	case "write":
		os.Exit(childWrite(os.Getenv("DIR")))
	default:
		os.Exit(m.Run())
	}
}

func child(tb testing.TB, what string, env ...string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), self)
	cmd.Env = append(append(os.Environ(), "EMBEDDED_TEST_CHILD="+what), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// startTestStore starts a store on dir and closes it with the test.
func startTestStore(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := StartStore(StoreOptions{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeStore(tb, s) })
	return s
}

func closeStore(tb testing.TB, s *Store) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		tb.Error(err)
	}
}

// connect returns a client of the official driver that is disconnected with the test.
func connect(tb testing.TB, uri string, opts ...*options.ClientOptions) *mongo.Client {
	tb.Helper()
	c, err := mongo.Connect(append([]*options.ClientOptions{options.Client().ApplyURI(uri)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

// eventually waits until ok holds, and fails the test with what was wanted if that takes more than ten seconds.
func eventually(tb testing.TB, want string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			tb.Fatalf("not within 10 s: %s", want)
		}
	}
}

// d makes a document of names and values in turn.
func d(pairs ...any) bson.D {
	doc := bson.D{}
	for i := 0; i < len(pairs); i += 2 {
		doc = append(doc, bson.E{Key: pairs[i].(string), Value: pairs[i+1]})
	}
	return doc
}

// TestOperators states what services may rely on, each with the document before, one command, and what MongoDB
// answers and leaves behind.
func TestOperators(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)
	upsert := options.FindOneAndUpdate().SetUpsert(true)
	tests := []struct {
		name    string
		before  bson.D // nil: no document
		filter  bson.D // besides the _id
		update  bson.D
		opts    *options.FindOneAndUpdateOptionsBuilder
		after   bson.D // nil: as before
		missed  bool   // nothing matched
		refused bool   // refused, nothing changed
		dup     bool   // refused for its key
	}{
		{name: "inc", before: d("n", 1), update: d("$inc", d("n", 2)), after: d("n", 3)},
		{name: "inc, nested and missing", before: d("a", d("b", 1)), update: d("$inc", d("a.b", 1, "a.c", 5)), after: d("a", d("b", 2, "c", 5))},
		{name: "inc and set", before: d("n", 1), update: d("$inc", d("n", 1), "$set", d("a.b", "x")), after: d("n", 2, "a", d("b", "x"))},
		{name: "max raises", before: d("step", int64(7)), update: d("$max", d("step", int64(9))), after: d("step", int64(9))},
		{name: "max does not lower", before: d("step", int64(7)), update: d("$max", d("step", int64(6))), after: d("step", int64(7))},
		{name: "max sets what is missing", before: d(), update: d("$max", d("step", int64(6))), after: d("step", int64(6))},
		{name: "min", before: d("n", 3), update: d("$min", d("n", 2)), after: d("n", 2)},
		{name: "unset", before: d("n", 3, "a", d("b", 1, "c", 2)), update: d("$unset", d("a.b", "", "n", "")), after: d("a", d("c", 2))},
		{name: "times to the millisecond", before: d(), update: d("$set", d("at", now.Add(999*time.Microsecond))), after: d("at", bson.NewDateTimeFromTime(now))},
		{name: "max of times", before: d("at", now), update: d("$max", d("at", now.Add(time.Millisecond))), after: d("at", bson.NewDateTimeFromTime(now.Add(time.Millisecond)))},
		{name: "binary", before: d(), update: d("$set", d("b", []byte{0, 1, 255})), after: d("b", bson.Binary{Data: []byte{0, 1, 255}})},

		{name: "push", before: d("l", bson.A{"a"}), update: d("$push", d("l", d("id", "1"))), after: d("l", bson.A{"a", d("id", "1")})},
		{name: "push each", before: d(), update: d("$push", d("l", d("$each", bson.A{"a", "b"}))), after: d("l", bson.A{"a", "b"})},
		{name: "push slice", before: d("l", bson.A{"a"}), update: d("$push", d("l", d("$each", bson.A{"b"}, "$slice", -1))), refused: true},
		{name: "addToSet", before: d("l", bson.A{"a"}), update: d("$addToSet", d("l", d("$each", bson.A{"a", "b"}))), after: d("l", bson.A{"a", "b"})},
		{name: "pull value", before: d("l", bson.A{"a", "b", "a"}), update: d("$pull", d("l", "a")), after: d("l", bson.A{"b"})},
		{
			name: "pull by field", before: d("l", bson.A{d("id", "1", "v", 1), d("id", "2", "v", 1)}),
			update: d("$pull", d("l", d("id", "1"))), after: d("l", bson.A{d("id", "2", "v", 1)}),
		},
		{
			name: "pull by field, nested, with other changes", before: d("a", d("l", bson.A{d("id", "1", "v", 1), d("id", "2", "v", 1)})),
			update: d("$pull", d("a.l", d("id", d("$in", bson.A{"1", "3"}), "v", d("$gt", 0))), "$set", d("n", 1)),
			after:  d("a", d("l", bson.A{d("id", "2", "v", 1)}), "n", 1),
		},
		{name: "pull by operator", before: d("l", bson.A{1, 2, 3}), update: d("$pull", d("l", d("$gte", 2))), after: d("l", bson.A{1})},
		{name: "pull by or", before: d("l", bson.A{d("id", "1")}), update: d("$pull", d("l", d("$or", bson.A{d("id", "1"), d("id", "2")}))), refused: true},
		{name: "pull that matches nothing", before: d("l", bson.A{d("id", "1")}), update: d("$pull", d("l", d("id", "2"))), after: d("l", bson.A{d("id", "1")})},
		{name: "pull where there is nothing", before: d("n", 1), update: d("$pull", d("l", d("id", "2"))), after: d("n", 1)},
		{
			name: "pull by field under a condition", before: d("n", 1, "l", bson.A{d("id", "1", "v", 1)}), filter: d("n", d("$lt", 1)),
			update: d("$pull", d("l", d("id", "1"))), missed: true,
		},

		{name: "lte holds", before: d("a", d("at", now)), filter: d("a.at", d("$lte", now)), update: d("$set", d("x", 1)), after: d("a", d("at", bson.NewDateTimeFromTime(now)), "x", 1)},
		{name: "lt does not", before: d("a", d("at", now)), filter: d("a.at", d("$lt", now)), update: d("$set", d("x", 1)), missed: true},
		{name: "or", before: d("n", 5), filter: d("$or", bson.A{d("until", d("$exists", false)), d("until", d("$lte", now))}), update: d("$inc", d("n", 1)), after: d("n", 6)},
		{name: "or does not", before: d("n", 5), filter: d("$or", bson.A{d("n", d("$lt", 5)), d("m", 1)}), update: d("$inc", d("n", 1)), missed: true},
		{name: "ne, in, nin, not", before: d("n", 5, "s", "x"), filter: d("m", d("$ne", 5), "s", d("$in", bson.A{"x", "y"}), "n", d("$nin", bson.A{4}), "z", d("$not", d("$gt", 1))), update: d("$inc", d("n", 1)), after: d("n", 6, "s", "x")},
		{name: "equality, nested", before: d("a", d("b", "x")), filter: d("a.b", "x"), update: d("$set", d("a.b", "y")), after: d("a", d("b", "y"))},
		{name: "equality does not", before: d("a", d("b", "x")), filter: d("a.b", "z"), update: d("$set", d("a.b", "y")), missed: true},
		{name: "null means missing too", before: d("n", 1), filter: d("gone", nil), update: d("$inc", d("n", 1)), after: d("n", 2)},
		{name: "first element exists", before: d("l", bson.A{"a"}), filter: d("l.0", d("$exists", true)), update: d("$set", d("n", 1)), after: d("l", bson.A{"a"}, "n", 1)},
		{name: "nobody there", filter: d("n", 1), update: d("$inc", d("n", 1)), missed: true},

		{name: "upsert", update: d("$inc", d("n", 1), "$setOnInsert", d("a.b", "x"), "$max", d("m", 3)), opts: upsert, after: d("n", 1, "a", d("b", "x"), "m", 3)},
		{name: "setOnInsert leaves what is there", before: d("n", 1), update: d("$setOnInsert", d("n", 7), "$set", d("m", 1)), opts: upsert, after: d("n", 1, "m", 1)},
		{name: "upsert under conditions", filter: d("n", d("$gte", 1, "$lt", 9), "$or", bson.A{d("m", 1), d("m", 2)}), update: d("$set", d("x", 1)), opts: upsert, after: d("x", 1)},
		{name: "upsert keeps values of the filter", filter: d("k", "v", "a.b", 2), update: d("$inc", d("n", 1)), opts: upsert, after: d("k", "v", "a", d("b", 2), "n", 1)},
		{name: "upsert that matches", before: d("n", 1), filter: d("n", d("$lte", 1)), update: d("$inc", d("n", 1)), opts: upsert, after: d("n", 2)},
		{name: "upsert against a document that does not match", before: d("n", 5), filter: d("n", d("$lte", 1)), update: d("$inc", d("n", 1)), opts: upsert, dup: true},
		{name: "two operators on one path", before: d("n", 5), update: d("$set", d("n", 1), "$inc", d("n", 1)), refused: true},
	}

	things := connect(t, startTestStore(t, t.TempDir()).URI()).Database("operators").Collection("things")
	for i, tt := range tests {
		// The same through all three ways to change a document; they answer differently.
		for _, way := range []string{"before", "after", "update"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				id := fmt.Sprintf("portal/%s+%d@example.test", way, i)
				withID := func(doc bson.D) bson.D { return append(d("_id", id), doc...) }
				if tt.before != nil {
					if _, err := things.InsertOne(t.Context(), withID(tt.before)); err != nil {
						t.Fatal(err)
					}
				}
				read := func() map[string]any {
					var doc bson.M
					if err := things.FindOne(t.Context(), d("_id", id)).Decode(&doc); err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
						t.Fatal(err)
					}
					return doc
				}
				old := read()

				var got bson.M
				var err error
				opts := tt.opts
				if opts == nil {
					opts = options.FindOneAndUpdate()
				}
				switch way {
				case "before":
					err = things.FindOneAndUpdate(t.Context(), withID(tt.filter), tt.update, opts, options.FindOneAndUpdate().SetReturnDocument(options.Before)).Decode(&got)
					if tt.before == nil && tt.after != nil && errors.Is(err, mongo.ErrNoDocuments) {
						err = nil // there was none before
					}
				case "after":
					err = things.FindOneAndUpdate(t.Context(), withID(tt.filter), tt.update, opts, options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&got)
				case "update":
					var r *mongo.UpdateResult
					r, err = things.UpdateOne(t.Context(), withID(tt.filter), tt.update, options.UpdateOne().SetUpsert(tt.opts != nil))
					if err == nil && r.MatchedCount+r.UpsertedCount == 0 {
						err = mongo.ErrNoDocuments
					}
				}

				switch {
				case tt.missed:
					if !errors.Is(err, mongo.ErrNoDocuments) {
						t.Errorf("got error %v, want that nothing matched", err)
					}
				case tt.dup:
					if !mongo.IsDuplicateKeyError(err) {
						t.Errorf("got error %v, want a duplicate key", err)
					}
				case tt.refused:
					if err == nil || errors.Is(err, mongo.ErrNoDocuments) {
						t.Errorf("got %v, want it refused", err)
					}
				case err != nil:
					t.Fatal(err)
				}
				want := old
				if tt.after != nil {
					raw, _ := bson.Marshal(withID(tt.after))
					want = map[string]any{}
					_ = bson.Unmarshal(raw, &want)
				}
				now := read()
				if diff := cmp.Diff(sorted(want), sorted(now)); diff != "" {
					t.Errorf("document (-want +got):\n%s", diff)
				}
				if err == nil && way == "before" {
					if diff := cmp.Diff(sorted(old), sorted(got)); diff != "" {
						t.Errorf("answer (-want +got):\n%s", diff)
					}
				}
				if err == nil && way == "after" {
					if diff := cmp.Diff(sorted(now), sorted(got)); diff != "" {
						t.Errorf("answer (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

// sorted makes documents comparable whatever the order of their fields.
func sorted(v any) any {
	switch v := v.(type) {
	case bson.M:
		return sorted(map[string]any(v))
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = sorted(x)
		}
		return out
	case bson.D:
		out := map[string]any{}
		for _, e := range v {
			out[e.Key] = sorted(e.Value)
		}
		return out
	case bson.A:
		out := []any{}
		for _, x := range v {
			out = append(out, sorted(x))
		}
		return out
	default:
		return v
	}
}

func TestOtherCommands(t *testing.T) {
	client := connect(t, startTestStore(t, t.TempDir()).URI())
	things := client.Database("db").Collection("things")
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := things.InsertOne(ctx, d("_id", "a", "n", 1, "email", "x"))
	must(err)
	if _, err := things.InsertOne(ctx, d("_id", "a")); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("second insert: got %v, want a duplicate key", err)
	}
	if err := things.FindOne(ctx, d("_id", "a", "n", 2)).Err(); !errors.Is(err, mongo.ErrNoDocuments) {
		t.Errorf("find with a condition that does not hold: got %v", err)
	}
	must(things.FindOne(ctx, d("_id", "a", "n", d("$lt", 2)), options.FindOne().SetProjection(d("n", 1))).Err())
	for want, filter := range []bson.D{d("_id", "a", "n", 2), d("_id", "a", "n", 1)} {
		if n, err := things.CountDocuments(ctx, filter); err != nil || n != int64(want) {
			t.Errorf("count of %v: got %d, %v, want %d", filter, n, err, want)
		}
	}
	if r, err := things.ReplaceOne(ctx, d("_id", "a", "n", 2), d("n", 9)); err != nil || r.MatchedCount != 0 {
		t.Errorf("replace under a condition that does not hold: got %+v, %v", r, err)
	}
	if r, err := things.ReplaceOne(ctx, d("_id", "a", "n", 1), d("n", 2, "email", "x")); err != nil || r.ModifiedCount != 1 {
		t.Errorf("replace: got %+v, %v", r, err)
	}
	if r, err := things.DeleteOne(ctx, d("_id", "a", "n", 1)); err != nil || r.DeletedCount != 0 {
		t.Errorf("delete under a condition that does not hold: got %+v, %v", r, err)
	}

	_, err = things.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: d("email", 1), Options: options.Index().SetUnique(true)})
	must(err)
	_, err = things.InsertOne(ctx, d("_id", "b"))
	must(err)
	if _, err := things.UpdateOne(ctx, d("_id", "b"), d("$set", d("email", "x"))); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("update against a unique index: got %v, want a duplicate key", err)
	}
	if err := things.FindOneAndUpdate(ctx, d("_id", "b"), d("$set", d("email", "x"))).Err(); !mongo.IsDuplicateKeyError(err) {
		t.Errorf("findOneAndUpdate against a unique index: got %v, want a duplicate key", err)
	}

	if _, err := things.UpdateMany(ctx, d("n", d("$gt", 0)), d("$pull", d("l", d("id", "1")))); err == nil || !strings.Contains(err.Error(), "$pull") {
		t.Errorf("$pull by condition on many documents: got %v, want it refused", err)
	}

	session, err := client.StartSession()
	must(err)
	defer session.EndSession(ctx)
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		return things.InsertOne(ctx, d("_id", "in a transaction"))
	})
	if err == nil || !strings.Contains(err.Error(), "replica set") {
		t.Errorf("transaction: got %v, want it refused as by a single MongoDB server", err)
	}

	if r, err := things.DeleteOne(ctx, d("_id", "a", "n", 2)); err != nil || r.DeletedCount != 1 {
		t.Errorf("delete: got %+v, %v", r, err)
	}
	must(things.Drop(ctx))
	_, err = things.InsertOne(ctx, d("_id", "a"))
	must(err)
	must(client.Database("db").Drop(ctx))
	_, err = things.InsertOne(ctx, d("_id", "a"))
	must(err)
	if _, err := client.Database("../db").Collection("things").InsertOne(ctx, d("_id", "a")); err == nil {
		t.Error("a database name that is a path was taken")
	}
}

// increment adds to the counter through clients of one connection each.
func increment(ctx context.Context, uri string, clients, times int) error {
	errs := make(chan error, clients)
	for range clients {
		go func() {
			errs <- func() error {
				c, err := mongo.Connect(options.Client().ApplyURI(uri).SetMaxPoolSize(1))
				if err != nil {
					return err
				}
				defer c.Disconnect(context.Background()) //nolint:errcheck // a test's client
				for range times {
					r, err := c.Database("db").Collection("counters").UpdateOne(ctx, d("_id", "counter"), d("$inc", d("n", 1)), options.UpdateOne().SetUpsert(true))
					if err != nil {
						return err
					}
					if r.MatchedCount+r.UpsertedCount != 1 {
						return fmt.Errorf("update met %d documents", r.MatchedCount)
					}
				}
				return nil
			}()
		}()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-errs)
	}
	return err
}

func childIncrement(uri string) int {
	if err := increment(context.Background(), uri, 16, 30); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestNoIncrementIsLost(t *testing.T) {
	read := func(t *testing.T, uri string) int {
		var doc struct{ N int }
		if err := connect(t, uri).Database("db").Collection("counters").FindOne(t.Context(), d("_id", "counter")).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		return doc.N
	}
	t.Run("64 connections", func(t *testing.T) {
		uri := startTestStore(t, t.TempDir()).URI()
		if err := increment(t.Context(), uri, 64, 15); err != nil {
			t.Fatal(err)
		}
		if got := read(t, uri); got != 960 {
			t.Errorf("counter is %d after 960 increments", got)
		}
	})
	t.Run("two processes", func(t *testing.T) {
		uri := startTestStore(t, t.TempDir()).URI()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := child(t, "increment", "URI="+uri).Run(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := read(t, uri); got != 960 {
			t.Errorf("counter is %d after 960 increments", got)
		}
	})
}

// childWrite starts a store of its own and writes until it is killed; it prints the number of each write once that is
// acknowledged.
func childWrite(dir string) int {
	s, err := StartStore(StoreOptions{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := mongo.Connect(options.Client().ApplyURI(s.URI()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := 1; ; i++ {
		_, err := c.Database("db").Collection("written").InsertOne(context.Background(), d("_id", strconv.Itoa(i)))
		if err == nil {
			_, err = c.Database("db").Collection("counters").UpdateOne(context.Background(), d("_id", "counter"), d("$inc", d("n", 1)), options.UpdateOne().SetUpsert(true))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(i)
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		cmd := child(t, "write", "DIR="+filepath.Join(dir, strconv.Itoa(round)))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			acknowledged, _ = strconv.Atoi(lines.Text())
			if acknowledged == 40+round*17 {
				_ = cmd.Process.Kill() // SIGKILL; lines already printed are still read
			}
		}
		if err := cmd.Wait(); !strings.Contains(fmt.Sprint(err), syscall.SIGKILL.String()) {
			t.Fatalf("writer ended with %v", err)
		}

		db := connect(t, startTestStore(t, filepath.Join(dir, strconv.Itoa(round))).URI()).Database("db")
		for i := 1; i <= acknowledged; i++ {
			if err := db.Collection("written").FindOne(t.Context(), d("_id", strconv.Itoa(i))).Err(); err != nil {
				t.Errorf("write %d of %d acknowledged: %v", i, acknowledged, err)
			}
		}
		var counter struct{ N int }
		if err := db.Collection("counters").FindOne(t.Context(), d("_id", "counter")).Decode(&counter); err != nil || counter.N < acknowledged {
			t.Errorf("counter is %d (%v) after %d acknowledged increments", counter.N, err, acknowledged)
		}
	}
}

func TestRestartKeepsDataAndClearsUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a long name and a space ", 5)) // too long for a socket in it
	s := startTestStore(t, dir)
	for i := range 3 {
		if _, err := connect(t, s.URI()).Database("db").Collection("things").InsertOne(t.Context(), d("_id", i, "n", i)); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	if _, err := os.Stat(s.tmp); s.tmp == "" || !os.IsNotExist(err) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
	n, err := connect(t, startTestStore(t, dir).URI()).Database("db").Collection("things").CountDocuments(t.Context(), d())
	if err != nil || n != 3 {
		t.Errorf("after a restart: %d documents, %v, want 3", n, err)
	}
}

// TestLookupByIDUsesIndex asks the store itself for the plan of its query, for each way a collection comes into being
// and for one made before the index was.
func TestLookupByIDUsesIndex(t *testing.T) {
	dir := t.TempDir()
	s := startTestStore(t, dir)
	db := connect(t, s.URI()).Database("db")
	ctx := t.Context()
	ways := map[string]func(c *mongo.Collection) error{
		"create": func(c *mongo.Collection) error { return db.CreateCollection(ctx, c.Name()) },
		"insert": func(c *mongo.Collection) error { _, err := c.InsertOne(ctx, d("_id", "a")); return err },
		"update": func(c *mongo.Collection) error {
			_, err := c.UpdateOne(ctx, d("_id", "a"), d("$inc", d("n", 1)), options.UpdateOne().SetUpsert(true))
			return err
		},
		"Find-And.Modify": func(c *mongo.Collection) error {
			return c.FindOneAndUpdate(ctx, d("_id", "a"), d("$inc", d("n", 1)), options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Err()
		},
		"createIndexes": func(c *mongo.Collection) error {
			_, err := c.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: d("n", 1)})
			return err
		},
		"dropped": func(c *mongo.Collection) error {
			if _, err := c.InsertOne(ctx, d("_id", "a")); err != nil {
				return err
			}
			if err := c.Drop(ctx); err != nil {
				return err
			}
			_, err := c.InsertOne(ctx, d("_id", "a"))
			return err
		},
	}
	check := func(t *testing.T, db *mongo.Database, name string) {
		t.Helper()
		// SQLite learns that there is a new index when it carries out a query, which explaining one is not.
		_ = db.Collection(name).FindOne(ctx, d("_id", "a")).Err()
		var plan bson.Raw
		err := db.RunCommand(ctx, d("explain", d("find", name, "filter", d("_id", "a")))).Decode(&plan)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan.String(), indexSuffix) {
			t.Errorf("plan of a look-up by _id does not use the index:\n%s", plan.Lookup("queryPlanner"))
		}
	}
	for name, make := range ways {
		t.Run(name, func(t *testing.T) {
			if err := make(db.Collection(name)); err != nil {
				t.Fatal(err)
			}
			check(t, db, name)
		})
	}
	closeStore(t, s)

	raw, err := openFile(filepath.Join(dir, "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close() //nolint:errcheck // a test's
	indexes := indexNames(t, raw)
	if len(indexes) != len(ways) {
		t.Errorf("indexes %v, want %d", indexes, len(ways))
	}
	for _, name := range indexes {
		if _, err := raw.Exec("DROP INDEX " + quote(name)); err != nil {
			t.Fatal(err)
		}
	}
	db = connect(t, startTestStore(t, dir).URI()).Database("db")
	for name := range ways {
		check(t, db, name)
	}
}

func indexNames(tb testing.TB, db *sql.DB) []string {
	tb.Helper()
	rows, err := db.Query(`SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE ?`, "%"+indexSuffix)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			tb.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return names
}

// TestMendsWhatAKillLeftHalfMade builds what the store leaves behind when it is killed between two of the steps in
// which it makes databases, collections and indexes, and then makes them again.
func TestMendsWhatAKillLeftHalfMade(t *testing.T) {
	dir := t.TempDir()
	s := startTestStore(t, dir)
	ctx := t.Context()
	unique := mongo.IndexModel{Keys: d("email", 1), Options: options.Index().SetUnique(true)}
	use := func(db *mongo.Database, name string) error {
		c := db.Collection(name)
		if _, err := c.Indexes().CreateOne(ctx, unique); err != nil {
			return err
		}
		_, err := c.UpdateOne(ctx, d("_id", "a"), d("$inc", d("n", 1)), options.UpdateOne().SetUpsert(true))
		return err
	}
	names := []string{"whole", "unlisted", "unset", "unindexed"}
	for _, name := range names {
		if err := use(connect(t, s.URI()).Database("db"), name); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	raw, err := openFile(filepath.Join(dir, "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`DELETE FROM ` + collectionsTable + ` WHERE name = 'unlisted'`,
		`UPDATE ` + collectionsTable + ` SET settings = '{}' WHERE name = 'unset'`,
		`UPDATE ` + collectionsTable + ` SET settings = json_remove(settings, '$.indexes[1]') WHERE name = 'unindexed'`,
	} {
		if _, err := raw.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	_ = raw.Close()
	if err := os.WriteFile(filepath.Join(dir, "empty.sqlite"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	client := connect(t, startTestStore(t, dir).URI())
	for _, name := range names {
		if err := use(client.Database("db"), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := use(client.Database("empty"), "things"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]int{"whole": 2, "unindexed": 2, "unlisted": 1, "unset": 1} {
		var doc struct{ N int }
		if err := client.Database("db").Collection(name).FindOne(ctx, d("_id", "a")).Decode(&doc); err != nil || doc.N != want {
			t.Errorf("%s: n is %d (%v), want %d", name, doc.N, err, want)
		}
	}
}

// updateFrame is an update as it goes over the wire.
func updateFrame(tb testing.TB) []byte {
	tb.Helper()
	frame, err := newFrame(1, 0, wirebson.MustDocument("update", "counters", "updates", wirebson.MustArray(wirebson.MustDocument(
		"q", wirebson.MustDocument("_id", "counter"), "u", wirebson.MustDocument("$inc", wirebson.MustDocument("n", int32(1))), "upsert", true,
	)), "$db", "db"))
	if err != nil {
		tb.Fatal(err)
	}
	return frame
}

func TestClientsThatMisbehaveHoldUpNobody(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	counters := connect(t, s.URI()).Database("db").Collection("counters")
	count := func() (n int) {
		var doc struct{ N int }
		_ = counters.FindOne(t.Context(), d("_id", "counter")).Decode(&doc)
		return doc.N
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", s.front.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	frame := updateFrame(t)

	half := dial()
	if _, err := half.Write(frame[:len(frame)-1]); err != nil {
		t.Fatal(err)
	}
	gone := dial()
	if _, err := gone.Write(frame); err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	eventually(t, "the write of a client that has gone is there", func() bool { return count() == 1 })
	deaf := dial()
	for range 20 {
		if _, err := deaf.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the writes of a client that reads no answers are there", func() bool { return count() == 21 })
	if _, err := half.Write(frame[len(frame)-1:]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the write that came in two parts is there", func() bool { return count() == 22 })

	for name, bad := range map[string][]byte{
		"too long":   {0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0},
		"too short":  {15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0},
		"old insert": binary.LittleEndian.AppendUint32([]byte{16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 2002),
		"HTTP":       []byte("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
	} {
		c := dial()
		if _, err := c.Write(bad); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %d bytes and %v, want the connection closed", name, n, err)
		}
	}
}

func TestUnacknowledgedWrites(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	client := connect(t, s.URI(), options.Client().SetMaxPoolSize(1))
	quiet := client.Database("db").Collection("counters", options.Collection().SetWriteConcern(writeconcern.Unacknowledged()))
	for range 5 {
		if _, err := quiet.UpdateOne(t.Context(), d("_id", "counter"), d("$inc", d("n", 1)), options.UpdateOne().SetUpsert(true)); err != nil {
			t.Fatal(err)
		}
	}
	var doc struct{ N int }
	if err := client.Database("db").Collection("counters").FindOne(t.Context(), d("_id", "counter")).Decode(&doc); err != nil || doc.N != 5 {
		t.Errorf("on the same connection: n is %d, %v, want 5", doc.N, err)
	}
}

// TestDatabasesDoNotWaitForEachOther holds one database's lock and writes to another.
func TestDatabasesDoNotWaitForEachOther(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	client := connect(t, s.URI())
	insert := func(ctx context.Context, db string) error {
		_, err := client.Database(db).Collection("things").InsertOne(ctx, d("n", 1))
		return err
	}
	if err := insert(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	v, _ := s.front.databases.Load("slow")
	slow := v.(*database)
	slow.Lock()
	if err := insert(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	if err := client.Database("slow").Collection("things").FindOne(t.Context(), d()).Err(); err != nil {
		t.Errorf("a read waited for a write: %v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- insert(t.Context(), "slow") }()
	select {
	case err := <-waiting:
		t.Errorf("a write did not wait for another: %v", err)
	default:
	}
	slow.Unlock()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// A command whose sender has given up while it waited is not carried out any more.
func TestACommandThatWaitedTooLongIsDropped(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	things := connect(t, s.URI()).Database("slow").Collection("things")
	if _, err := things.InsertOne(t.Context(), d("_id", "a", "n", 0)); err != nil {
		t.Fatal(err)
	}
	v, _ := s.front.databases.Load("slow")
	slow := v.(*database)
	slow.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := things.UpdateOne(ctx, d("_id", "a"), d("$inc", d("n", 1)))
	slow.Unlock()
	if !mongo.IsTimeout(err) {
		t.Fatalf("the update ended with %v, want a time-out", err)
	}
	// The next write comes after the dropped one, which held the lock last if at all.
	if _, err := things.UpdateOne(t.Context(), d("_id", "a"), d("$inc", d("m", 1))); err != nil {
		t.Fatal(err)
	}
	var doc struct{ N int }
	if err := things.FindOne(t.Context(), d("_id", "a")).Decode(&doc); err != nil || doc.N != 0 {
		t.Errorf("n is %d, %v; want 0", doc.N, err)
	}
}

func TestCloseAnswersWhatIsInProgress(t *testing.T) {
	s := startTestStore(t, t.TempDir())
	db := &database{indexed: map[string]bool{}}
	s.front.databases.Store("db", db)
	db.Lock()
	written := make(chan error, 1)
	conn, err := net.Dial("tcp", s.front.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's
	go func() {
		_, err := conn.Write(updateFrame(t))
		if err == nil {
			_, err = readFrame(bufio.NewReader(conn))
		}
		written <- err
	}()
	eventually(t, "the command has been read", func() bool { return s.front.busy.Load() == 1 })
	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	eventually(t, "the store is closing", func() bool { s.front.mu.Lock(); defer s.front.mu.Unlock(); return s.front.draining })
	db.Unlock()
	if err := <-written; err != nil {
		t.Errorf("command in progress: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestStoreRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	s := startTestStore(t, dir)
	addr := s.front.l.Addr().String()
	for name, tt := range map[string]struct {
		o    StoreOptions
		want string
	}{
		"address in use":   {StoreOptions{Dir: t.TempDir(), Addr: addr}, addr},
		"directory in use": {StoreOptions{Dir: dir, Addr: "127.0.0.1:0"}, dir},
		"not loopback":     {StoreOptions{Dir: t.TempDir(), Addr: "0.0.0.0:0"}, "loopback"},
		"no port":          {StoreOptions{Dir: t.TempDir(), Addr: "127.0.0.1"}, "127.0.0.1"},
		"no directory":     {StoreOptions{Addr: "127.0.0.1:0"}, "directory"},
		"not a directory":  {StoreOptions{Dir: "/dev/null/x", Addr: "127.0.0.1:0"}, "/dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := StartStore(tt.o)
			if err == nil {
				closeStore(t, s)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that names %q", err, tt.want)
			}
		})
	}
}

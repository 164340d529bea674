// Package store answers: how is state kept?
//
// A service keeps documents in a database of its own. Every hot operation addresses one document by its _id and
// changes it with one atomic operator update; conditions on the same document (its guard) stand in the filter, so
// that the decision and the change are one step on any number of replicas. There are no transactions and nothing is
// read in order to be written back.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// OpTimeout bounds every operation, so that a store that went away is noticed within a person's patience.
const OpTimeout = 1500 * time.Millisecond

// Errors of a collection. Anything else is a fault; when the store does not answer it is a [*contract.Error] with
// code unavailable.
var (
	// ErrNotFound: no document has this _id.
	ErrNotFound = errors.New("no such document")
	// ErrExists: a document with this _id is there already.
	ErrExists = errors.New("the document exists already")
)

// Options say where the store is.
type Options struct {
	URI string
	// Database belongs to one service alone.
	Database string
	// Name is shown by the server's tools.
	Name    string
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// DB is a service's database. Safe for concurrent use.
type DB struct {
	client *mongo.Client
	db     *mongo.Database
	uri    string
	log    *slog.Logger
}

// CheckURI returns what is wrong with the address of a document store, or nil. It asks nobody, not even for names
// (mongodb+srv), and repeats nothing of an address, which may hold a password, but the name of a file that it names.
func CheckURI(uri string) error {
	// What stands in the DNS is looked up when it is connected to; all else is read as if it stood here.
	if rest, ok := strings.CutPrefix(uri, "mongodb+srv://"); ok {
		at, query, _ := strings.Cut(rest, "?")
		uri = "mongodb://" + at + "?" + srvOnly.ReplaceAllString(query, "")
	}
	err := options.Client().ApplyURI(uri).Validate()
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return file
	case err != nil:
		return errors.New("must be the URI of a document store, such as mongodb://127.0.0.1:27017")
	}
	return nil
}

// srvOnly are the options that an address has only where the DNS says more; the driver looks at them then.
var srvOnly = regexp.MustCompile(`(?i)(^|&)(srvMaxHosts=[0-9]+|srvServiceName=[a-z0-9-]+)`)

// Connect dials until ctx ends. Writes wait for a majority. An unreachable server is an error that names its address
// (never the credentials of the URI).
func Connect(ctx context.Context, o Options) (*DB, error) {
	opts := options.Client().ApplyURI(o.URI).SetAppName(o.Name).
		SetTimeout(OpTimeout).SetServerSelectionTimeout(OpTimeout).SetConnectTimeout(OpTimeout).
		SetWriteConcern(writeconcern.Majority()).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		SetMonitor(monitor(o.Metrics)).SetMaxPoolSize(64)
	if err := opts.Validate(); err != nil {
		return nil, errors.New("document store: the URI is not a MongoDB URI")
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("document store: %w", err)
	}
	d := &DB{client: client, db: client.Database(o.Database), uri: fmt.Sprint(opts.Hosts), log: o.Log}
	for {
		if err = d.Ready(ctx); err == nil {
			return d, nil
		}
		select {
		case <-ctx.Done():
			_ = client.Disconnect(context.WithoutCancel(ctx))
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Ready tells whether the store answers now.
func (d *DB) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, OpTimeout)
	defer cancel()
	if err := d.client.Ping(ctx, readpref.Primary()); err != nil {
		return fmt.Errorf("document store at %s does not answer: %w", d.uri, err)
	}
	return nil
}

// Close waits for operations in hand, bounded by ctx, and disconnects. Closing twice is harmless.
func (d *DB) Close(ctx context.Context) error {
	if err := d.client.Disconnect(ctx); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
		return fmt.Errorf("document store: %w", err)
	}
	return nil
}

// Index is a secondary index that a query needs.
type Index struct {
	Collection string
	Name       string
	Keys       bson.D
	Unique     bool
}

// EnsureIndexes creates what is missing. Indexes are declared in code, beside the queries that need them.
// Building one over many documents may take its time (on the embedded store about five seconds for each 100,000): ten
// minutes for all of them.
func (d *DB) EnsureIndexes(ctx context.Context, indexes []Index) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for _, i := range indexes {
		m := mongo.IndexModel{Keys: i.Keys, Options: options.Index().SetName(i.Name).SetUnique(i.Unique)}
		if _, err := d.db.Collection(i.Collection).Indexes().CreateOne(ctx, m); err != nil {
			return fmt.Errorf("index %s of %s: %w", i.Name, i.Collection, err)
		}
	}
	return nil
}

// Collection holds documents of one type; the type has an _id of type string.
type Collection[T any] struct {
	c *mongo.Collection
	d *DB
}

// Of returns a collection of a database. It costs nothing and creates nothing.
func Of[T any](d *DB, name string) Collection[T] {
	return Collection[T]{c: d.db.Collection(name), d: d}
}

// bound limits an operation to [OpTimeout]; the driver's own time-out gives way to a deadline of ctx, however far.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, OpTimeout)
}

// Get reads one document by _id, or [ErrNotFound].
func (c Collection[T]) Get(ctx context.Context, id string) (t T, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "get", c.c.Name())
	defer func() { c.done(span, "get", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	err = c.c.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&t)
	return t, c.fault("get", err)
}

// Insert writes a new document, or [ErrExists].
func (c Collection[T]) Insert(ctx context.Context, doc T) (err error) {
	ctx, span := trace.Start(ctx, trace.Client, "insert", c.c.Name())
	defer func() { c.done(span, "insert", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err = c.c.InsertOne(ctx, doc)
	return c.fault("insert", err)
}

// Change is one atomic update of one document.
type Change struct {
	// Guard holds conditions on the document besides its _id; without them the update is unconditional.
	Guard bson.D
	// Update is made of update operators only.
	Update bson.D
	// Upsert creates the document when there is none. With a guard that does not hold, it is [ErrExists].
	Upsert bool
	// Before returns the document as it was; otherwise as it is now.
	Before bool
}

// Apply changes the document with this _id and returns it. [ErrNotFound] means that there is none, or that the guard
// does not hold; who needs to know which reads the document afterwards.
func (c Collection[T]) Apply(ctx context.Context, id string, ch Change) (t T, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "apply", c.c.Name())
	defer func() { c.done(span, "apply", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	filter := append(bson.D{{Key: "_id", Value: id}}, ch.Guard...)
	side := options.After
	if ch.Before {
		side = options.Before
	}
	err = c.c.FindOneAndUpdate(ctx, filter, ch.Update,
		options.FindOneAndUpdate().SetReturnDocument(side).SetUpsert(ch.Upsert)).Decode(&t)
	if ch.Upsert && ch.Before && errors.Is(err, mongo.ErrNoDocuments) {
		return t, nil // there was nothing before, and now there is
	}
	return t, c.fault("apply", err)
}

// Update changes the document with this _id under a guard and tells whether it did. The same as [Collection.Apply],
// without the document on the way back.
func (c Collection[T]) Update(ctx context.Context, id string, ch Change) (did bool, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "update", c.c.Name())
	defer func() { c.done(span, "update", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	filter := append(bson.D{{Key: "_id", Value: id}}, ch.Guard...)
	r, err := c.c.UpdateOne(ctx, filter, ch.Update, options.UpdateOne().SetUpsert(ch.Upsert))
	if err != nil {
		return false, c.fault("update", err)
	}
	return r.MatchedCount+r.UpsertedCount > 0, nil
}

// Delete removes the document with this _id, or leaves it gone.
func (c Collection[T]) Delete(ctx context.Context, id string) (err error) {
	ctx, span := trace.Start(ctx, trace.Client, "delete", c.c.Name())
	defer func() { c.done(span, "delete", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err = c.c.DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
	return c.fault("delete", err)
}

// DeleteIf removes the document with this _id if the guard holds, and tells whether it did.
func (c Collection[T]) DeleteIf(ctx context.Context, id string, guard bson.D) (did bool, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "delete", c.c.Name())
	defer func() { c.done(span, "delete", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	r, err := c.c.DeleteOne(ctx, append(bson.D{{Key: "_id", Value: id}}, guard...))
	if err != nil {
		return false, c.fault("delete", err)
	}
	return r.DeletedCount > 0, nil
}

// Query finds documents in the order of sort, at most limit; nil is every document, and any order. For lists and sweeps;
// each query has an index, made of the fields that filter sets equal, then those of sort. A page after the last document of the page before is a range on
// the fields of sort; after two of them, {a: {$gte: x}, $or: [{a: {$gt: x}}, {b: {$gt: y}}]}, which an index serves,
// where an $or alone would be read from the beginning. On the embedded store the fields must be scalars other than
// doubles in all documents, or each query reads the whole collection.
func (c Collection[T]) Query(ctx context.Context, filter, sort bson.D, limit int64) (out []T, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "query", c.c.Name())
	defer func() { c.done(span, "query", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	if filter == nil {
		filter = bson.D{}
	}
	if sort == nil {
		sort = bson.D{}
	}
	cur, err := c.c.Find(ctx, filter, options.Find().SetSort(sort).SetLimit(limit))
	if err != nil {
		return nil, c.fault("query", err)
	}
	err = c.fault("query", cur.All(ctx, &out))
	return out, err
}

// Count counts the documents that match, up to limit (0: all of them). For the figures of a list; each has an index,
// as for [Collection.Query]. A count of 100,000 by index takes some ten milliseconds.
func (c Collection[T]) Count(ctx context.Context, filter bson.D, limit int64) (n int64, err error) {
	ctx, span := trace.Start(ctx, trace.Client, "count", c.c.Name())
	defer func() { c.done(span, "count", err) }()
	ctx, cancel := bound(ctx)
	defer cancel()
	command := bson.D{{Key: "count", Value: c.c.Name()}, {Key: "query", Value: filter}}
	if limit > 0 {
		command = append(command, bson.E{Key: "limit", Value: limit})
	}
	var answer struct {
		N int64 `bson:"n"`
	}
	err = c.d.db.RunCommand(ctx, command).Decode(&answer)
	return answer.N, c.fault("count", err)
}

// done ends the span of one operation: what was done to which collection, and never to whom.
func (c Collection[T]) done(span trace.Span, op string, err error) {
	if !span.On() {
		return
	}
	span.Set(trace.Operation, op)
	span.Set(trace.Collection, c.c.Name())
	switch {
	case err == nil:
		span.End(trace.OK, false)
	case errors.Is(err, ErrNotFound):
		span.End("not_found", false) // or a guard that does not hold
	case errors.Is(err, ErrExists):
		span.End("exists", false)
	default:
		span.End(string(contract.CodeOf(err)), true)
	}
}

// fault names the operation, and turns "nobody answers" into the refusal that a person may see.
func (c Collection[T]) fault(op string, err error) error {
	var command mongo.CommandError
	// The driver's word for "this was not sent, because the connections were closed meanwhile" is a type of its own.
	var unsent interface {
		error
		Retryable() bool
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mongo.ErrNoDocuments):
		return ErrNotFound
	case mongo.IsDuplicateKeyError(err):
		return ErrExists
	case mongo.IsTimeout(err), mongo.IsNetworkError(err), errors.Is(err, mongo.ErrClientDisconnected), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &unsent) && unsent.Retryable(),
		errors.As(err, &command) && (command.HasErrorLabel("RetryableWriteError") || command.HasErrorLabel("TransientTransactionError")):
		c.d.log.Warn("document store does not answer", slog.String("collection", c.c.Name()), slog.String("operation", op), slog.Any("error", err))
		return contract.NotAnswering()
	default:
		return fmt.Errorf("%s %s: %w", op, c.c.Name(), err)
	}
}

// monitor measures every command.
func monitor(r prometheus.Registerer) *event.CommandMonitor {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sallyport_store_operation_duration_seconds", Help: "Time of document store commands, by command and outcome.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"command", "outcome"})
	if r != nil {
		r.MustRegister(took)
	}
	known := map[string]bool{"find": true, "insert": true, "update": true, "delete": true, "findAndModify": true, "count": true, "createIndexes": true}
	for command := range known {
		took.WithLabelValues(command, "ok")
		took.WithLabelValues(command, "error")
	}
	took.WithLabelValues("other", "ok")
	took.WithLabelValues("other", "error")
	label := func(command string) string {
		if known[command] {
			return command
		}
		return "other"
	}
	return &event.CommandMonitor{
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
			took.WithLabelValues(label(e.CommandName), "ok").Observe(e.Duration.Seconds())
		},
		Failed: func(_ context.Context, e *event.CommandFailedEvent) {
			took.WithLabelValues(label(e.CommandName), "error").Observe(e.Duration.Seconds())
		},
	}
}

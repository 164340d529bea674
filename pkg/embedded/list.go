package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/FerretDB/wire/wirebson"
)

// Lists and counts are read by the front itself, from the store's files, through the indexes of keys.go: the store
// would read the whole collection (40 µs for each document). What the front does not understand exactly goes to the
// store as it came: parameters, operators and values beyond those of plan.go and filter.go, and any collection that
// holds, in a field that matters, something whose meaning only the store knows (an array or a double, say). So the answer is the
// store's own either way; only how long it takes differs. A list is one read of SQLite's, which sees one state of the
// database and holds up no writer.

// maxAnswer is how much text of documents the front puts into one answer. Longer ones are the store's, in batches.
const maxAnswer = 8 << 20

// errNotListed says that a question is for the store after all.
var errNotListed = errors.New("beyond the front")

// reader is a database file opened for lists. A file that is open cannot be dropped cleanly: dropping waits for lists
// in progress and closes it.
type reader struct {
	using sync.RWMutex // held for writing while the database is dropped
	mu    sync.Mutex
	file  *sql.DB
}

// open returns the file, opened once.
func (r *reader) open(file string) (*sql.DB, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		return r.file, nil
	}
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+file+"?mode=rw&_pragma=busy_timeout(10000)&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	r.file = db
	return db, nil
}

func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// isNew tells that the store is just making the database: its file is there, and not yet what is in it.
func isNew(err error) bool {
	return strings.Contains(err.Error(), "no such table: "+collectionsTable)
}

// list answers a find or count, or returns nil for the store to answer it.
func (f *front) list(cmd command, req []byte) ([]byte, error) {
	q, ok := parseQuery(cmd)
	if !ok || f.plain || !databaseName.MatchString(cmd.db()) {
		return nil, nil
	}
	r := &f.database(cmd.db()).reader
	r.using.RLock()
	defer r.using.RUnlock()
	ctx := context.Background()
	if limit := cmd.maxTime(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	answer, err := q.run(ctx, r, filepath.Join(f.dir, cmd.db()+".sqlite"), cmd)
	switch {
	case err == nil:
		return newFrame(0, requestID(req), answer)
	case ctx.Err() != nil:
		return newFrame(0, requestID(req), failure(maxTimeExpired, "MaxTimeMSExpired", "the list took longer than its time limit"))
	case !errors.Is(err, errNotListed) && !errors.Is(err, os.ErrNotExist) && !isNew(err):
		f.log.Warn("cannot read a list by index", slog.String("database", cmd.db()), slog.String("collection", cmd.collection()), slog.Any("error", err))
	}
	return nil, nil
}

// run reads the answer in one transaction of SQLite's.
func (q query) run(ctx context.Context, r *reader, file string, cmd command) (*wirebson.Document, error) {
	db, err := r.open(file)
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // it has only read
	var table, noted string
	err = tx.QueryRowContext(ctx, `SELECT table_name, settings FROM `+collectionsTable+` WHERE name = ?`, cmd.collection()).Scan(&table, &noted)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNotListed
	}
	if err != nil {
		return nil, err
	}
	s, err := parseSettings(noted)
	if err != nil {
		return nil, err
	}
	if s.CappedSize > 0 {
		return nil, errNotListed
	}
	p, ok := q.plan(table, s.fields())
	if !ok {
		return nil, errNotListed
	}
	if p.check != "" {
		var odd bool
		if err := tx.QueryRowContext(ctx, p.check, p.checkArgs...).Scan(&odd); err != nil {
			return nil, err
		}
		if odd {
			return nil, errNotListed
		}
	}
	if q.count {
		return p.count(ctx, tx)
	}
	batch, err := p.documents(ctx, tx, q.project)
	if err != nil {
		return nil, err
	}
	return wirebson.NewDocument("cursor", wirebson.MustDocument(
		"firstBatch", batch, "id", int64(0), "ns", cmd.db()+"."+cmd.collection(),
	), "ok", 1.0)
}

// plan is a query in SQL. Its rows are the text of a document (or nothing, for a count) and whether it is odd.
type plan struct {
	check     string // whether any document is odd that the rows would not show to be
	checkArgs []any
	rows      string
	rowsArgs  []any
}

// plan puts a query into SQL. Whether a document is odd in a field that has an index is asked of an index too; for
// any other field of the filter each document is asked that might match.
func (q query) plan(table string, indexed map[field]bool) (plan, bool) {
	t := translator{ok: true, fields: map[field]bool{}, pinned: map[field]pin{}}
	parts := t.conjuncts(q.filter)
	if !t.ok {
		return plan{}, false
	}
	from := ` FROM ` + quote(table)
	checks, loose := map[string]bool{}, map[string]bool{}
	where := ""
	var args []any
	for _, c := range parts {
		condition := c.sql
		for f := range c.fields {
			if indexed[f] {
				checks[`EXISTS (SELECT 1`+from+` WHERE `+f.odd()+` AND `+is(f, rankOdd)+`)`] = true
				continue
			}
			loose[is(f, rankOdd)] = true
			condition = "(" + condition + ") OR " + is(f, rankOdd)
		}
		if len(c.fields) > 0 && condition != c.sql {
			condition = "(" + condition + ")"
		}
		where += map[bool]string{true: " WHERE ", false: " AND "}[where == ""] + condition
		args = append(args, c.args...)
	}
	var p plan
	order := ""
	for _, k := range q.sort {
		way := ""
		if k.down {
			way = " DESC"
		}
		pinned := t.pinned[k.field]
		if pinned < pinnedRank {
			order += ", " + k.field.rank() + way
		}
		if pinned < pinnedValue {
			order += ", " + k.field.value() + way
		}
		switch {
		case pinned == pinnedValue:
		case indexed[k.field]:
			checks[`EXISTS (SELECT 1`+from+` WHERE `+k.field.odd()+`)`] = true
		default:
			both := " AND "
			if where == "" {
				both = " WHERE "
			}
			checks[`EXISTS (SELECT 1`+from+where+both+k.field.odd()+`)`] = true
		}
	}
	for _, c := range sortedKeys(checks) {
		if p.check == "" {
			p.check = `SELECT ` + c
		} else {
			p.check += ` OR ` + c
		}
		if strings.Contains(c, "?") {
			p.checkArgs = append(p.checkArgs, args...)
		}
	}
	odd := "0"
	if len(loose) > 0 {
		odd = strings.Join(sortedKeys(loose), " OR ")
	}
	what := "_ferretdb_sjson, " + odd
	if q.count {
		what = odd + " AS odd"
	}
	p.rows = `SELECT ` + what + from + where
	if order != "" {
		p.rows += ` ORDER BY ` + order[2:]
	}
	p.rowsArgs = args
	if q.limit > 0 || q.skip > 0 {
		limit := q.limit
		if limit == 0 {
			limit = math.MaxInt64
		}
		p.rows += ` LIMIT ? OFFSET ?`
		p.rowsArgs = append(slices.Clone(args), limit, q.skip)
	}
	if q.count {
		if odd == "0" && q.limit == 0 && q.skip == 0 {
			p.rows = `SELECT count(*), 0` + from + where
		} else {
			p.rows = `SELECT count(*), coalesce(max(odd), 0) FROM (` + p.rows + `)`
		}
	}
	return p, true
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (p plan) count(ctx context.Context, tx *sql.Tx) (*wirebson.Document, error) {
	var n int64
	var odd bool
	if err := tx.QueryRowContext(ctx, p.rows, p.rowsArgs...).Scan(&n, &odd); err != nil {
		return nil, err
	}
	if odd || n > math.MaxInt32 {
		return nil, errNotListed
	}
	return wirebson.NewDocument("n", int32(n), "ok", 1.0) //nolint:gosec // checked just above
}

func (p plan) documents(ctx context.Context, tx *sql.Tx, project *projection) (*wirebson.Array, error) {
	rows, err := tx.QueryContext(ctx, p.rows, p.rowsArgs...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	batch := wirebson.MakeArray(0)
	size := 0
	for rows.Next() {
		var text sql.RawBytes
		var odd bool
		if err := rows.Scan(&text, &odd); err != nil {
			return nil, err
		}
		if size += len(text); odd || size > maxAnswer {
			return nil, errNotListed
		}
		doc, err := decodeDocument(text)
		if err != nil {
			return nil, fmt.Errorf("read a document: %w", err)
		}
		if doc, err = project.of(doc); err != nil {
			return nil, err
		}
		if err := batch.Add(doc); err != nil {
			return nil, err
		}
	}
	return batch, rows.Err()
}

// database returns what the front knows of a database.
func (f *front) database(name string) *database {
	v, _ := f.databases.LoadOrStore(name, &database{indexed: map[string]bool{}})
	return v.(*database)
}

// closeReaders closes the files opened for lists. A list in progress, cut off with its client, fails.
func (f *front) closeReaders() {
	f.databases.Range(func(_, v any) bool {
		v.(*database).reader.close()
		return true
	})
}

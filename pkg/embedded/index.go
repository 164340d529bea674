package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	_ "modernc.org/sqlite" // the driver that the document store uses
)

// The store keeps each database in a SQLite file and each collection in a table of it, documents as JSON text in one
// column. This file is all that knows about that.
const (
	collectionsTable = "_ferretdb_collections"
	idExpression     = "_ferretdb_sjson->'$._id'" // exactly as in the store's queries, or SQLite does not use the index
	indexSuffix      = "_sallyport_id"
	pragmas          = "_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=auto_vacuum(none)"
)

// databaseName is what the store accepts; it keeps a name from being a path.
var databaseName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,63}$`)

// openFile opens an existing database file. Close it soon: a file that is open cannot be dropped cleanly.
func openFile(file string) (*sql.DB, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	return sql.Open("sqlite", "file:"+file+"?mode=rw&"+pragmas)
}

// indexCollection gives a collection's table the index that the store's look-ups by _id need, and those that the
// front's lists need (keys.go). It reports false, and no error, where there is no such collection. It costs about a
// millisecond for a new collection.
func indexCollection(dir, database, collection string) (bool, error) {
	if !databaseName.MatchString(database) {
		return false, nil
	}
	db, err := openFile(filepath.Join(dir, database+".sqlite"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer db.Close() //nolint:errcheck // nothing to save
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after Commit
	var table, noted string
	err = tx.QueryRowContext(ctx, `SELECT table_name, settings FROM `+collectionsTable+` WHERE name = ?`, collection).Scan(&table, &noted)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := indexTable(ctx, tx, table, noted); err != nil {
		return false, err
	}
	return true, tx.Commit()
}

func createIndex(table string) string {
	return fmt.Sprintf(`CREATE INDEX IF NOT EXISTS %s ON %s (%s)`, quote(table+indexSuffix), quote(table), idExpression)
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// mendFiles prepares the files in dir for a start: it adds missing indexes, and takes back what the store had only
// half made when its process was killed, because the store would stumble over it for ever. Making a collection or an
// index takes the store several steps that are not one transaction; no document can be in a collection before the
// last of them, so nothing is lost.
func mendFiles(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.sqlite"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := mendFile(file); err != nil {
			return fmt.Errorf("check %s: %w", file, err)
		}
	}
	return nil
}

func mendFile(file string) error {
	db, err := openFile(file)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // nothing to save
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after Commit

	// As the store makes it.
	_, err = tx.Exec(`CREATE TABLE IF NOT EXISTS ` + collectionsTable + ` (name TEXT NOT NULL UNIQUE CHECK(name != ''), ` +
		`table_name TEXT NOT NULL UNIQUE CHECK(table_name != ''), settings TEXT NOT NULL CHECK(settings != '')) STRICT`)
	if err != nil {
		return err
	}

	// A collection still without settings lacks its unique index on _id.
	if _, err := tx.Exec(`DELETE FROM ` + collectionsTable + ` WHERE settings = '{}'`); err != nil {
		return err
	}
	rows, err := pairs(tx, `SELECT table_name, settings FROM `+collectionsTable)
	if err != nil {
		return err
	}
	tables, indexes := map[string]bool{}, map[string]bool{}
	for _, row := range rows {
		s, err := parseSettings(row[1])
		if err != nil {
			return fmt.Errorf("settings of %s: %w", row[0], err)
		}
		tables[row[0]] = true
		indexes[row[0]+indexSuffix] = true
		for _, i := range s.Indexes {
			indexes[row[0]+"_"+i.Name] = true
		}
		for name := range s.keyIndexes(row[0]) {
			indexes[name] = true
		}
	}

	made, err := pairs(tx, `SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	if err != nil {
		return err
	}
	for _, m := range made {
		kind, name := m[0], m[1]
		if name == collectionsTable || kind == "table" && tables[name] || kind == "index" && indexes[name] {
			continue
		}
		if _, err := tx.Exec(`DROP ` + kind + ` IF EXISTS ` + quote(name)); err != nil {
			return err
		}
	}
	for _, row := range rows {
		if err := indexTable(context.Background(), tx, row[0], row[1]); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// pairs returns the rows of a query of two text columns.
func pairs(tx *sql.Tx, query string, args ...any) ([][2]string, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out [][2]string
	for rows.Next() {
		var p [2]string
		if err := rows.Scan(&p[0], &p[1]); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

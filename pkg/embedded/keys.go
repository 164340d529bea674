package embedded

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// What the front sorts and searches by. The store's own indexes serve uniqueness alone: it asks SQLite for the whole
// collection and filters and sorts what comes. So the front has SQLite keep a second index for each that is declared,
// on two expressions for each of its fields: the rank of the value's type in MongoDB's order, and the value. Both
// together sort as MongoDB sorts, whatever types are mixed, and a 5 is never a "5".

// Ranks follow the order of types in MongoDB as far as values of the type sort in SQLite as they do in MongoDB.
const (
	rankOdd    = 0 // arrays, also on the way to the field, and doubles: only the store knows what they mean
	rankOpaque = 1 // documents and binary data: they equal no scalar, and the front cannot sort them
	rankNull   = 2 // also a missing field
	rankNumber = 3
	rankText   = 4
	rankID     = 5
	rankBool   = 6
	rankDate   = 7
)

// Names of the front's indexes end so. What is before it stands for the index's definition.
const (
	keysSuffix = "_sallyport_keys"
	oddSuffix  = "_sallyport_odd"
)

// field is the path of a field, with dots through documents, in letters that need no care in SQL.
type field string

var plainField = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}$`)

func asField(path string) (field, bool) { return field(path), plainField.MatchString(path) }

// value is the SQL expression of the field's value: NULL for null and nothing, text for text, integers for numbers,
// booleans and times.
func (f field) value() string {
	return `_ferretdb_sjson->>'$."` + strings.ReplaceAll(string(f), ".", `"."`) + `"'`
}

// kind is the SQL expression of the type's name in the document's schema, NULL for a missing field.
func (f field) kind() string {
	return `_ferretdb_sjson->>'$."$s"."p"."` + strings.ReplaceAll(string(f), ".", `"."$s"."p"."`) + `"."t"'`
}

// rank is the SQL expression of the type's rank, never NULL.
func (f field) rank() string {
	way := ""
	for i, c := range f {
		if c == '.' {
			way += `WHEN ` + f[:i].kind() + ` = 'array' THEN 0 `
		}
	}
	rank := `CASE coalesce(` + f.kind() + `, 'null') WHEN 'string' THEN 4 WHEN 'int' THEN 3 WHEN 'long' THEN 3 WHEN 'date' THEN 7 ` +
		`WHEN 'bool' THEN 6 WHEN 'null' THEN 2 WHEN 'objectId' THEN 5 WHEN 'object' THEN 1 WHEN 'binData' THEN 1 ELSE 0 END`
	if way == "" {
		return rank
	}
	return `CASE ` + way + `ELSE ` + rank + ` END`
}

// odd is the condition on which a document may be beyond the front because of this field.
func (f field) odd() string { return f.rank() + ` < 2` }

// settings are what the store notes of a collection, as far as the front reads it.
type settings struct {
	Indexes []struct {
		Name string `json:"name"`
		Key  []struct {
			Field      string `json:"field"`
			Descending bool   `json:"descending"`
		} `json:"key"`
	} `json:"indexes"`
	CappedSize int64 `json:"cappedSize"`
}

func parseSettings(s string) (out settings, err error) { return out, json.Unmarshal([]byte(s), &out) }

// fields are those that an index is declared for and that the front can name.
func (s settings) fields() map[field]bool {
	out := map[field]bool{}
	for _, i := range s.Indexes {
		for _, k := range i.Key {
			if f, ok := asField(k.Field); ok {
				out[f] = true
			}
		}
	}
	return out
}

// keyIndexes returns the front's indexes on a table, each with the statement that makes it. An index with a field that
// the front cannot name gets none.
func (s settings) keyIndexes(table string) map[string]string {
	out := map[string]string{}
	add := func(suffix, what string) {
		sum := sha256.Sum256([]byte(what))
		name := table + "_" + hex.EncodeToString(sum[:6]) + suffix
		out[name] = `CREATE INDEX IF NOT EXISTS ` + quote(name) + ` ON ` + quote(table) + ` ` + what
	}
	for _, i := range s.Indexes {
		var columns []string
		for _, k := range i.Key {
			f, ok := asField(k.Field)
			if !ok {
				columns = nil
				break
			}
			way := ""
			if k.Descending {
				way = " DESC"
			}
			columns = append(columns, f.rank()+way, f.value()+way)
		}
		if columns != nil {
			add(keysSuffix, `(`+strings.Join(columns, ", ")+`)`)
		}
	}
	for f := range s.fields() {
		add(oddSuffix, `(`+f.rank()+`) WHERE `+f.odd())
	}
	return out
}

// indexTable makes the indexes that a collection's table lacks and drops those of the front's that nobody declares any
// more. It costs next to nothing where there is nothing to do, and seconds for an index over 100,000 documents.
func indexTable(ctx context.Context, tx *sql.Tx, table, noted string) error {
	s, err := parseSettings(noted)
	if err != nil {
		return fmt.Errorf("settings of %s: %w", table, err)
	}
	want := s.keyIndexes(table)
	there, err := pairs(tx, `SELECT type, name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?`, table)
	if err != nil {
		return err
	}
	for _, i := range there {
		ours := strings.HasSuffix(i[1], keysSuffix) || strings.HasSuffix(i[1], oddSuffix)
		if _, wanted := want[i[1]]; ours && !wanted {
			if _, err := tx.ExecContext(ctx, `DROP INDEX `+quote(i[1])); err != nil {
				return err
			}
		}
	}
	for _, statement := range append([]string{createIndex(table)}, slices.Sorted(maps.Values(want))...) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

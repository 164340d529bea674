package embedded

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/FerretDB/wire/wirebson"
)

// maxIn is the longest $in that the front takes on.
const maxIn = 1000

// translator turns a filter into SQL conditions over the expressions of keys.go. It is exact for documents that are
// not odd in any of the filter's fields, and ok turns false at the first thing that it is not sure of.
type translator struct {
	ok     bool
	args   []any
	fields map[field]bool // that occur
	pinned map[field]pin
}

// pin says how much of a field is the same in all documents that match.
type pin int

const (
	pinnedRank pin = iota + 1
	pinnedValue
)

// conjunct is one of the conditions that all have to hold.
type conjunct struct {
	sql    string
	args   []any
	fields map[field]bool
}

// conjuncts splits a filter; what it pins is noted.
func (t *translator) conjuncts(filter *wirebson.Document) []conjunct {
	var out []conjunct
	for name, v := range filter.All() {
		if name == "$and" {
			for _, clause := range t.clauses(v) {
				out = append(out, t.conjuncts(clause)...)
			}
			continue
		}
		part := translator{ok: true, fields: map[field]bool{}, pinned: t.pinned}
		c := conjunct{sql: part.condition(name, v, true), args: part.args, fields: part.fields}
		t.ok = t.ok && part.ok
		out = append(out, c)
	}
	return out
}

func (t *translator) unknown() string {
	t.ok = false
	return "0"
}

func (t *translator) clauses(v any) []*wirebson.Document {
	raw, ok := v.(wirebson.AnyArray)
	if !ok {
		t.unknown()
		return nil
	}
	a, err := raw.Decode()
	if err != nil || a.Len() == 0 {
		t.unknown()
		return nil
	}
	var out []*wirebson.Document
	for v := range a.Values() {
		d, ok := plainDocument(v)
		if !ok || d.Len() == 0 {
			t.unknown()
		}
		out = append(out, d)
	}
	return out
}

func (t *translator) all(filter *wirebson.Document) string {
	var out []string
	for name, v := range filter.All() {
		out = append(out, t.condition(name, v, false))
	}
	return "(" + strings.Join(out, " AND ") + ")"
}

// condition translates one element of a filter. top says that it has to hold for the document to match.
func (t *translator) condition(name string, v any, top bool) string {
	if logical[name] {
		var out []string
		for _, clause := range t.clauses(v) {
			out = append(out, t.all(clause))
		}
		switch {
		case len(out) == 0:
			return t.unknown()
		case name == "$and":
			return "(" + strings.Join(out, " AND ") + ")"
		case name == "$or":
			return "(" + strings.Join(out, " OR ") + ")"
		default: // $nor
			return "NOT (" + strings.Join(out, " OR ") + ")"
		}
	}
	f, ok := asField(name)
	if !ok {
		return t.unknown()
	}
	t.fields[f] = true
	if doc, ok := v.(wirebson.AnyDocument); ok {
		return t.operators(f, doc, top)
	}
	return t.equals(f, v, top)
}

func (t *translator) operators(f field, raw wirebson.AnyDocument, top bool) string {
	doc, ok := plainDocument(raw)
	if !ok || doc.Len() == 0 {
		return t.unknown()
	}
	var out []string
	for name, v := range doc.All() {
		out = append(out, t.operator(f, name, v, top))
	}
	return strings.Join(out, " AND ")
}

func (t *translator) operator(f field, name string, v any, top bool) string {
	switch name {
	case "$eq":
		return t.equals(f, v, top)
	case "$ne":
		return "NOT (" + t.equals(f, v, false) + ")"
	case "$in":
		return t.in(f, v, top)
	case "$nin":
		return "NOT (" + t.in(f, v, false) + ")"
	case "$lt":
		return t.compares(f, "<", v, top)
	case "$lte":
		return t.compares(f, "<=", v, top)
	case "$gt":
		return t.compares(f, ">", v, top)
	case "$gte":
		return t.compares(f, ">=", v, top)
	case "$exists":
		switch v {
		case true:
			return f.kind() + ` IS NOT NULL`
		case false:
			t.pin(f, pinnedRank, top)
			return f.rank() + ` = 2 AND ` + f.kind() + ` IS NULL`
		}
	case "$not":
		if doc, ok := v.(wirebson.AnyDocument); ok {
			return "NOT (" + t.operators(f, doc, false) + ")"
		}
	}
	return t.unknown()
}

// equals is also true of a missing field where v is null.
func (t *translator) equals(f field, v any, top bool) string {
	if f == "_id" {
		if text, ok := jsonID(v); ok {
			t.pin(f, pinnedValue, top)
			t.args = append(t.args, text)
			return idExpression + " = ?"
		}
	}
	rank, arg := literal(v)
	switch rank {
	case rankOdd:
		return t.unknown()
	case rankNull:
		t.pin(f, pinnedValue, top)
		return is(f, rank)
	default:
		t.pin(f, pinnedValue, top)
		t.args = append(t.args, arg)
		return "(" + is(f, rank) + " AND " + f.value() + " = ?)"
	}
}

// compares is true only of values of v's own type.
func (t *translator) compares(f field, operator string, v any, top bool) string {
	rank, arg := literal(v)
	switch rank {
	case rankNumber, rankText, rankID, rankDate:
		t.pin(f, pinnedRank, top)
		t.args = append(t.args, arg)
		return is(f, rank) + " AND " + f.value() + " " + operator + " ?"
	default:
		return t.unknown()
	}
}

func (t *translator) in(f field, v any, top bool) string {
	raw, ok := v.(wirebson.AnyArray)
	if !ok {
		return t.unknown()
	}
	list, err := raw.Decode()
	if err != nil || list.Len() == 0 || list.Len() > maxIn {
		return t.unknown()
	}
	ids := f == "_id"
	byRank := [rankDate + 1][]any{}
	for v := range list.Values() {
		rank, arg := literal(v)
		if rank == rankOdd {
			return t.unknown()
		}
		if text, ok := jsonID(v); ids && ok {
			arg = text
		} else {
			ids = false
		}
		byRank[rank] = append(byRank[rank], arg)
	}
	if f == "_id" && !ids {
		return t.unknown()
	}
	var out []string
	for rank, args := range byRank {
		marks := "(?" + strings.Repeat(", ?", max(len(args)-1, 0)) + ")"
		switch {
		case len(args) == 0:
			continue
		case rank == rankNull:
			out = append(out, is(f, rank))
			continue
		case ids:
			out = append(out, idExpression+" IN "+marks)
		default:
			out = append(out, is(f, rank)+" AND "+f.value()+" IN "+marks)
		}
		t.args = append(t.args, args...)
	}
	if len(out) == 1 && !ids {
		t.pin(f, pinnedRank, top)
	}
	return "(" + strings.Join(out, " OR ") + ")"
}

func (t *translator) pin(f field, p pin, top bool) {
	if top {
		t.pinned[f] = max(t.pinned[f], p)
	}
}

func is(f field, rank int) string { return f.rank() + " = " + strconv.Itoa(rank) }

// literal returns the rank of a value in a filter and the value as SQLite holds it; rankOdd where it is nothing that
// the front compares with.
func literal(v any) (rank int, arg any) {
	switch v := v.(type) {
	case wirebson.NullType:
		return rankNull, nil
	case int32:
		return rankNumber, int64(v)
	case int64:
		return rankNumber, v
	case string:
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return rankOdd, nil
		}
		return rankText, v
	case wirebson.ObjectID:
		return rankID, hex.EncodeToString(v[:])
	case bool:
		if v {
			return rankBool, int64(1)
		}
		return rankBool, int64(0)
	case time.Time:
		return rankDate, v.UnixMilli()
	default:
		return rankOdd, nil
	}
}

// jsonID returns a string or ObjectID as the store's text has it, by which it is in the index on _id.
func jsonID(v any) (string, bool) {
	if rank, arg := literal(v); rank == rankText || rank == rankID {
		text, err := json.Marshal(arg)
		return string(text), err == nil
	}
	return "", false
}

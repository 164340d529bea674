package embedded

import (
	"bytes"
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/FerretDB/wire/wirebson"
)

// matches tells whether a document meets the conditions of a filter, as MongoDB understands them. It judges a closed
// set, which is what services use: equality, $eq, $ne, $lt, $lte, $gt, $gte, $in, $nin, $exists and $not, on paths
// through documents, under $and, $or and $nor; numbers, strings, booleans, times, ObjectIDs, binary data (equality
// only), documents (equality only) and null. sure is false where the conditions, or the document where they look,
// hold anything else: arrays, which MongoDB looks into, other operators and types, and what MongoDB refuses.
func matches(doc, conditions *wirebson.Document) (met, sure bool) {
	m := matcher{doc: doc}
	met = m.all(conditions)
	return met, !m.unsure
}

// matcher looks at every condition, even where the first ones settle the matter, so that what it cannot judge never
// depends on the document's values more than it must.
type matcher struct {
	doc    *wirebson.Document
	unsure bool
}

// unknown is the answer to what the matcher cannot judge.
func (m *matcher) unknown() bool {
	m.unsure = true
	return false
}

func (m *matcher) all(conditions *wirebson.Document) bool {
	met := true
	for name, v := range conditions.All() {
		met = m.condition(name, v) && met
	}
	return met
}

// condition judges one element of a filter.
func (m *matcher) condition(name string, v any) bool {
	if logical[name] {
		clauses := m.list(v)
		hold := 0
		for _, c := range clauses {
			if m.all(m.document(c)) {
				hold++
			}
		}
		switch {
		case len(clauses) == 0:
			return m.unknown()
		case name == "$and":
			return hold == len(clauses)
		case name == "$or":
			return hold > 0
		default: // $nor
			return hold == 0
		}
	}
	value := m.at(name)
	if _, ok := v.(wirebson.AnyDocument); ok {
		if d := m.document(v); strings.HasPrefix(d.Command(), "$") {
			return m.operators(value, d)
		}
	}
	return m.equals(value, v)
}

// operators judges {$gte: 1, $lt: 5} and the like.
func (m *matcher) operators(value any, operators *wirebson.Document) bool {
	met := true
	for name, v := range operators.All() {
		met = m.operator(value, name, v) && met
	}
	return met
}

func (m *matcher) operator(value any, name string, v any) bool {
	switch name {
	case "$exists":
		want, ok := v.(bool)
		if !ok {
			return m.unknown()
		}
		return (value != nil) == want
	case "$not":
		d := m.document(v)
		if d.Len() == 0 {
			return m.unknown()
		}
		return !m.operators(value, d)
	case "$eq":
		return m.equals(value, v)
	case "$ne":
		return !m.equals(value, v)
	case "$in":
		return m.in(value, v)
	case "$nin":
		return !m.in(value, v)
	case "$lt", "$lte", "$gt", "$gte":
		switch kindOf(v) {
		case foreign, document, blob:
			return m.unknown()
		}
		order, ok := m.compare(value, v)
		return ok && (order < 0 && name[1] == 'l' || order > 0 && name[1] == 'g' || order == 0 && len(name) == len("$lte"))
	default:
		return m.unknown()
	}
}

func (m *matcher) in(value, list any) bool {
	a, ok := list.(wirebson.AnyArray)
	if !ok {
		return m.unknown()
	}
	met := false
	for _, v := range m.list(a) {
		met = m.equals(value, v) || met
	}
	return met
}

// equals compares a field with a value in a filter.
func (m *matcher) equals(value, want any) bool {
	if _, ok := want.(wirebson.AnyDocument); ok {
		for name := range m.document(want).All() {
			if strings.HasPrefix(name, "$") {
				return m.unknown() // refused, or a reference
			}
		}
	}
	order, ok := m.compare(value, want)
	return ok && order == 0
}

// at returns what is at a path of the document, nil where that is nothing.
func (m *matcher) at(path string) any {
	var v any = m.doc
	for name := range strings.SplitSeq(path, ".") {
		if name == "" || name[0] == '$' {
			m.unsure = true
			return nil
		}
		switch v.(type) {
		case wirebson.AnyDocument:
			v = m.document(v).Get(name)
		case wirebson.AnyArray:
			m.unsure = true
			return nil
		default:
			v = nil
		}
	}
	return v
}

// document returns v as a document; it is unknown what any other value, or a broken one, means.
func (m *matcher) document(v any) *wirebson.Document {
	if raw, ok := v.(wirebson.AnyDocument); ok {
		if d, err := raw.Decode(); err == nil {
			return d
		}
	}
	m.unsure = true
	return wirebson.MakeDocument(0)
}

// list is the same for arrays.
func (m *matcher) list(v any) []any {
	if raw, ok := v.(wirebson.AnyArray); ok {
		if a, err := raw.Decode(); err == nil {
			out := make([]any, 0, a.Len())
			for e := range a.Values() {
				out = append(out, e)
			}
			return out
		}
	}
	m.unsure = true
	return nil
}

// kind groups the types whose values compare with each other. Comparing values of different kinds is always false.
type kind int

const (
	foreign kind = iota // not for the matcher to judge
	null                // also a missing field
	number
	text
	document
	blob
	objectID
	boolean
	date
)

func kindOf(v any) kind {
	switch v.(type) {
	case nil, wirebson.NullType:
		return null
	case int32, int64, float64:
		return number
	case string:
		return text
	case wirebson.AnyDocument:
		return document
	case wirebson.Binary:
		return blob
	case wirebson.ObjectID:
		return objectID
	case bool:
		return boolean
	case time.Time:
		return date
	default: // arrays, timestamps, decimals, regular expressions
		return foreign
	}
}

// compare orders two values. ok is false where they do not compare; documents and binary data are only told apart.
func (m *matcher) compare(a, b any) (order int, ok bool) {
	k := kindOf(a)
	if k == foreign || kindOf(b) == foreign {
		return 0, m.unknown()
	}
	if k != kindOf(b) {
		return 0, false
	}
	switch k {
	case number:
		return compareNumbers(a, b)
	case text:
		return strings.Compare(a.(string), b.(string)), true
	case document:
		return 0, m.sameDocuments(a, b)
	case blob:
		a, b := a.(wirebson.Binary), b.(wirebson.Binary)
		return 0, a.Subtype == b.Subtype && bytes.Equal(a.B, b.B)
	case objectID:
		a, b := a.(wirebson.ObjectID), b.(wirebson.ObjectID)
		return bytes.Compare(a[:], b[:]), true
	case boolean:
		a, b := a.(bool), b.(bool)
		switch {
		case a == b:
			return 0, true
		case b:
			return -1, true
		default:
			return 1, true
		}
	case date:
		return cmp.Compare(a.(time.Time).UnixMilli(), b.(time.Time).UnixMilli()), true
	default: // null
		return 0, true
	}
}

// sameDocuments wants the same fields in the same order.
func (m *matcher) sameDocuments(a, b any) bool {
	da, db := m.document(a), m.document(b)
	if da.Len() != db.Len() {
		return false
	}
	for i := range da.Len() {
		nameA, va := da.GetByIndex(i)
		nameB, vb := db.GetByIndex(i)
		if nameA != nameB {
			return false
		}
		if order, ok := m.compare(va, vb); !ok || order != 0 {
			return false
		}
	}
	return true
}

// compareNumbers compares by value, whatever the types. NaN equals itself and compares with nothing else.
func compareNumbers(a, b any) (order int, ok bool) {
	fa, aFloat := a.(float64)
	fb, bFloat := b.(float64)
	switch {
	case aFloat && bFloat:
		return cmp.Compare(fa, fb), math.IsNaN(fa) == math.IsNaN(fb)
	case aFloat:
		return compareMixed(fa, integer(b)), !math.IsNaN(fa)
	case bFloat:
		return -compareMixed(fb, integer(a)), !math.IsNaN(fb)
	default:
		return cmp.Compare(integer(a), integer(b)), true
	}
}

// compareMixed compares without rounding, which large integers would not survive.
func compareMixed(f float64, i int64) int {
	switch {
	case f >= 1<<63:
		return 1
	case f < -1<<63:
		return -1
	}
	whole := math.Trunc(f)
	return cmp.Or(cmp.Compare(int64(whole), i), cmp.Compare(f, whole))
}

// integer returns an int32 or int64, widened.
func integer(v any) int64 {
	if i, ok := v.(int32); ok {
		return int64(i)
	}
	i, _ := v.(int64)
	return i
}

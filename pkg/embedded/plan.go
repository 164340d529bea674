package embedded

import (
	"slices"
	"strings"

	"github.com/FerretDB/wire/wirebson"
)

// query is a find or count as the front understands it: everything that the command says, or it would not be one.
type query struct {
	count   bool
	filter  *wirebson.Document
	sort    []sortKey
	limit   int64 // 0: none
	skip    int64
	project *projection // nil: whole documents
}

type sortKey struct {
	field field
	down  bool
}

// parameters are those of find and count that the front knows; true are those that change nothing for it.
var parameters = map[string]bool{
	"find": false, "count": false, "filter": false, "query": false, "sort": false, "limit": false, "skip": false, "projection": false,
	"$db": true, "lsid": true, "maxTimeMS": true, "batchSize": true, "singleBatch": true,
	"$readPreference": true, "readConcern": true, "$clusterTime": true,
}

// parseQuery returns what a command asks for, or false where that is for the store to say: any other command, and any
// parameter or value out of the ordinary. A filter with an _id is left to the store, whose index that is.
func parseQuery(cmd command) (q query, ok bool) {
	name := cmd.name()
	q.count = name == "count"
	if !q.count && name != "find" || cmd.collection() == "" {
		return q, false
	}
	q.filter = wirebson.MakeDocument(0)
	for parameter, v := range cmd.doc.All() {
		harmless, known := parameters[parameter]
		switch {
		case !known:
			return q, false
		case harmless:
			ok = true
			if parameter == "batchSize" {
				n, whole := wholeNumber(v)
				ok = whole && n > 0 // the answer is one batch
			}
		case parameter == name:
			ok = true
		case parameter == filterKey[name]:
			q.filter, ok = plainDocument(v)
			if id := q.filter.Get("_id"); kindOf(id) == text || kindOf(id) == objectID {
				return q, false
			}
		case parameter == "limit":
			q.limit, ok = wholeNumber(v)
		case parameter == "skip":
			q.skip, ok = wholeNumber(v)
		case parameter == "sort" && !q.count:
			q.sort, ok = parseSort(v)
		case parameter == "projection" && !q.count:
			q.project, ok = parseProjection(v)
		default:
			return q, false
		}
		if !ok {
			return q, false
		}
	}
	return q, q.count || q.limit > 0 || q.filter.Len() > 0
}

func parseSort(v any) ([]sortKey, bool) {
	doc, ok := plainDocument(v)
	if !ok || doc.Len() > 8 {
		return nil, false
	}
	var out []sortKey
	for path, v := range doc.All() {
		f, ok := asField(path)
		n, whole := v.(int32)
		if n64, long := v.(int64); long && (n64 == 1 || n64 == -1) {
			n, whole = int32(n64), true
		}
		if !ok || !whole || n != 1 && n != -1 || slices.ContainsFunc(out, func(k sortKey) bool { return k.field == f }) {
			return nil, false
		}
		out = append(out, sortKey{field: f, down: n < 0})
	}
	return out, true
}

// projection is a choice of top-level fields, to have or to leave out.
type projection struct {
	names   map[string]bool
	leave   bool // the names are those to leave out
	without bool // the _id is to be left out
}

func parseProjection(v any) (*projection, bool) {
	doc, ok := plainDocument(v)
	if !ok || doc.Len() == 0 {
		return nil, ok
	}
	p := &projection{names: map[string]bool{}}
	for name, v := range doc.All() {
		f, ok := asField(name)
		if !ok || strings.Contains(string(f), ".") {
			return nil, false
		}
		var have bool
		switch v := v.(type) {
		case bool:
			have = v
		case int32:
			have = v != 0
		case int64:
			have = v != 0
		default:
			return nil, false
		}
		switch {
		case name == "_id":
			p.without = !have
			if doc.Len() == 1 {
				p.leave = !have
			}
		case len(p.names) == 0:
			p.leave = !have
			p.names[name] = true
		case p.leave == have:
			return nil, false
		default:
			p.names[name] = true
		}
	}
	return p, true
}

// of returns the chosen fields of a document, its _id first.
func (p *projection) of(doc *wirebson.Document) (*wirebson.Document, error) {
	if p == nil {
		return doc, nil
	}
	out := wirebson.MakeDocument(doc.Len())
	for name, v := range doc.All() {
		chosen := p.names[name] != p.leave
		if name == "_id" {
			chosen = !p.without
		}
		if !chosen {
			continue
		}
		if err := out.Add(name, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plainDocument returns v decoded, and false where it is no document.
func plainDocument(v any) (*wirebson.Document, bool) {
	raw, ok := v.(wirebson.AnyDocument)
	if !ok {
		return wirebson.MakeDocument(0), false
	}
	d, err := raw.Decode()
	if err != nil {
		return wirebson.MakeDocument(0), false
	}
	return d, true
}

func wholeNumber(v any) (int64, bool) {
	switch v.(type) {
	case int32, int64:
		n := integer(v)
		return n, n >= 0
	default:
		return 0, false
	}
}

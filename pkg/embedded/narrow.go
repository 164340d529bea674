package embedded

import (
	"crypto/rand"
	"strings"

	"github.com/FerretDB/wire/wirebson"
)

// Commands that address one document by its _id and say more about it than the store can use are rewritten, under the
// lock of their database, into ones that it carries out quickly and rightly. Each question that the front asks the
// store for that costs about as much as a read by _id.
//
//   - The store uses the index on _id only for a filter that is {_id: "…"} and nothing else; with any further condition
//     it reads the whole collection. The front reads the document by its _id, sees whether it meets the other
//     conditions (match.go), and sends the command on with a filter that is the _id alone, or one that nothing matches.
//     Conditions that the front does not understand it leaves to the store, in an aggregation whose first stage is the
//     _id alone.
//   - The store's $pull removes only elements equal to what it is given, MongoDB's those that match it. The front asks
//     which elements match, and sends $pullAll with these.

// target is the one document that a command addresses.
type target struct {
	cmd    command
	id     any                // a string or an ObjectID
	rest   *wirebson.Document // the other conditions of the filter
	holder *wirebson.Document // the command or statement that holds the filter ...
	key    string             // ... under this name
	pulls  *wirebson.Document // path → condition; the conditional part of $pull
}

// filterKey says where a command keeps its filter; update and delete keep it as q in each of their statements.
var filterKey = map[string]string{"find": "filter", "count": "query", "distinct": "query", "findAndModify": "query", "findandmodify": "query"}

// rewritable returns the target of a command that wants rewriting. A list of several statements is left alone: what the
// second one finds depends on what the first one writes.
func rewritable(cmd command) (target, bool) {
	t := target{cmd: cmd, holder: cmd.doc, key: filterKey[cmd.name()], pulls: wirebson.MakeDocument(0)}
	if statements := cmd.statements(); len(statements) == 1 {
		t.holder, t.key = statements[0], "q"
	}
	if t.key == "" {
		return t, false
	}
	filter := decoded(t.holder.Get(t.key))
	t.rest = wirebson.MakeDocument(filter.Len())
	for name, v := range filter.All() {
		if name != "_id" {
			if t.rest.Add(name, v) != nil {
				return t, false
			}
			continue
		}
		switch v.(type) {
		case string, wirebson.ObjectID:
			t.id = v
		}
	}
	if t.id == nil || t.rest.Len() != filter.Len()-1 {
		return t, false
	}
	for path, v := range conditionalPulls(t.update()).All() {
		if t.pulls.Add(path, v) != nil {
			return t, false
		}
	}
	return t, t.rest.Len() > 0 || t.pulls.Len() > 0
}

// update returns what the command does to its document, empty for one that changes nothing.
func (t target) update() *wirebson.Document { return decoded(t.holder.Get(updateKey(t.cmd))) }

func updateKey(cmd command) string {
	if cmd.name() == "update" {
		return "u"
	}
	return "update"
}

// apply returns the request to send instead of req, or an answer that needs no further request.
func (t target) apply(b *backend, req []byte) (rewritten, answer []byte, err error) {
	if t.pulls.Len() > 0 {
		no, err := t.rewritePulls(b)
		if err != nil {
			return nil, nil, err
		}
		if no != nil {
			answer, err := newFrame(0, requestID(req), no)
			return nil, answer, err
		}
	}
	if t.rest.Len() > 0 {
		filter, taken, err := t.narrow(b)
		switch {
		case err != nil:
			return nil, nil, err
		case taken:
			answer, err := newFrame(0, requestID(req), duplicateKey(t.cmd))
			return nil, answer, err
		case filter != nil:
			if err := t.holder.Replace(t.key, filter); err != nil {
				return nil, nil, err
			}
		}
	}
	rewritten, err = newFrame(requestID(req), 0, t.cmd.doc)
	return rewritten, nil, err
}

// narrow returns the filter to use, nil to leave it as it is; or taken: there is nothing that matches, so a document
// is to be inserted, but there is one with its _id.
func (t target) narrow(b *backend) (filter *wirebson.Document, taken bool, err error) {
	byID := wirebson.MustDocument("_id", t.id)
	found, ok, err := t.documents(b, wirebson.MustDocument(
		"find", t.cmd.collection(), "filter", byID, "limit", int32(1), "singleBatch", true, "$db", t.cmd.db(),
	))
	if err != nil || !ok {
		return nil, false, err // the store refuses: let it say so itself
	}
	met := false
	if len(found) > 0 {
		var sure bool
		if met, sure = matches(found[0], t.rest); !sure {
			matching, ok, err := t.aggregate(b, byID, wirebson.MustDocument("$match", t.rest))
			if err != nil || !ok {
				return nil, false, err
			}
			met = len(matching) > 0
		}
	}
	upsert, _ := t.holder.Get("upsert").(bool)
	switch {
	case met:
		return byID, false, nil
	case !upsert:
		var nobody wirebson.ObjectID
		_, _ = rand.Read(nobody[:]) // never fails
		return wirebson.MustDocument("_id", nobody), false, nil
	case len(found) > 0:
		return nil, true, nil
	case onlyOperators(t.rest):
		return byID, false, nil
	default: // the values in the filter become fields of the new document
		return nil, false, nil
	}
}

// rewritePulls turns conditions in $pull into $pullAll with the elements that match them. It returns an answer where
// the store does not understand a condition.
func (t target) rewritePulls(b *backend) (answer *wirebson.Document, err error) {
	update := t.update()
	pull, pullAll := wirebson.MakeDocument(0), decoded(update.Get("$pullAll"))
	for path, v := range decoded(update.Get("$pull")).All() {
		if t.pulls.Get(path) == nil {
			if err := pull.Add(path, v); err != nil {
				return nil, err
			}
			continue
		}
		// The store's $unwind calls the elements by the last name in the path.
		last := path[strings.LastIndexByte(path, '.')+1:]
		match := wirebson.MakeDocument(1)
		for name, c := range decoded(v).All() {
			switch {
			case !strings.HasPrefix(name, "$"): // a field of the elements
				err = match.Add(last+"."+name, c)
			case match.Len() == 0 && !logical[name]: // operators on the elements themselves
				err = match.Add(last, v)
			case match.Get(last) == nil:
				return noPull(path), nil
			}
			if err != nil {
				return nil, err
			}
		}
		found, ok, err := t.aggregate(b, wirebson.MustDocument("_id", t.id),
			wirebson.MustDocument("$unwind", "$"+path), wirebson.MustDocument("$match", match))
		if err != nil {
			return nil, err
		}
		if !ok || match.Len() == 0 {
			return noPull(path), nil
		}
		elements := wirebson.MakeArray(len(found))
		for _, doc := range found {
			if e := doc.Get(last); e != nil {
				if err := elements.Add(e); err != nil {
					return nil, err
				}
			}
		}
		if err := pullAll.Add(path, elements); err != nil {
			return nil, err
		}
	}
	update.Remove("$pull")
	update.Remove("$pullAll")
	if pull.Len() > 0 {
		err = update.Add("$pull", pull)
	}
	if err == nil {
		err = update.Add("$pullAll", pullAll)
	}
	if err == nil {
		err = t.holder.Replace(updateKey(t.cmd), update)
	}
	return nil, err
}

// logical operators stand above fields, not on an element.
var logical = map[string]bool{"$and": true, "$or": true, "$nor": true}

// aggregate puts the documents that match byID through further stages. ok is false where the store refuses.
func (t target) aggregate(b *backend, byID *wirebson.Document, stages ...*wirebson.Document) (found []*wirebson.Document, ok bool, err error) {
	pipeline := wirebson.MustArray(wirebson.MustDocument("$match", byID))
	for _, s := range stages {
		if err := pipeline.Add(s); err != nil {
			return nil, false, err
		}
	}
	return t.documents(b, wirebson.MustDocument(
		"aggregate", t.cmd.collection(), "pipeline", pipeline, "cursor", wirebson.MakeDocument(0), "$db", t.cmd.db(),
	))
}

// documents asks the store a question and reads the answer to its end. ok is false where the store refuses. The
// question leaves the size of a batch to the store, which sets memory aside for a whole one.
func (t target) documents(b *backend, question *wirebson.Document) (found []*wirebson.Document, ok bool, err error) {
	for batch := "firstBatch"; ; batch = "nextBatch" {
		answer, err := b.ask(question)
		if err != nil {
			return nil, false, err
		}
		cursor := decoded(answer.Get("cursor"))
		raw, ok := cursor.Get(batch).(wirebson.AnyArray)
		if !ok {
			return nil, false, nil
		}
		a, err := raw.Decode()
		if err != nil {
			return nil, false, err
		}
		for v := range a.Values() {
			found = append(found, decoded(v))
		}
		id, _ := cursor.Get("id").(int64)
		if id == 0 {
			return found, true, nil
		}
		question = wirebson.MustDocument("getMore", id, "collection", t.cmd.collection(), "$db", t.cmd.db())
	}
}

// onlyOperators tells conditions such as {$or: […], "n": {$lt: 3}} from those that name a value, which an upsert
// copies into the document it makes.
func onlyOperators(filter *wirebson.Document) bool {
	for name, v := range filter.All() {
		if strings.HasPrefix(name, "$") && name != "$and" {
			continue
		}
		d := decoded(v)
		if !strings.HasPrefix(d.Command(), "$") || d.Get("$eq") != nil {
			return false
		}
	}
	return true
}

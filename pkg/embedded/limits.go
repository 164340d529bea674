package embedded

import (
	"bytes"
	"strings"

	"github.com/FerretDB/wire/wirebson"
)

// What the store carries out wrongly without saying so, the front refuses: a command that fails is found by the first
// test, one that does half of what it says by nobody.

const (
	illegalOperation = 20
	maxTimeExpired   = 50
	notImplemented   = 238
)

// refused returns the answer to a command that must not reach the store, or nil.
//
//   - Transactions: the store would ignore the marks and write at once. A single MongoDB server refuses them too.
//   - $push with more than $each: $slice, $sort and $position would be ignored.
//   - $pull by condition, unless rewritable can mend it: the store would remove only elements equal to the condition.
func refused(cmd command) *wirebson.Document {
	if cmd.doc.Get("startTransaction") != nil || cmd.doc.Get("autocommit") != nil {
		return failure(illegalOperation, "IllegalOperation", "Transaction numbers are only allowed on a replica set member or mongos")
	}
	_, mended := rewritable(cmd)
	for _, update := range cmd.updates() {
		for path, v := range decoded(update.Get("$push")).All() {
			for modifier := range decoded(v).All() {
				if strings.HasPrefix(modifier, "$") && modifier != "$each" {
					return failure(notImplemented, "NotImplemented", "the embedded store does not know "+modifier+" in $push of "+path)
				}
			}
		}
		for path := range conditionalPulls(update).All() {
			if !mended {
				return noPull(path)
			}
		}
	}
	return nil
}

func noPull(path string) *wirebson.Document {
	return failure(notImplemented, "NotImplemented", "the embedded store does not know this condition in $pull of "+path+
		"; it knows conditions on fields of one document's elements, addressed by _id")
}

// conditionalPulls returns the part of an update's $pull that is no plain value.
func conditionalPulls(update *wirebson.Document) *wirebson.Document {
	out := wirebson.MakeDocument(0)
	for path, v := range decoded(update.Get("$pull")).All() {
		if _, ok := v.(wirebson.AnyDocument); ok {
			_ = out.Add(path, v) // a document is always a valid value
		}
	}
	return out
}

// updates returns what a command does to documents.
func (c command) updates() []*wirebson.Document {
	var out []*wirebson.Document
	switch c.name() {
	case "findAndModify", "findandmodify":
		out = append(out, decoded(c.doc.Get("update")))
	case "update":
		for _, s := range c.statements() {
			out = append(out, decoded(s.Get("u")))
		}
	}
	return out
}

// decoded returns v as a document, an empty one where it is none.
func decoded(v any) *wirebson.Document {
	if raw, ok := v.(wirebson.AnyDocument); ok {
		if d, err := raw.Decode(); err == nil {
			return d
		}
	}
	return wirebson.MakeDocument(0)
}

// statements returns the statements of an update or delete command, such that changing one changes the command; nil
// for any other command and for malformed lists, about which the store has something to say.
func (c command) statements() []*wirebson.Document {
	list := map[string]string{"update": "updates", "delete": "deletes"}[c.name()]
	raw, ok := c.doc.Get(list).(wirebson.AnyArray)
	if !ok {
		return nil
	}
	a, err := raw.Decode()
	if err != nil {
		return nil
	}
	out := make([]*wirebson.Document, a.Len())
	for i, v := range a.All() {
		raw, ok := v.(wirebson.AnyDocument)
		if !ok {
			return nil
		}
		if out[i], err = raw.Decode(); err != nil || a.Replace(i, out[i]) != nil {
			return nil
		}
	}
	if c.doc.Replace(list, a) != nil {
		return nil
	}
	return out
}

// correct replaces an answer in which the store calls a violated unique index an internal error.
func correct(cmd command, req, answer []byte) ([]byte, error) {
	if !bytes.Contains(answer, []byte("UNIQUE constraint failed")) || len(cmd.statements()) > 1 {
		return answer, nil
	}
	return newFrame(0, requestID(req), duplicateKey(cmd))
}

// duplicateKey is MongoDB's answer to an update that would make a second document with a key that must be unique.
func duplicateKey(cmd command) *wirebson.Document {
	message := "E11000 duplicate key error collection: " + cmd.db() + "." + cmd.collection()
	if cmd.name() != "update" {
		return failure(11000, "DuplicateKey", message)
	}
	return wirebson.MustDocument(
		"n", int32(0), "nModified", int32(0),
		"writeErrors", wirebson.MustArray(wirebson.MustDocument("index", int32(0), "code", int32(11000), "errmsg", message)),
		"ok", 1.0,
	)
}

// failure is the answer to a command that failed as a whole.
func failure(code int32, name, message string) *wirebson.Document {
	return wirebson.MustDocument("ok", 0.0, "errmsg", message, "code", code, "codeName", name)
}

package fault

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// As much of MongoDB's wire protocol as is needed to know what a service asked its store to change, and whether that was
// done. Nothing here is the driver's: what it says is heard from outside.

// write is a command that changes documents.
type write struct {
	verb, db, coll, id string
	// changed are the fields that it sets, unsets and counts, by their paths; of an insert, the fields of the document.
	changed []string
	call    string // by which a counted guess is told from another
}

// opMsg is the operation of all commands and answers.
const opMsg = 2013

// documents are the sections of a message: its body, and those of its sequences by name.
func documents(frame []byte) (body []byte, sequences map[string][]byte) {
	if len(frame) < 26 || binary.LittleEndian.Uint32(frame[12:]) != opMsg {
		return nil, nil
	}
	sequences = map[string][]byte{}
	for rest := frame[20:]; len(rest) > 5; {
		size := int(binary.LittleEndian.Uint32(rest[1:]))
		if size < 5 || size+1 > len(rest) {
			break
		}
		section := rest[1 : 1+size]
		if rest[0] == 0 {
			body = section
		} else if name, first, ok := bytes.Cut(section[4:], []byte{0}); ok {
			sequences[string(name)] = first // one document each, as the product writes
		}
		rest = rest[1+size:]
	}
	return body, sequences
}

// value is one element of a document.
type value struct {
	name string
	kind byte
	raw  []byte
}

// fixed are the kinds of values that have always the same length.
var fixed = map[byte]int{0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0a: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7f: 0, 0xff: 0}

// values are the elements of a document, as far as it can be read.
func values(doc []byte) []value {
	var out []value
	if len(doc) < 5 {
		return nil
	}
	for rest := doc[4:]; len(rest) > 1; {
		name, after, ok := bytes.Cut(rest[1:], []byte{0})
		if !ok {
			break
		}
		size, known := fixed[rest[0]]
		if !known {
			if len(after) < 4 {
				break
			}
			size = int(binary.LittleEndian.Uint32(after))
			switch rest[0] {
			case 0x02: // text
				size += 4
			case 0x05: // bytes
				size += 5
			case 0x03, 0x04: // document, list
			default:
				return out
			}
		}
		if size < 0 || size > len(after) {
			break
		}
		out = append(out, value{string(name), rest[0], after[:size]})
		rest = after[size:]
	}
	return out
}

// of is the element of this name.
func of(doc []byte, name string) value {
	for _, v := range values(doc) {
		if v.name == name {
			return v
		}
	}
	return value{}
}

// text is a value that is one.
func (v value) text() string {
	if v.kind != 0x02 || len(v.raw) < 5 {
		return ""
	}
	return string(v.raw[4 : len(v.raw)-1])
}

// positive tells whether a value is a number above zero.
func (v value) positive() bool {
	switch v.kind {
	case 0x10:
		return int32(binary.LittleEndian.Uint32(v.raw)) > 0
	case 0x12:
		return int64(binary.LittleEndian.Uint64(v.raw)) > 0
	case 0x01:
		return binary.LittleEndian.Uint64(v.raw) != 0
	default:
		return false
	}
}

// readWrite reads a command; false where it changes no document of ours.
func readWrite(frame []byte) (write, bool) {
	body, more := documents(frame)
	all := values(body)
	if len(all) == 0 {
		return write{}, false
	}
	w := write{verb: all[0].name, coll: all[0].text(), db: strings.TrimPrefix(of(body, "$db").text(), "sallyport_")}
	var query, change []byte
	switch w.verb {
	case "insert":
		doc := more["documents"]
		w.id = of(doc, "_id").text()
		for _, v := range values(doc) {
			w.changed = append(w.changed, v.name)
		}
		return w, true
	case "update":
		query, change = of(more["updates"], "q").raw, of(more["updates"], "u").raw
	case "findAndModify":
		query, change = of(body, "query").raw, of(body, "update").raw
	case "delete":
		query = of(more["deletes"], "q").raw
	default:
		return write{}, false
	}
	w.id = of(query, "_id").text()
	for _, operator := range values(change) {
		for _, v := range values(operator.raw) {
			w.changed = append(w.changed, v.name)
			if call, ok := strings.CutPrefix(v.name, "calls."); ok {
				w.call = call
			} else if strings.HasPrefix(v.name, "counted.") {
				w.call = of(v.raw, "call").text()
			}
		}
	}
	return w, true
}

// carriedOut tells by its answer whether a write has changed a document.
func carriedOut(answer []byte) bool {
	body, _ := documents(answer)
	if !of(body, "ok").positive() || of(body, "writeErrors").kind != 0 {
		return false
	}
	if last := of(body, "lastErrorObject"); last.kind != 0 {
		return of(last.raw, "n").positive()
	}
	return of(body, "n").positive()
}

// touches tells whether a write changes a field, or one below it.
func (w write) touches(field string) bool {
	for _, c := range w.changed {
		if c == field || strings.HasPrefix(c, field+".") {
			return true
		}
	}
	return false
}

// kinds name what services write, by collection: the first whose field is changed.
var kinds = map[string][]struct{ field, name string }{
	"totp_svc/authenticators": {
		{"active", "enrol an authenticator"},
		{"last_step", "accept a step"},
		{"counted", "count a guess (authenticator)"},
		{"pending", "begin an authenticator"},
		{"told_at", "tell a lock (authenticator)"},
	},
	"totp_svc/recovery_sets": {
		{"accepted", "spend a recovery code"}, {"counted", "count a guess (recovery)"}, {"made_by", "make recovery codes"},
	},
	"sms_dispatcher/phones": {
		{"active", "enrol a number"}, {"sends.serial", "let a text through"}, {"calls.", "count a guess (text)"}, {"calls", "clear the guesses (text)"},
	},
	"sms_dispatcher/challenges": {
		{"flow", "open a challenge"}, {"verified_at", "spend a text's code"}, {"ended_at", "end a challenge"}, {"attempts", "reserve an attempt"},
	},
	"policy_svc/standings":       {{"resets", "reset a person"}, {"factors", "record an enrolment"}},
	"policy_svc/audit_entries":   {{"hash", "append to the audit log"}},
	"policy_svc/audit_ids":       {{"seq", "mark an audited event"}},
	"policy_svc/audit_heads":     {{"seq", "move the head of the audit log"}},
	"auth_gateway/users":         {{"password_at", "create or change a user"}, {"_id", "create or change a user"}},
	"auth_gateway/logins":        {{"_id", "take an address"}},
	"auth_gateway/organizations": {{"", "count an organization's contacts"}},
}

// kind is what a write is for, in words; "" for what nobody waits for.
func (w write) kind() string {
	if w.coll == "outbox" {
		if w.verb == "delete" {
			return "forget a letter"
		}
		return "note a letter"
	}
	for _, k := range kinds[w.db+"/"+w.coll] {
		if w.touches(strings.TrimSuffix(k.field, ".")) && (!strings.HasSuffix(k.field, ".") || w.call != "") {
			return k.name
		}
	}
	if w.touches("outbox") {
		return "take out a letter that was told"
	}
	return ""
}

package policy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/pkg/contract"
)

// This file holds the chain of the audit log, as functions of values alone.

// entry is one link of a portal's chain, as it is kept. Its hash covers every field and the hash before it, under a
// key that the database does not hold in clear: who can write there, and has no key file, can forge none.
type entry struct {
	ID      string               `bson:"_id"`
	Seq     int64                `bson:"seq"`
	Event   string               `bson:"event"`
	Portal  string               `bson:"portal"`
	Action  contract.AuditAction `bson:"action"`
	Actor   string               `bson:"actor,omitempty"`
	User    string               `bson:"user,omitempty"`
	Reason  string               `bson:"reason,omitempty"`
	Detail  map[string]string    `bson:"detail,omitempty"`
	At      time.Time            `bson:"at"`
	Request string               `bson:"request,omitempty"`
	Prev    string               `bson:"prev"`
	Hash    string               `bson:"hash"`
}

// Head is how far a portal's chain goes: the number of its last entry and that entry's hash. An operator who keeps one
// elsewhere proves with it, later, that nothing up to there was cut off.
type Head struct {
	Seq  int64
	Hash string
}

// String is the form that [ParseHead] reads: seq:hash.
func (h Head) String() string { return strconv.FormatInt(h.Seq, 10) + ":" + h.Hash }

// ParseHead reads what [Head.String] wrote.
func ParseHead(s string) (Head, error) {
	number, hash, _ := strings.Cut(s, ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	if raw, bad := hex.DecodeString(hash); err != nil || bad != nil || len(raw) != sha256.Size || seq < 1 {
		return Head{}, errors.New("a head is the number of an entry, a colon and its hash in hexadecimal")
	}
	return Head{Seq: seq, Hash: strings.ToLower(hash)}, nil
}

// entryID is the _id of an entry; ids sort as the numbers do.
func entryID(portal string, seq int64) string { return fmt.Sprintf("%s/%014d", portal, seq) }

// newEntry makes an entry that has no place in the chain yet. The store keeps milliseconds, so the hash knows no more.
func newEntry(id string, n contract.AuditNote, request string) entry {
	return entry{
		Event: id, Portal: n.Portal, Action: n.Action, Actor: n.Actor, User: n.User, Reason: n.Reason, Detail: n.Detail,
		At: n.At.UTC().Truncate(time.Millisecond), Request: request,
	}
}

// after puts the entry behind a head.
func (e entry) after(h Head, key []byte) entry {
	e.Seq, e.Prev = h.Seq+1, h.Hash
	e.ID, e.Hash = entryID(e.Portal, e.Seq), e.sum(h.Hash, key)
	return e
}

func (e entry) head() Head { return Head{Seq: e.Seq, Hash: e.Hash} }

// sum is the hash of an entry behind prev: HMAC-SHA256 over its fields in a fixed order, each with its length in front,
// so that no two entries are written alike.
func (e entry) sum(prev string, key []byte) string {
	mac := hmac.New(sha256.New, key)
	put := func(parts ...string) {
		for _, s := range parts {
			mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			mac.Write([]byte(s))
		}
	}
	put("sallyport audit 1", prev, e.Portal, strconv.FormatInt(e.Seq, 10), e.Event, string(e.Action), e.Actor, e.User, e.Reason,
		strconv.FormatInt(e.At.UnixMilli(), 10), e.Request, strconv.Itoa(len(e.Detail)))
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		put(name, e.Detail[name])
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// public is the entry as admins read it.
func (e entry) public() contract.AuditEntry {
	return contract.AuditEntry{
		Seq: e.Seq, ID: e.Event, Request: e.Request, Hash: e.Hash,
		AuditNote: contract.AuditNote{
			Portal: e.Portal, Action: e.Action, Actor: e.Actor, User: e.User, Reason: e.Reason, Detail: e.Detail, At: e.At.UTC(),
		},
	}
}

// follow is the verification of a chain, one entry after the other: it returns the first number at which the chain is
// broken and why, or no reason.
func (h Head) follow(portal string, e entry, key []byte) (at int64, why string) {
	next := h.Seq + 1
	switch {
	case e.Portal != portal || e.ID != entryID(portal, e.Seq):
		return e.Seq, "the entry was edited, or put in: it is not kept under its own number"
	case e.Seq == next+1:
		return next, "the entry was removed"
	case e.Seq > next:
		return next, fmt.Sprintf("the entries up to %d were removed", e.Seq-1)
	case e.Prev != h.Hash:
		return e.Seq, "the entry does not follow the one before it: one of them was moved or exchanged"
	case !hmac.Equal([]byte(e.Hash), []byte(e.sum(e.Prev, key))):
		return e.Seq, "the entry was edited: its hash does not fit what it says"
	}
	return 0, ""
}

package policy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// Audit is the audit log: one chain of entries per portal. The _id of an entry is its portal and number, which makes
// the insert a compare-and-set: of all that append at once, on however many replicas, one gets the next number.
//
// An entry is appended once per event. A mark under the event's id is written first, with the number of the last entry
// of that moment; who finds an unfinished mark (of a crash, or of a neighbour at work) looks at every entry behind that
// number before it takes the next.
type Audit struct {
	docs chains
	key  []byte

	mu    sync.Mutex
	tails map[string]*tail
}

// tail is the end of a portal's chain as far as this process knows. It may lie behind; what is ahead is found by
// walking.
type tail struct {
	turn  chan struct{} // held by the one who appends
	known bool
	head  Head
}

// OpenAudit opens the audit log in policy-svc's database, with policy-svc's keys; running services do not mind.
func OpenAudit(ctx context.Context, db *store.DB, keys *seal.Keys) (*Audit, error) {
	docs, err := newChains(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	key, err := docs.hashKey(ctx, keys.Store)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Audit{docs: docs, key: key, tails: make(map[string]*tail)}, nil
}

// auditPlace is where the key of the hashes belongs.
var auditPlace = seal.Place{"", auditKeysIn, "key", "", chainKey}

// hashKey returns the key of the hashes, made once per database and sealed by the key file.
func (c chains) hashKey(ctx context.Context, box *seal.Box) ([]byte, error) {
	sealed, err := c.key(ctx)
	if errors.Is(err, store.ErrNotFound) {
		// A log without its key cannot be told from a forged one; a new key would make every old entry look edited.
		if used, err := c.used(ctx); err != nil {
			return nil, err
		} else if used {
			return nil, errors.New("there are entries, but the key of their hashes is gone; restore the collection " + auditKeysIn + " from a backup")
		}
		fresh := make([]byte, 32)
		_, _ = rand.Read(fresh) // never fails
		if sealed, err = box.Seal(fresh, auditPlace); err != nil {
			return nil, err
		}
		if err = c.keepKey(ctx, sealed); err == nil {
			return fresh, nil
		}
		if errors.Is(err, store.ErrExists) { // another replica was first
			sealed, err = c.key(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := box.Open(sealed, auditPlace)
	if err != nil {
		return nil, errors.New("the key of the audit log does not open with this key file")
	}
	return key, nil
}

// Append adds an entry to a portal's log and returns when it is durable; an id that is there already changes nothing.
func (a *Audit) Append(ctx context.Context, id string, note contract.AuditNote) error {
	_, err := a.add(ctx, id, note)
	return err
}

// add appends and tells whether it did: false means that the entry was there.
func (a *Audit) add(ctx context.Context, id string, note contract.AuditNote) (bool, error) {
	if err := checkNote(id, note); err != nil {
		return false, err
	}
	e, t := newEntry(id, note, bus.RequestID(ctx)), a.tail(note.Portal)
	after, seq, err := a.docs.mark(ctx, e.Portal, id)
	if errors.Is(err, store.ErrNotFound) {
		if after, err = a.end(ctx, t, e.Portal); err != nil {
			return false, err
		}
		if err = a.docs.begin(ctx, e.Portal, id, after); errors.Is(err, store.ErrExists) {
			after, seq, err = a.docs.mark(ctx, e.Portal, id)
		}
	}
	if err != nil || seq > 0 {
		return false, err
	}
	at, added, err := a.link(ctx, t, e, after)
	if err == nil {
		err = a.docs.moveHead(ctx, e.Portal, at)
	}
	if err == nil {
		err = a.docs.finish(ctx, e.Portal, id, at.Seq)
	}
	return added, err
}

func (a *Audit) tail(portal string) *tail {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tails[portal]
	if !ok {
		t = &tail{turn: make(chan struct{}, 1)}
		a.tails[portal] = t
	}
	return t
}

// take waits for the turn to append to a portal's log in this process.
func (t *tail) take(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return contract.NotAnswering()
	}
}

func (t *tail) give() { <-t.turn }

// end returns the number of an entry that is the last, or was.
func (a *Audit) end(ctx context.Context, t *tail, portal string) (int64, error) {
	if err := t.take(ctx); err != nil {
		return 0, err
	}
	defer t.give()
	err := a.load(ctx, t, portal)
	return t.head.Seq, err
}

// load finds the end of the chain where this process does not know it yet: at the head, or little behind it.
func (a *Audit) load(ctx context.Context, t *tail, portal string) error {
	if t.known {
		return nil
	}
	head, err := a.docs.head(ctx, portal)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	t.head = head
	if _, err := a.walk(ctx, t, portal, ""); err != nil {
		return err
	}
	t.known = true
	return nil
}

// walk moves the tail to the end of the chain. It stops at the entry of an event, and tells whether it met it.
func (a *Audit) walk(ctx context.Context, t *tail, portal, event string) (bool, error) {
	for {
		e, err := a.docs.entry(ctx, portal, t.head.Seq+1)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if t.head = e.head(); event != "" && e.Event == event {
			return true, nil
		}
	}
}

// crowd is how often an append is tried against those of other replicas.
const crowd = 200

// link takes the next number for an entry, unless an entry of the same event stands behind after.
func (a *Audit) link(ctx context.Context, t *tail, e entry, after int64) (at Head, added bool, err error) {
	if err := t.take(ctx); err != nil {
		return Head{}, false, err
	}
	defer t.give()
	if err := a.load(ctx, t, e.Portal); err != nil {
		return Head{}, false, err
	}
	for seq := after + 1; seq <= t.head.Seq; seq++ {
		old, err := a.docs.entry(ctx, e.Portal, seq)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return Head{}, false, err
		}
		if err == nil && old.Event == e.Event {
			return old.head(), false, nil
		}
	}
	for range crowd {
		next := e.after(t.head, a.key)
		err := a.docs.insert(ctx, next)
		if err == nil {
			t.head = next.head()
			return t.head, true, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return Head{}, false, err
		}
		taken := t.head
		if met, err := a.walk(ctx, t, e.Portal, e.Event); err != nil || met {
			return t.head, false, err
		}
		if t.head == taken { // written, but not yet by a majority
			select {
			case <-ctx.Done():
				return Head{}, false, contract.NotAnswering()
			case <-time.After(5 * time.Millisecond): // real time: of a write in hand
			}
		}
	}
	return Head{}, false, contract.NotAnswering()
}

// checkNote refuses what the log cannot keep, or cannot be filtered by.
func checkNote(id string, n contract.AuditNote) error {
	switch {
	case !isID(id, 512):
		return invalid("id", "is not an id")
	case !isPortal(n.Portal):
		return invalid("portal", "is not the id of a portal")
	case !slices.Contains(contract.AuditActions(), n.Action):
		return invalid("action", "is none of those that the audit log knows")
	case len(n.Actor) > 128 || !utf8.ValidString(n.Actor):
		return invalid("actor", "must have at most 128 characters")
	case n.User != "" && !isID(n.User, 64):
		return invalid("user", "is not the id of a user")
	case utf8.RuneCountInString(n.Reason) > 500 || !utf8.ValidString(n.Reason):
		return invalid("reason", "is longer than 500 characters")
	case n.At.IsZero():
		return invalid("at", "must be set")
	case len(n.Detail) > 32:
		return invalid("detail", "has more than 32 parts")
	}
	for name, value := range n.Detail {
		if !isID(name, 64) || len(value) > 1024 || !utf8.ValidString(value) {
			return invalid("detail", "has a part that cannot be kept")
		}
	}
	return nil
}

// list answers [contract.PolicyAuditList].
func (a *Audit) list(ctx context.Context, req contract.AuditListRequest) (contract.AuditPage, error) {
	if !isPortal(req.Portal) {
		return contract.AuditPage{}, invalid("portal", "is not the id of a portal")
	}
	if req.Limit < 0 || req.Limit > 200 {
		return contract.AuditPage{}, invalid("limit", "must be between 1 and 200")
	}
	if req.Limit == 0 {
		req.Limit = 50
	}
	below := int64(0)
	if req.Cursor != "" {
		var err error
		if below, err = strconv.ParseInt(req.Cursor, 10, 64); err != nil || below < 1 {
			return contract.AuditPage{}, invalid("cursor", "is none that we gave")
		}
	}
	found, err := a.docs.newest(ctx, req.Portal, Filter{User: req.User, Action: req.Action, From: req.From, To: req.To}, below, req.Limit+1)
	if err != nil {
		return contract.AuditPage{}, err
	}
	page := contract.AuditPage{Items: make([]contract.AuditEntry, 0, min(len(found), req.Limit))}
	for i, e := range found {
		if i == req.Limit {
			page.Next = strconv.FormatInt(found[i-1].Seq, 10)
			break
		}
		page.Items = append(page.Items, e.public())
	}
	return page, nil
}

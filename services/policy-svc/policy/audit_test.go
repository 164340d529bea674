package policy

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
	"sallyport/pkg/store"
)

func openAudit(t testing.TB, w *servicetest.World) *Audit {
	t.Helper()
	a, err := OpenAudit(t.Context(), w.DB(contract.Policy), w.Keys(contract.Policy))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// nth is an entry's note, with everything an entry can have.
func nth(portal string, n int) contract.AuditNote {
	return contract.AuditNote{
		Portal: portal, Action: contract.AuditEnrolmentReset, Actor: "u9", User: fmt.Sprintf("u%d", n), Reason: "lost phone",
		Detail: map[string]string{"reset": fmt.Sprintf("rs%d", n), "cause": "admin"}, At: since.Add(time.Duration(n) * time.Minute),
	}
}

// fill appends entries to a portal's log.
func fill(t testing.TB, a *Audit, portal string, n int) {
	t.Helper()
	for i := range n {
		if err := a.Append(bus.WithRequestID(t.Context(), "rq1"), fmt.Sprintf("ev%d", i+1), nth(portal, i+1)); err != nil {
			t.Fatal(err)
		}
	}
}

// verify compares what is found wrong first: the number of the entry, 0 for nothing.
func verify(t testing.TB, a *Audit, portal string, expect *Head, want int64) Report {
	t.Helper()
	r, err := a.Verify(t.Context(), portal, expect)
	if err != nil {
		t.Fatal(err)
	}
	if r.BrokenAt != want || r.Intact() != (want == 0) || r.Intact() != (r.Why == "") {
		t.Errorf("found %d (%s), want %d", r.BrokenAt, r.Why, want)
	}
	return r
}

func get(t testing.TB, a *Audit, portal string, seq int64) entry {
	t.Helper()
	e, err := a.docs.entry(t.Context(), portal, seq)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// lay puts entries into the database, over what is there under their ids, as somebody with the database's password may.
func lay(t testing.TB, a *Audit, entries ...entry) {
	t.Helper()
	for _, e := range entries {
		if err := errors.Join(a.docs.entries.Delete(t.Context(), e.ID), a.docs.entries.Insert(t.Context(), e)); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t testing.TB, a *Audit, portal string, seqs ...int64) {
	t.Helper()
	for _, seq := range seqs {
		if err := a.docs.entries.Delete(t.Context(), entryID(portal, seq)); err != nil {
			t.Fatal(err)
		}
	}
}

func setHead(t testing.TB, a *Audit, portal string, h *Head) {
	t.Helper()
	err := a.docs.heads.Delete(t.Context(), portal)
	if err == nil && h != nil {
		err = a.docs.heads.Insert(t.Context(), headDoc{portal, h.Seq, h.Hash})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestB39AuditFindsAnEditedEntry(t *testing.T) {
	a := openAudit(t, servicetest.New(t))
	n := 0
	for name, edit := range map[string]func(e *entry){
		"who":             func(e *entry) { e.Actor = "u8" },
		"whom":            func(e *entry) { e.User = "u8" },
		"why":             func(e *entry) { e.Reason = "" },
		"what":            func(e *entry) { e.Action = contract.AuditEnrolmentRemoved },
		"when":            func(e *entry) { e.At = e.At.Add(time.Millisecond) },
		"the request":     func(e *entry) { e.Request = "rq2" },
		"the event":       func(e *entry) { e.Event = "ev9" },
		"a detail":        func(e *entry) { e.Detail["cause"] = "operator" },
		"a detail's name": func(e *entry) { delete(e.Detail, "cause"); e.Detail["because"] = "admin" },
		"one detail less": func(e *entry) { delete(e.Detail, "cause") },
		"one detail more": func(e *entry) { e.Detail["more"] = "" },
		"between fields":  func(e *entry) { e.Actor, e.User = "u", "9u3" },
		"its hash":        func(e *entry) { e.Hash = strings.Repeat("0", 64) },
		"no hash":         func(e *entry) { e.Hash = "" },
		"the one before":  func(e *entry) { e.Prev = strings.Repeat("0", 64) },
		"another key":     func(e *entry) { e.Actor = "u8"; e.Hash = e.sum(e.Prev, make([]byte, 32)) },
		"no key":          func(e *entry) { e.Actor = "u8"; e.Hash = e.sum(e.Prev, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			n++
			portal := fmt.Sprintf("p%d", n)
			fill(t, a, portal, 4)
			verify(t, a, portal, nil, 0)
			e := get(t, a, portal, 3)
			edit(&e)
			lay(t, a, e)
			if r := verify(t, a, portal, nil, 3); r.Entries != 2 {
				t.Errorf("%d are whole, want the two before", r.Entries)
			}
		})
	}
}

func TestB39AuditFindsARemovedEntry(t *testing.T) {
	a := openAudit(t, servicetest.New(t))
	for n, row := range []struct {
		gone []int64
		want int64
	}{{[]int64{1}, 1}, {[]int64{3}, 3}, {[]int64{1, 2}, 1}, {[]int64{2, 4}, 2}} {
		portal := fmt.Sprintf("p%d", n)
		fill(t, a, portal, 5)
		remove(t, a, portal, row.gone...)
		verify(t, a, portal, nil, row.want)
	}
	// Whoever closes the gap leaves the first of the rest behind the wrong one.
	fill(t, a, "closed", 5)
	third := get(t, a, "closed", 3)
	fourth := get(t, a, "closed", 4)
	remove(t, a, "closed", 3, 4, 5)
	fourth.Seq, fourth.ID, fourth.Prev = 3, third.ID, third.Prev
	lay(t, a, fourth)
	setHead(t, a, "closed", &Head{3, fourth.Hash})
	verify(t, a, "closed", nil, 3)
	// A number that says it is another's is removed and put somewhere else.
	fill(t, a, "hidden", 3)
	e := get(t, a, "hidden", 2)
	e.Portal = "elsewhere"
	lay(t, a, e)
	verify(t, a, "hidden", nil, 2)
}

func TestB39AuditFindsReorderedEntries(t *testing.T) {
	a := openAudit(t, servicetest.New(t))
	fill(t, a, "swapped", 5)
	second, third := get(t, a, "swapped", 2), get(t, a, "swapped", 3)
	second.ID, third.ID = third.ID, second.ID
	lay(t, a, second, third) // under each other's ids
	verify(t, a, "swapped", nil, 2)
	second.Seq, third.Seq = third.Seq, second.Seq
	lay(t, a, second, third) // and numbers
	verify(t, a, "swapped", nil, 2)
	second.Prev, third.Prev = third.Prev, second.Prev
	second.Hash, third.Hash = third.Hash, second.Hash
	lay(t, a, second, third) // and places in the chain
	verify(t, a, "swapped", nil, 2)

	fill(t, a, "doubled", 4)
	twin := get(t, a, "doubled", 2)
	twin.ID = entryID("doubled", 2) + "a"
	lay(t, a, twin)
	if r, err := a.Verify(t.Context(), "doubled", nil); err != nil || r.BrokenAt != 2 {
		t.Errorf("%+v, %v", r, err)
	}

	fill(t, a, "stray", 2)
	stray := get(t, a, "stray", 1)
	stray.ID, stray.Seq = entryID("stray", 0), 0
	lay(t, a, stray)
	if r, err := a.Verify(t.Context(), "stray", nil); err != nil || r.Intact() {
		t.Errorf("%+v, %v", r, err)
	}

	// What was true once does not replace what is true now: an entry of before a backup was restored has a right hash.
	fill(t, a, "restored", 2)
	before := get(t, a, "restored", 2)
	remove(t, a, "restored", 2)
	setHead(t, a, "restored", &Head{1, get(t, a, "restored", 1).Hash})
	b := &Audit{docs: a.docs, key: a.key, tails: make(map[string]*tail)} // a restarted service
	for _, id := range []string{"other2", "other3"} {
		if err := b.Append(t.Context(), id, nth("restored", 9)); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, a, "restored", nil, 0)
	lay(t, a, before)
	verify(t, a, "restored", nil, 3)

	// An entry of another portal is none of this one.
	fill(t, a, "theirs", 3)
	fill(t, a, "ours", 3)
	borrowed := get(t, a, "theirs", 2)
	borrowed.Portal, borrowed.ID = "ours", entryID("ours", 2)
	lay(t, a, borrowed)
	verify(t, a, "ours", nil, 2)
}

func TestB39AuditFindsACutOffEnd(t *testing.T) {
	w := servicetest.New(t)
	a := openAudit(t, w)
	fill(t, a, "cut", 5)
	kept := verify(t, a, "cut", nil, 0).Head
	if again, err := ParseHead(kept.String()); err != nil || again != kept {
		t.Errorf("%v, %v", again, err)
	}
	verify(t, a, "cut", &kept, 0)
	remove(t, a, "cut", 5)
	verify(t, a, "cut", nil, 5)
	// Whoever sets the head back, too, is found by a head that was kept elsewhere.
	setHead(t, a, "cut", &Head{4, get(t, a, "cut", 4).Hash})
	verify(t, a, "cut", nil, 0)
	verify(t, a, "cut", &kept, 5)
	// So is whoever lets the log grow again.
	b := &Audit{docs: a.docs, key: a.key, tails: make(map[string]*tail)} // a restarted service
	if err := b.Append(t.Context(), "evil", nth("cut", 6)); err != nil {
		t.Fatal(err)
	}
	verify(t, a, "cut", nil, 0)
	verify(t, a, "cut", &kept, 5)

	fill(t, a, "all", 3)
	remove(t, a, "all", 1, 2, 3)
	verify(t, a, "all", nil, 1)
	if portals, err := a.Portals(t.Context()); err != nil || !slices.Equal(portals, []string{"all", "cut"}) {
		t.Errorf("%v, %v", portals, err)
	}
	fill(t, a, "headless", 3)
	setHead(t, a, "headless", nil)
	verify(t, a, "headless", nil, 4)
	if err := store.Of[settingsDoc](w.DB(contract.Policy), settingsIn).Insert(t.Context(), settingsDoc{Portal: "headless"}); err != nil {
		t.Fatal(err)
	}
	if portals, err := a.Portals(t.Context()); err != nil || !slices.Equal(portals, []string{"all", "cut", "headless"}) {
		t.Errorf("%v, %v", portals, err)
	}
	setHead(t, a, "headless", &Head{2, strings.Repeat("0", 64)})
	verify(t, a, "headless", nil, 2)
	for _, bad := range []string{"", "1", "1:", "x:" + kept.Hash, "0:" + kept.Hash, "1:zz", "1:" + kept.Hash + "00"} {
		if h, err := ParseHead(bad); err == nil {
			t.Errorf("%q is %v", bad, h)
		}
	}
}

// Who cannot open the key file can open no log, and a log that lost its key is not begun again.
func TestAuditKeyIsSealed(t *testing.T) {
	w := servicetest.New(t)
	a := openAudit(t, w)
	fill(t, a, "p", 2)
	verify(t, openAudit(t, w), "p", nil, 0)
	if sealed, err := a.docs.key(t.Context()); err != nil || bytes.Contains(sealed, a.key) || len(a.key) != 32 {
		t.Errorf("the key is kept as it is: %v", err)
	}
	if _, err := OpenAudit(t.Context(), w.DB(contract.Policy), w.Keys(contract.TOTP)); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("another service's key file: %v", err)
	}
	if err := a.docs.keys.Delete(t.Context(), chainKey); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAudit(t.Context(), w.DB(contract.Policy), w.Keys(contract.Policy)); err == nil || !strings.Contains(err.Error(), "restore") {
		t.Errorf("without its key: %v", err)
	}
}

// The same event, told fifty times at once to two instances, is one entry; so is each of many others beside it.
func TestAuditHasAnEventOnceOnTwoInstances(t *testing.T) {
	w := servicetest.New(t)
	both := []*Audit{openAudit(t, w), openAudit(t, w)}
	if !bytes.Equal(both[0].key, both[1].key) {
		t.Fatal("two instances have two keys")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	added := make(map[string]int)
	for i := range 100 {
		wg.Go(func() {
			id := "same"
			if i%2 == 1 {
				id = fmt.Sprintf("other%d", i)
			}
			// An answer that does not come in time is asked for again, as callers do.
			for {
				ok, err := both[i/2%2].add(t.Context(), id, nth("p", i))
				if contract.CodeOf(err) == contract.Unavailable {
					continue
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if ok {
					added[id]++
				}
				mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
	if r := verify(t, both[0], "p", nil, 0); r.Entries != 51 {
		t.Errorf("%d entries, want 51", r.Entries)
	}
	seen := make(map[string]int)
	for seq := int64(1); seq <= 51; seq++ {
		seen[get(t, both[0], "p", seq).Event]++
	}
	if len(seen) != 51 || !maps.Equal(seen, added) {
		t.Errorf("%v, and %v were said to be added", seen, added)
	}
}

// A crash after any step of an append, with or without neighbours who go on, leaves what the next attempt completes.
func TestAuditCrashAfterAnyStep(t *testing.T) {
	w := servicetest.New(t)
	ctx := context.WithoutCancel(t.Context())
	old := openAudit(t, w) // the one that crashes
	for name, steps := range map[string]int{"nothing": 0, "mark": 1, "entry": 2, "head": 3, "all": 4} {
		for neighbours := range 3 {
			portal := fmt.Sprintf("%s-%d", name, neighbours)
			fill(t, old, portal, 2)
			next := newEntry("lost", nth(portal, 3), "").after(old.tail(portal).head, old.key)
			for n, step := range []func() error{
				func() error { return old.docs.begin(ctx, portal, "lost", 2) },
				func() error { return old.docs.insert(ctx, next) },
				func() error { return old.docs.moveHead(ctx, portal, next.head()) },
				func() error { return old.docs.finish(ctx, portal, "lost", 3) },
			} {
				if n < steps {
					if err := step(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range neighbours {
				if err := openAudit(t, w).Append(ctx, fmt.Sprintf("next%d", i), nth(portal, 4)); err != nil {
					t.Fatal(err)
				}
			}
			// Told again: to the one that has not noticed anything, to a new one, and to the first again.
			for _, a := range []*Audit{old, openAudit(t, w), old} {
				if err := a.Append(ctx, "lost", nth(portal, 3)); err != nil {
					t.Fatal(err)
				}
			}
			r := verify(t, old, portal, nil, 0)
			if want := int64(2 + neighbours + 1); r.Entries != want {
				t.Errorf("%s: %d entries, want %d", portal, r.Entries, want)
			}
			if h, err := old.docs.head(ctx, portal); err != nil || h != r.Head {
				t.Errorf("%s: the head is %v, the log ends at %v, %v", portal, h, r.Head, err)
			}
			if _, seq, err := old.docs.mark(ctx, portal, "lost"); err != nil || seq == 0 {
				t.Errorf("%s: the mark is at %d, %v", portal, seq, err)
			}
		}
	}
}

// No two entries that differ hash alike, wherever the letters stand.
func TestAuditHashTellsEntriesApart(t *testing.T) {
	key := []byte("key")
	text := rapid.StringMatching(`[ab]{0,2}`)
	draw := func(t *rapid.T) entry {
		return entry{
			Seq: rapid.Int64Range(1, 2).Draw(t, "seq"), Portal: text.Draw(t, "portal"), Event: text.Draw(t, "event"),
			Action: contract.AuditAction(text.Draw(t, "action")), Actor: text.Draw(t, "actor"), User: text.Draw(t, "user"),
			Reason: text.Draw(t, "reason"), Request: text.Draw(t, "request"), Prev: text.Draw(t, "prev"),
			Detail: rapid.MapOf(text, text).Draw(t, "detail"), At: since.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "at")) * time.Millisecond),
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		one, two := draw(t), draw(t)
		if same := reflect.DeepEqual(one, two); same != (one.sum(one.Prev, key) == two.sum(two.Prev, key)) {
			t.Fatalf("%+v and %+v", one, two)
		}
	})
}

func TestB39AuditIsExported(t *testing.T) {
	a := openAudit(t, servicetest.New(t))
	fill(t, a, "p", 3)
	evil := nth("p", 4)
	evil.Reason, evil.Actor, evil.Action = `=HYPERLINK("https://evil.example","open me")`, "@u9", contract.AuditEnrolmentRemoved
	if err := a.Append(t.Context(), "-ev4", evil); err != nil {
		t.Fatal(err)
	}
	out := func(f Filter, format Format) string {
		t.Helper()
		var b strings.Builder
		if err := a.Export(t.Context(), "p", f, &b, format); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	rows, err := csv.NewReader(strings.NewReader(out(Filter{}, FormatCSV))).ReadAll()
	if err != nil || len(rows) != 5 || rows[0][0] != "seq" || rows[1][0] != "1" {
		t.Fatalf("%v, %v", rows, err)
	}
	want := []string{"4", "2026-03-12T09:18:00.000Z", "enrolment_removed", "'@u9", "u4", "'" + evil.Reason, `{"cause":"admin","reset":"rs4"}`, "'-ev4", "", get(t, a, "p", 4).Hash}
	if !slices.Equal(rows[4], want) {
		t.Errorf("got  %q\nwant %q", rows[4], want)
	}
	for _, s := range []string{"=1", "+1", "-1", "@x", "\tx", "\rx"} {
		if cell(s) != "'"+s {
			t.Errorf("%q is not defused", s)
		}
	}
	for f, want := range map[Filter]int{
		{}: 4, {User: "u2"}: 1, {Action: contract.AuditEnrolmentReset}: 3, {From: since.Add(2 * time.Minute), To: since.Add(4 * time.Minute)}: 2, {User: "nobody"}: 0,
	} {
		var entries []contract.AuditEntry
		if err := json.Unmarshal([]byte(out(f, FormatJSON)), &entries); err != nil || len(entries) != want {
			t.Errorf("%+v: %d entries, want %d; %v", f, len(entries), want, err)
		}
	}
	if err := a.Export(t.Context(), "p", Filter{}, &strings.Builder{}, "xml"); err == nil {
		t.Error("it is exported as anything")
	}
}

func TestB39AuditIsReadAndFiltered(t *testing.T) {
	a := openAudit(t, servicetest.New(t))
	fill(t, a, "p", 7)
	fill(t, a, "q", 2)
	for name, row := range map[string]struct {
		req  contract.AuditListRequest
		want []int64
	}{
		"all":       {contract.AuditListRequest{}, []int64{7, 6, 5, 4, 3, 2, 1}},
		"by user":   {contract.AuditListRequest{User: "u3"}, []int64{3}},
		"by action": {contract.AuditListRequest{Action: contract.AuditEnrolmentReset}, []int64{7, 6, 5, 4, 3, 2, 1}},
		"another":   {contract.AuditListRequest{Action: contract.AuditBreakGlass}, nil},
		"from":      {contract.AuditListRequest{From: since.Add(6 * time.Minute)}, []int64{7, 6}},
		"to":        {contract.AuditListRequest{To: since.Add(3 * time.Minute)}, []int64{2, 1}},
		"together":  {contract.AuditListRequest{User: "u5", From: since, To: since.Add(time.Hour), Action: contract.AuditEnrolmentReset}, []int64{5}},
	} {
		for _, limit := range []int{0, 1, 3, 7} {
			req := row.req
			req.Portal, req.Limit = "p", limit
			var got []int64
			for {
				page, err := a.list(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Items {
					if e.Portal != "p" || e.ID != fmt.Sprintf("ev%d", e.Seq) || e.Hash == "" || e.Request != "rq1" {
						t.Errorf("%+v", e)
					}
					got = append(got, e.Seq)
				}
				if req.Cursor = page.Next; req.Cursor == "" {
					break
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%s by %d: %v, want %v", name, limit, got, row.want)
			}
		}
	}
	for field, req := range map[string]contract.AuditListRequest{
		"portal": {Portal: ""}, "limit": {Portal: "p", Limit: 201}, "cursor": {Portal: "p", Cursor: "next"},
	} {
		if _, err := a.list(t.Context(), req); contract.AsError(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAuditRefusesWhatItCannotKeep(t *testing.T) {
	a := openAudit(t, servicetest.New(t))
	for field, spoil := range map[string]func(n *contract.AuditNote){
		"portal": func(n *contract.AuditNote) { n.Portal = "a/b" },
		"action": func(n *contract.AuditNote) { n.Action = "made_up" },
		"actor":  func(n *contract.AuditNote) { n.Actor = strings.Repeat("x", 129) },
		"user":   func(n *contract.AuditNote) { n.User = "a.b" },
		"reason": func(n *contract.AuditNote) { n.Reason = strings.Repeat("ü", 501) },
		"at":     func(n *contract.AuditNote) { n.At = time.Time{} },
		"detail": func(n *contract.AuditNote) { n.Detail["$set"] = "x" },
	} {
		n := nth("p", 1)
		spoil(&n)
		if err := a.Append(t.Context(), "ev", n); contract.AsError(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := a.Append(t.Context(), "a b", nth("p", 1)); contract.AsError(err).Field != "id" {
		t.Error(err)
	}
	if _, err := a.docs.nextPortal(t.Context(), ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("something was kept: %v", err)
	}
}

// BenchmarkAppend is what a change waits for: four writes by _id, one after the other.
func BenchmarkAppend(b *testing.B) {
	a := openAudit(b, servicetest.New(b))
	n := 0
	for b.Loop() {
		n++
		if err := a.Append(b.Context(), fmt.Sprintf("ev%d", n), nth("p", n)); err != nil {
			b.Fatal(err)
		}
	}
}

// Between the reading and the writing of late news somebody may have renamed the device: the guard alone must see it.
func TestTheSameEnrolmentIsNotWrittenAgain(t *testing.T) {
	w := servicetest.New(t)
	office, err := OpenOffice(t.Context(), w.DB(contract.Policy), w.Keys(contract.Policy))
	if err != nil {
		t.Fatal(err)
	}
	who, e := contract.Account{Portal: "p", User: "u1"}, Enrolment{ID: "en1", Since: since}
	for _, want := range []bool{true, false} {
		if done, err := office.policy.state.record(t.Context(), who, contract.FactorTOTP, e, nil); err != nil || done != want {
			t.Errorf("written: %v, want %v; %v", done, want, err)
		}
	}
}

package sms

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

func (w *world) deliveries(req contract.DeliveriesRequest) contract.DeliveriesPage {
	w.tb.Helper()
	page, err := bus.Request(w.tb.Context(), w.gateway, contract.SMSDeliveries, req)
	if err != nil {
		w.tb.Fatalf("deliveries: %v", err)
	}
	return page
}

func ids(items []contract.DeliveryInfo) []string {
	out := []string{}
	for _, i := range items {
		out = append(out, i.Challenge)
	}
	return out
}

// pages reads a list from the first page to the last.
func (w *world) pages(req contract.DeliveriesRequest) []string {
	w.tb.Helper()
	var out []string
	for range 1000 {
		page := w.deliveries(req)
		if len(page.Items) > req.Limit || len(page.Next) > 128 {
			w.tb.Fatalf("a page of %d, cursor %q", len(page.Items), page.Next)
		}
		out = append(out, ids(page.Items)...)
		if page.Next == "" {
			return out
		}
		req.Cursor = page.Next
	}
	w.tb.Fatal("the list has no end")
	return nil
}

func TestB26B35ADeliveryAsAnAdminSeesIt(t *testing.T) {
	w := newWorld(t)
	w.start()
	p := w.person("u1", phone)
	p.enrol()
	w.ends("enrol-u1")
	began := w.Clock.Now()
	w.Clock.Add(time.Minute)
	w.fault("opted_out", 1)
	p.ask("c1", contract.ForSignIn, "")
	w.ends("c1")
	page := w.deliveries(contract.DeliveriesRequest{Portal: "northwind", User: "u1"})
	if !slices.Equal(ids(page.Items), []string{"c1", "enrol-u1"}) || page.Next != "" {
		t.Fatalf("listed %+v", page)
	}
	failed, sent := page.Items[0], page.Items[1]
	if want := (contract.DeliveryInfo{
		Challenge: "c1", User: "u1", Purpose: contract.ForSignIn, Destination: "xxx-xxx-9443", Delivery: contract.DeliveryFailed,
		Reason: contract.ReasonOptedOut, Attempts: 1, CreatedAt: w.Clock.Now(), EndedAt: w.Clock.Now(),
	}); failed != want {
		t.Errorf("failed: %+v", failed)
	}
	if want := (contract.DeliveryInfo{
		Challenge: "enrol-u1", User: "u1", Purpose: contract.ForEnrolment, Destination: "xxx-xxx-9443", Delivery: contract.DeliverySent,
		Attempts: 1, MessageID: sent.MessageID, CreatedAt: began, EndedAt: began, VerifiedAt: began,
	}); sent != want || sent.MessageID == "" {
		t.Errorf("sent: %+v", sent)
	}
	raw, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	if code := p.codes()[0]; strings.Contains(string(raw), "5559443") || strings.Contains(string(raw), code) {
		t.Error("a number or a code is in the list")
	}
}

// texts writes challenges of several people, some of one moment, and returns them newest first.
func (w *world) texts(n int) []challenge {
	w.tb.Helper()
	at := w.Clock.Now().Add(-time.Hour)
	var out []challenge
	for i := range n {
		created := at.Add(time.Duration(i/3) * 7 * time.Millisecond)
		c := challenge{
			ID: fmt.Sprintf("t%d", i*7919%1000), Portal: []string{"northwind", "northwind", "contoso"}[i%3], User: fmt.Sprintf("u%d", i%4),
			Purpose: []contract.Purpose{contract.ForSignIn, contract.ForEnrolment, contract.ForSignIn, contract.ForSignIn, contract.ForStepUp}[i%5],
			Last4:   "9443", CreatedAt: created, ExpiresAt: created.Add(codeLife), State: stateSent, Closed: closedExpired,
		}
		c.Order = orderOf(created, c.ID)
		if err := w.records.challenges.Insert(w.tb.Context(), c); err != nil {
			w.tb.Fatal(err)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b challenge) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return out
}

func TestB35DeliveriesArePagedNewestFirst(t *testing.T) {
	w := newWorld(t)
	w.start()
	all := w.texts(90)
	at := all[len(all)-1].CreatedAt
	for name, req := range map[string]contract.DeliveriesRequest{
		"a portal":                      {Portal: "northwind"},
		"another":                       {Portal: "contoso"},
		"none":                          {Portal: "fabrikam"},
		"a person":                      {Portal: "northwind", User: "u2"},
		"a person of another portal":    {Portal: "contoso", User: "u2"},
		"a purpose":                     {Portal: "northwind", Purpose: contract.ForEnrolment},
		"a person's, for a purpose":     {Portal: "northwind", User: "u1", Purpose: contract.ForStepUp},
		"from, inclusive":               {Portal: "northwind", From: at.Add(70 * time.Millisecond)},
		"from, between":                 {Portal: "northwind", From: at.Add(70*time.Millisecond + time.Nanosecond)},
		"to, exclusive":                 {Portal: "northwind", To: at.Add(70 * time.Millisecond)},
		"to, between":                   {Portal: "northwind", To: at.Add(70*time.Millisecond + time.Nanosecond)},
		"from and to":                   {Portal: "northwind", User: "u1", From: at.Add(35 * time.Millisecond), To: at.Add(105 * time.Millisecond).In(time.FixedZone("", 7200))},
		"from after to":                 {Portal: "northwind", From: at.Add(time.Second), To: at},
		"all there ever was, and more":  {Portal: "northwind", From: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		"what is to come in the future": {Portal: "northwind", From: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		var want []string
		for _, c := range all {
			if c.Portal == req.Portal && (req.User == "" || c.User == req.User) && (req.Purpose == "" || c.Purpose == req.Purpose) && !c.CreatedAt.Before(req.From) && (req.To.IsZero() || c.CreatedAt.Before(req.To)) {
				want = append(want, c.ID)
			}
		}
		for _, limit := range []int{1, 7, 30, 200} {
			if limit == 1 && name != "a person" {
				continue // enough of that
			}
			req.Limit = limit
			if got := w.pages(req); !slices.Equal(got, want) {
				t.Errorf("%s, %d a page: %v\nwant %v", name, limit, got, want)
			}
		}
	}
	if page := w.deliveries(contract.DeliveriesRequest{Portal: "northwind"}); len(page.Items) != 50 || page.Next == "" {
		t.Errorf("the usual page has %d", len(page.Items))
	}
	// What comes in while somebody turns pages shifts none.
	first := w.deliveries(contract.DeliveriesRequest{Portal: "northwind", Limit: 10})
	late := challenge{ID: "late", Portal: "northwind", User: "u1", Order: orderOf(w.Clock.Now(), "late"), CreatedAt: w.Clock.Now()}
	if err := w.records.challenges.Insert(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	next := w.deliveries(contract.DeliveriesRequest{Portal: "northwind", Limit: 10, Cursor: first.Next})
	both := append(ids(first.Items), ids(next.Items)...)
	var want []string
	for _, c := range all {
		if c.Portal == "northwind" {
			want = append(want, c.ID)
		}
	}
	if !slices.Equal(both, want[:20]) {
		t.Errorf("two pages: %v, want %v", both, want[:20])
	}
}

func TestB35WhatIsNoPageIsRefused(t *testing.T) {
	w := newWorld(t)
	w.start()
	word := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	good := cursorOf(orderOf(w.Clock.Now(), "c1"))
	for field, reqs := range map[string][]contract.DeliveriesRequest{
		"":        {{}, {Portal: "a/b"}, {Portal: "northwind", User: "a\x00"}},
		"purpose": {{Portal: "northwind", Purpose: "challenge_ended"}},
		"limit":   {{Portal: "northwind", Limit: -1}, {Portal: "northwind", Limit: 201}},
		"to":      {{Portal: "northwind", To: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -7200))}},
		"from":    {{Portal: "northwind", From: time.Date(1, 1, 1, 0, 0, 0, 0, time.FixedZone("", 7200))}},
		"cursor": {
			{Portal: "northwind", Cursor: "c1"},
			{Portal: "northwind", Cursor: good + "="},
			{Portal: "northwind", Cursor: good[1:]},
			{Portal: "northwind", Cursor: strings.Repeat(good, 100)},
			{Portal: "northwind", Cursor: word("2026-03-01T12:00:00.000Z/")},
			{Portal: "northwind", Cursor: word("2026-03-01T12:00:00.000Z/a/b")},
			{Portal: "northwind", Cursor: word("2026-13-01T12:00:00.000Z/a")},
			{Portal: "northwind", Cursor: word("zzzz")},
			{Portal: "northwind", Cursor: word(`{"$gt":""}/a`)},
		},
	} {
		for _, req := range reqs {
			_, err := bus.Request(t.Context(), w.gateway, contract.SMSDeliveries, req)
			if e := refusal(t, err, contract.InvalidRequest); e.Field != field {
				t.Errorf("%+v: %+v", req, e)
			}
		}
	}
	if page := w.deliveries(contract.DeliveriesRequest{Portal: "northwind", Cursor: good}); page.Items == nil || len(page.Items) != 0 {
		t.Errorf("%+v", page)
	}
	// A cursor has a bounded size, whatever the id.
	longest := cursorOf(orderOf(w.Clock.Now(), strings.Repeat("x", 64)))
	if _, ok := orderAt(longest); !ok {
		t.Errorf("a cursor of ours is %d long and not read", len(longest))
	}
}

// Lists go back ninety days; what is older is removed, but never before it is over and told.
func TestOldChallengesAreRemoved(t *testing.T) {
	w := newWorld(t)
	now := w.Clock.Now()
	insert := func(id string, age time.Duration, change func(*challenge)) {
		t.Helper()
		created := asKept(now.Add(-age))
		c := challenge{
			ID: id, Portal: "northwind", User: "u1", Order: orderOf(created, id), CreatedAt: created, ExpiresAt: created.Add(codeLife),
			State: stateSent, Closed: closedExpired, Settled: true, Due: created.Add(keepFor),
		}
		change(&c)
		if err := w.records.challenges.Insert(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	as := func(*challenge) {}
	for i := range 200 {
		insert(fmt.Sprintf("old%d", i), keepFor+time.Duration(i+1)*time.Millisecond, as)
	}
	insert("young", keepFor-time.Minute, as)
	// Those that something stood still with are ended first, and told.
	insert("open", 2*keepFor, func(c *challenge) { c.Closed, c.Settled = stillOpen, false })
	insert("queued", 2*keepFor, func(c *challenge) { c.State, c.Closed, c.Settled = queued, stillOpen, false })
	insert("untold", 2*keepFor, func(c *challenge) { c.Settled = false })
	w.start()
	servicetest.Eventually(t, "the old ones are gone", func() bool {
		left := w.pages(contract.DeliveriesRequest{Portal: "northwind", Limit: 200})
		return slices.Equal(left, []string{"young"})
	})
	for id, want := range map[string]contract.Outcome{"open": contract.OutcomeSent, "queued": contract.OutcomeExpired, "untold": contract.OutcomeSent} {
		if f := w.ends(id); f.Outcome != want {
			t.Errorf("%s ended as %+v", id, f)
		}
	}
}

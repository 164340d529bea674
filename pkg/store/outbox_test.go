package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/bus"
	"sallyport/pkg/embedded"
)

// post is the bus as the outbox sees it: it keeps what is sent, and may refuse.
type post struct {
	mu     sync.Mutex
	sent   []string
	refuse map[string]bool
}

func (p *post) send(_ context.Context, l bus.Letter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse[l.ID] || p.refuse["*"] {
		return errors.New("the bus does not answer")
	}
	p.sent = append(p.sent, l.ID)
	return nil
}

func (p *post) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

type item struct {
	ID     string                `bson:"_id"`
	N      int                   `bson:"n"`
	Outbox map[string]bus.Letter `bson:"outbox,omitempty"`
}

// mailroom is an outbox on a real store, with everything that can be looked at.
type mailroom struct {
	*Outbox
	t     *testing.T
	items Collection[item]
	post  *post
}

func newMailroom(t *testing.T) *mailroom {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		st, err := embedded.StartStore(embedded.StoreOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close(context.Background()) })
		uri = st.URI()
	}
	log := slog.New(slog.DiscardHandler)
	db, err := Connect(t.Context(), Options{URI: uri, Database: fmt.Sprintf("t_outbox_%d", time.Now().UnixNano()), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	p := &post{refuse: make(map[string]bool)}
	return &mailroom{Outbox: NewOutbox(db, log, p.send), t: t, items: Of[item](db, "items"), post: p}
}

func letter(id string) bus.Letter {
	return bus.Letter{ID: id, Subject: "sallyport.fact.test", Data: []byte(`{}`), Request: "rq1", At: time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)}
}

// announce and write are the two steps of whoever has something to tell.
func (m *mailroom) announce(doc string, ids ...string) {
	m.t.Helper()
	for _, id := range ids {
		if err := m.Note(m.t.Context(), "items", doc, letter(id)); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mailroom) write(doc string, ids ...string) {
	m.t.Helper()
	set := bson.D{{Key: "n", Value: 1}}
	for _, id := range ids {
		set = append(set, Put(letter(id))...)
	}
	if _, err := m.items.Update(m.t.Context(), doc, Change{Update: bson.D{{Key: "$set", Value: set}}, Upsert: true}); err != nil {
		m.t.Fatal(err)
	}
}

// take removes a letter from its document, as the step after sending does.
func (m *mailroom) take(doc, id string) {
	m.t.Helper()
	if _, err := m.items.Update(m.t.Context(), doc, Change{Update: bson.D{{Key: "$unset", Value: bson.D{{Key: "outbox." + id, Value: ""}}}}}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mailroom) left() (notes int, letters int) {
	m.t.Helper()
	all, err := m.notes.Query(m.t.Context(), bson.D{}, bson.D{{Key: "_id", Value: 1}}, 1000)
	if err != nil {
		m.t.Fatal(err)
	}
	docs, err := m.items.Query(m.t.Context(), bson.D{}, bson.D{{Key: "_id", Value: 1}}, 1000)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, d := range docs {
		letters += len(d.Outbox)
	}
	return len(all), letters
}

func (m *mailroom) nothingLeft() {
	m.t.Helper()
	if notes, letters := m.left(); notes != 0 || letters != 0 {
		m.t.Errorf("%d notes and %d letters are left", notes, letters)
	}
}

func (m *mailroom) wait() {
	m.t.Helper()
	if err := m.Close(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

func TestLetterIsRelayed(t *testing.T) {
	m := newMailroom(t)
	m.announce("a", "l1", "l2")
	m.write("a", "l1", "l2")
	doc, err := m.items.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.Outbox["l1"]; got.ID != "l1" || got.Subject != letter("l1").Subject || string(got.Data) != "{}" || got.Request != "rq1" || !got.At.Equal(letter("l1").At) {
		t.Errorf("the document keeps %+v", got)
	}
	m.Relay("items", "a", letter("l1"), letter("l2"))
	m.wait()
	if got := m.post.all(); !slices.Equal(got, []string{"l1", "l2"}) {
		t.Errorf("sent %v", got)
	}
	m.nothingLeft()
	if doc, err := m.items.Get(t.Context(), "a"); err != nil || doc.N != 1 {
		t.Errorf("%+v, %v", doc, err)
	}
}

// A crash after any step loses no letter, and nothing is left after the next sweep.
func TestCrashAfterAnyStep(t *testing.T) {
	send := func(m *mailroom) {
		if err := m.post.send(t.Context(), letter("l1")); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		steps func(m *mailroom)
		want  []string
	}{
		{"before anything", func(*mailroom) {}, nil},
		{"announced", func(m *mailroom) { m.announce("a", "l1") }, nil},
		{"announced, and the document is there without it", func(m *mailroom) { m.write("a"); m.announce("a", "l1") }, nil},
		{"written", func(m *mailroom) { m.announce("a", "l1"); m.write("a", "l1") }, []string{"l1"}},
		{"sent", func(m *mailroom) { m.announce("a", "l1"); m.write("a", "l1"); send(m) }, []string{"l1", "l1"}},
		{"taken out", func(m *mailroom) { m.announce("a", "l1"); m.write("a", "l1"); send(m); m.take("a", "l1") }, []string{"l1"}},
		{"announced twice", func(m *mailroom) { m.announce("a", "l1"); m.write("a", "l1"); m.announce("a", "l1") }, []string{"l1"}},
		{"one of two written", func(m *mailroom) { m.announce("a", "l0", "l1"); m.write("a", "l1") }, []string{"l1"}},
		{"the document is gone", func(m *mailroom) {
			m.announce("a", "l1")
			m.write("a", "l1")
			if err := m.items.Delete(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMailroom(t)
			row.steps(m)
			for range 2 {
				if err := m.sweep(t.Context(), 0, 0); err != nil {
					t.Fatal(err)
				}
			}
			if got := m.post.all(); !slices.Equal(got, row.want) {
				t.Errorf("sent %v, want %v", got, row.want)
			}
			m.nothingLeft()
		})
	}
}

func TestBusAwayAndBack(t *testing.T) {
	m := newMailroom(t)
	m.post.refuse["*"] = true
	m.announce("a", "l1")
	m.write("a", "l1")
	m.Relay("items", "a", letter("l1"))
	m.wait()
	if err := m.sweep(t.Context(), 0, 0); err == nil {
		t.Error("the sweep said nothing")
	}
	if notes, letters := m.left(); notes != 1 || letters != 1 {
		t.Errorf("%d notes and %d letters, want one of each", notes, letters)
	}
	m.post.refuse["*"] = false
	if err := m.sweep(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := m.post.all(); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("sent %v", got)
	}
	m.nothingLeft()
}

// A letter that cannot be sent stays, and holds nobody up.
func TestOneBadLetterHoldsNobodyUp(t *testing.T) {
	m := newMailroom(t)
	m.post.refuse["l0"] = true
	for i := range 5 {
		id := fmt.Sprintf("l%d", i)
		m.announce(id, id)
		m.write(id, id)
	}
	if err := m.sweep(t.Context(), 0, 0); err == nil {
		t.Error("the sweep said nothing")
	}
	if got := m.post.all(); !slices.Equal(got, []string{"l1", "l2", "l3", "l4"}) {
		t.Errorf("sent %v", got)
	}
	if notes, letters := m.left(); notes != 1 || letters != 1 {
		t.Errorf("%d notes and %d letters, want one of each", notes, letters)
	}
}

// Who is between the announcement and the write is left alone.
func TestGrace(t *testing.T) {
	m := newMailroom(t)
	m.announce("a", "l1")
	if err := m.sweep(t.Context(), time.Minute, 0); err != nil {
		t.Fatal(err)
	}
	if notes, _ := m.left(); notes != 1 {
		t.Fatalf("%d notes, want the young one", notes)
	}
	m.write("a", "l1")
	if err := m.sweep(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := m.post.all(); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("sent %v", got)
	}
}

// A write that the store has made and confirms late is seen by a later sweep: its note is still there.
func TestALetterThatShowsLateIsTold(t *testing.T) {
	m := newMailroom(t)
	m.announce("a", "l1")
	for range 2 {
		if err := m.sweep(t.Context(), 0, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if notes, _ := m.left(); notes != 1 || m.Outbox.left.number != 0 {
		t.Fatalf("%d notes, want the one without a letter, which nothing waits for", notes)
	}
	m.write("a", "l1")
	if err := m.sweep(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := m.post.all(); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("sent %v", got)
	}
	m.nothingLeft()
}

// Replicas that sweep at once repeat each other at worst; none is lost.
func TestSweepsOfManyReplicas(t *testing.T) {
	m := newMailroom(t)
	for i := range 20 {
		id := fmt.Sprintf("l%d", i)
		m.announce("a", id)
		m.write("a", id)
	}
	var wg sync.WaitGroup
	for range 4 {
		replica := NewOutbox(m.db, m.log, m.post.send)
		wg.Go(func() {
			if err := replica.sweep(t.Context(), 0, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := m.post.all()
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != 20 {
		t.Errorf("sent %v", got)
	}
	m.nothingLeft()
}

func TestRunSweepsAtOnceAndAgain(t *testing.T) {
	m := newMailroom(t)
	m.announce("a", "l1")
	m.write("a", "l1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx, 20*time.Millisecond, 0) }()
	arrives := func(want ...string) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for !slices.Equal(m.post.all(), want) {
			select {
			case <-deadline:
				t.Fatalf("sent %v, want %v", m.post.all(), want)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	arrives("l1")
	m.write("b", "l2") // before its note, so that no sweep can take the note away
	m.announce("b", "l2")
	arrives("l1", "l2")
	cancel()
	<-done
}

func TestCloseOfOutboxIsBounded(t *testing.T) {
	m := newMailroom(t)
	release := make(chan struct{})
	m.send = func(context.Context, bus.Letter) error { <-release; return nil }
	m.announce("a", "l1")
	m.write("a", "l1")
	m.Relay("items", "a", letter("l1"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Close(ctx); err == nil {
		t.Error("closed with a letter in hand, and did not say so")
	}
	close(release)
	m.wait()
}

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// book is the ledger while it is written.
type book struct {
	mu     sync.Mutex
	ledger Ledger
	asked  map[string]time.Time // reservations under way, by life and challenge
	who    map[string]*person   // by challenge
}

func (b *book) write(f func(*Ledger)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.ledger)
}

// tells writes down what somebody was told.
func (b *book) tells(t Told, who *person) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.who == nil {
		b.who = make(map[string]*person)
	}
	b.who[t.Challenge] = who
	b.ledger.Told = append(b.ledger.Told, t)
}

// whose is the person who was told of a challenge.
func (b *book) whose(challenge string) *person {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.who[challenge]
}

func (b *book) closes(c Closing) { b.write(func(l *Ledger) { l.Closings = append(l.Closings, c) }) }

func (b *book) happens(i Incident) { b.write(func(l *Ledger) { l.Incidents = append(l.Incidents, i) }) }

func (b *book) hears(f contract.ChallengeFact) {
	b.write(func(l *Ledger) { l.Facts = append(l.Facts, f) })
}

// asks writes down that an attempt is asked for, grants that it was granted.
func (b *book) asks(challenge string, l *life) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked == nil {
		b.asked = make(map[string]time.Time)
	}
	b.asked[l.name+" "+challenge] = time.Now()
}

func (b *book) grants(challenge string, l *life) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger.Reserved = append(b.ledger.Reserved, Reservation{challenge, l.name, b.asked[l.name+" "+challenge]})
}

// arrives writes a request down as it comes, answers what became of it. Until then it counts as cut off.
func (b *book) arrives(h Handoff) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.Answer = Cut
	b.ledger.Handoffs = append(b.ledger.Handoffs, h)
	return len(b.ledger.Handoffs) - 1
}

func (b *book) answers(n int, a Answer) {
	b.write(func(l *Ledger) { l.Handoffs[n].Answer, l.Handoffs[n].Answered = a, time.Now() })
}

// handed are the hand-offs of a challenge so far.
func (b *book) handed(challenge string) []Handoff {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Handoff
	for _, h := range b.ledger.Handoffs {
		if h.Challenge == challenge {
			out = append(out, h)
		}
	}
	return out
}

func (b *book) copy() Ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.ledger
	l.Told, l.Closings, l.Handoffs = append([]Told(nil), l.Told...), append([]Closing(nil), l.Closings...), append([]Handoff(nil), l.Handoffs...)
	l.Reserved, l.Incidents, l.Facts = append([]Reservation(nil), l.Reserved...), append([]Incident(nil), l.Incidents...), append([]contract.ChallengeFact(nil), l.Facts...)
	return l
}

// proves checks the ledger, and prints and keeps its figures.
func (h *house) proves(l Ledger, notes ...string) {
	h.tb.Helper()
	complaints := l.Check()
	for i, c := range complaints {
		if i == 20 {
			h.tb.Errorf("and %d more", len(complaints)-i)
			break
		}
		h.tb.Errorf("%s\n%s", c, l.story(c.Challenge))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d complaints\n%s", h.tb.Name(), len(complaints), l.Figures())
	if h.late > 0 {
		notes = append(notes, fmt.Sprintf("%-34s %d", "facts told when the code was typed", h.late))
	}
	for _, n := range notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	h.tb.Log("\n" + b.String())
	report(h.tb, b.String())
	if h.tb.Failed() {
		for _, d := range h.dispatchers {
			if p := d.current().process(); p != nil {
				h.tb.Logf("%s: %s", d.current().name, lastLines(p.Output(), 10))
			}
		}
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

var reports sync.Mutex

// report adds to .artifacts/fault.txt, which the first report of a test process begins anew.
func report(tb testing.TB, text string) {
	tb.Helper()
	reports.Lock()
	defer reports.Unlock()
	dir := filepath.Join(sut.Root(tb), ".artifacts")
	how := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if begun {
		how = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	begun = true
	if err := os.MkdirAll(dir, 0o750); err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "fault.txt"), how, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = f.WriteString(text + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		tb.Fatal(err)
	}
}

var begun bool

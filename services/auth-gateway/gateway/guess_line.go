package gateway

import (
	"context"
	"sync"
	"time"

	"sallyport/pkg/contract"
)

// lines let a few passwords for one address from one network be under way at once on this gateway; the rest wait. Each
// counts while it is under way, so that a crowd of right ones would otherwise be refused for its own number.
type lines struct {
	mu sync.Mutex
	at map[string]*line
}

type line struct {
	slots chan struct{}
	// people are in the line, those at its head included.
	people int
}

// lineHeads is how many are under way at once: fewer, with several gateways, than any limit worth setting.
const lineHeads = 3

func newLines() *lines { return &lines{at: make(map[string]*line)} }

// enter waits for a turn. Whoever has had it calls leave.
func (l *lines) enter(ctx context.Context, name string) error {
	l.mu.Lock()
	q := l.at[name]
	if q == nil {
		q = &line{slots: make(chan struct{}, lineHeads)}
		l.at[name] = q
	}
	q.people++
	l.mu.Unlock()
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	select {
	case q.slots <- struct{}{}:
		return nil
	case <-patience.C:
	case <-ctx.Done():
	}
	l.forget(name)
	return contract.Wait(contract.Unavailable, 5*time.Second, "Many people are signing in just now. Please try again in a moment.")
}

// waiting tells whether somebody waits for a turn.
func (l *lines) waiting(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at[name].people > lineHeads
}

func (l *lines) leave(name string) {
	l.mu.Lock()
	q := l.at[name]
	l.mu.Unlock()
	<-q.slots
	l.forget(name)
}

func (l *lines) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.at[name]
	if q.people--; q.people == 0 {
		delete(l.at, name)
	}
}

package gateway

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sallyport/pkg/meter"
)

// chores are the writes that follow a guess, behind the person's back: no answer waits for them, and many of one kind in
// a moment become one. What is lost of them makes a limit too strict until its window is over, never too loose.
type chores struct {
	records guessRecords
	log     *slog.Logger

	work  sync.Mutex // held by who does what waits
	mu    sync.Mutex
	backs map[backOf]back
	todo  map[string]func(context.Context) error
	wake  chan struct{}
}

// backOf is where guesses are given back that count in the same buckets.
type backOf struct{ id, mark, buckets string }

// back is how many.
type back struct {
	limits meter.Limits
	at     time.Time
	n      int
}

const (
	// choresMost is how many may wait. In a flood that is larger the rest is lost.
	choresMost = 10_000
	// choresHands is how many are done at once.
	choresHands = 8
	// choresPatience is how long a person waits for them, who have their answer already.
	choresPatience = 2 * time.Second
)

func newChores(records guessRecords, log *slog.Logger) *chores {
	return &chores{
		records: records, log: log, backs: make(map[backOf]back), todo: make(map[string]func(context.Context) error), wake: make(chan struct{}, 1),
	}
}

// giveBack takes a guess back from a meter or, where there is a mark, from a home.
func (c *chores) giveBack(id, mark string, limits meter.Limits, at time.Time) {
	of := backOf{id, mark, strings.Join(limits.Paths(at), " ")}
	c.mu.Lock()
	if b, known := c.backs[of]; known || len(c.backs) < choresMost {
		c.backs[of] = back{limits, at, b.n + 1}
	}
	c.mu.Unlock()
	c.rouse()
}

// do does something else later; of several with one name the last.
func (c *chores) do(name string, f func(context.Context) error) {
	c.mu.Lock()
	if _, known := c.todo[name]; known || len(c.todo) < choresMost {
		c.todo[name] = f
	}
	c.mu.Unlock()
	c.rouse()
}

func (c *chores) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, and then does what is left.
func (c *chores) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			c.flush(last)
			return
		case <-c.wake:
			c.flush(ctx)
		}
	}
}

// settle has what waits done, and waits for it a moment: a store that is slow, or a flood before this one, keeps nobody.
func (c *chores) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, choresPatience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.flush(context.WithoutCancel(ctx))
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// flush does what waits, and returns when all of it is done. Nothing is tried again: whether a write that failed was made is not known, and what is given
// back twice would make room that there is not.
func (c *chores) flush(ctx context.Context) {
	c.work.Lock()
	defer c.work.Unlock()
	c.mu.Lock()
	backs, todo := c.backs, c.todo
	c.backs, c.todo = make(map[backOf]back), make(map[string]func(context.Context) error)
	c.mu.Unlock()
	var hands sync.WaitGroup
	free := make(chan struct{}, choresHands)
	do := func(f func()) {
		free <- struct{}{}
		hands.Go(func() { f(); <-free })
	}
	for of, b := range backs {
		do(func() { c.give(ctx, of, b) })
	}
	for _, f := range todo {
		do(func() {
			if err := f(ctx); err != nil {
				c.log.Warn("what follows a password was not done", slog.Any("error", err))
			}
		})
	}
	hands.Wait()
}

// give gives guesses back.
func (c *chores) give(ctx context.Context, of backOf, b back) {
	var err error
	if of.mark != "" {
		err = c.records.giveHome(ctx, of.id, of.mark, b)
	} else {
		err = c.records.meters.GiveBack(ctx, of.id, b.limits, b.at, b.n)
	}
	if err != nil {
		c.log.Warn("passwords that were right, or not judged, count as guesses", slog.Int("passwords", b.n), slog.Any("error", err))
	}
}

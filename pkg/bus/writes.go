package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// writes remembers which streams and buckets took nothing when they were last written to. JetStream may well answer
// questions while a stream takes no message: its disk is full, or too few of its copies are there.
type writes struct {
	mu     sync.Mutex
	failed map[string]failure // by stream or bucket
}

// failure is a write that was not taken, and what has happened to its like since.
type failure struct {
	since time.Time
	err   error
	// again writes what can be written any number of times: the same letter, which is stored once, or a key of our own.
	again func(context.Context) error
}

// note remembers a write. A success forgets the failures before it, and so does a refusal: a lost compare-and-set, a bound
// that is reached.
func (w *writes) note(name string, err error, again func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch was, known := w.failed[name]; {
	case err == nil:
		delete(w.failed, name)
	case !notTaken(err):
		if answered(err) {
			delete(w.failed, name) // it has refused this write: it answers, and would take others
		}
	case known:
		w.failed[name] = failure{was.since, err, again}
	default:
		if w.failed == nil {
			w.failed = make(map[string]failure)
		}
		w.failed[name] = failure{time.Now(), err, again}
	}
}

// answered tells whether a stream itself has said no.
func answered(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api)
}

// notTaken tells the fault of a stream from that of what was written to it, or of a caller who went away. That a stream
// has reached its bound is no fault: strangers can fill one ([contract.Journeys]), and must not end every gateway by it.
func notTaken(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500 && !strings.HasPrefix(api.Description, "maximum ")
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// check tries again, all at once, what was not taken last time, and says what still is not. Where nothing has failed it
// costs nothing.
func (w *writes) check(ctx context.Context) error {
	w.mu.Lock()
	failed := maps.Clone(w.failed)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var trying sync.WaitGroup
	for name, f := range failed {
		trying.Go(func() { w.note(name, f.again(ctx), f.again) })
	}
	trying.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	for _, name := range slices.Sorted(maps.Keys(w.failed)) {
		f := w.failed[name]
		one := fmt.Errorf("%s has taken nothing for %v: %w", name, time.Since(f.since).Round(time.Second), f.err)
		if err == nil {
			err = one
		} else {
			err = fmt.Errorf("%w; %w", err, one) // on one line
		}
	}
	return err
}

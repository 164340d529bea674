package sms

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

// Waiting on SNS is real time: another clock would not make it recover sooner.
const (
	// breakAfter failures in a row no call is made for breakFor; then one tries.
	breakAfter = 5
	breakFor   = 3 * time.Second
	// firstPause is how long the queue rests when our account is refused; it doubles up to longestPause.
	firstPause   = time.Second
	longestPause = 30 * time.Second
	// look is how often somebody who waits looks whether the challenge is still wanted.
	look = 500 * time.Millisecond
)

// gate lets calls of SNS through. It closes for a moment after failures in a row (the breaker), and for longer and
// longer while SNS refuses our account (the pause).
type gate struct {
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	paused  prometheus.Gauge

	mu    sync.Mutex
	until time.Time
	wait  time.Duration
}

var (
	errNoCall = errors.New("no call was made")
	errFailed = errors.New("the call failed")
)

func newGate(paused, broken prometheus.Gauge) *gate {
	return &gate{paused: paused, breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: "sns", Timeout: breakFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNoCall) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			broken.Set(0)
			if to == gobreaker.StateOpen {
				broken.Set(1)
			}
		},
	})}
}

// enter asks for one call. With wait zero it may be made, and leave must be called with what became of it ("" if it
// was not made after all); otherwise ask again after the wait.
func (g *gate) enter() (leave func(class), wait time.Duration) {
	started := time.Now() // real time: how long AWS keeps us waiting
	g.mu.Lock()
	rest := g.until.Sub(started)
	g.mu.Unlock()
	if rest > 0 {
		return nil, min(rest, look)
	}
	done, err := g.breaker.Allow()
	if err != nil {
		return nil, look
	}
	return func(c class) {
		switch c {
		case "":
			done(errNoCall)
		case notSent, ambiguous:
			done(errFailed)
		case ours:
			done(errNoCall) // the pause takes care of it
			g.pause(started)
		default:
			done(nil)
			g.resume()
		}
	}, 0
}

// pause closes the gate for twice as long as the last time. Calls that were under way together count as one.
func (g *gate) pause(started time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if started.Before(g.until) {
		return
	}
	g.wait = min(max(firstPause, 2*g.wait), longestPause)
	g.until = time.Now().Add(g.wait) // real time: the pause is AWS's, not a rule's
	g.paused.Set(1)
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until, g.wait = time.Time{}, 0
	g.paused.Set(0)
}

// show ends a pause that is over and that nobody is left to try, and lets the breaker show that its time is over: an
// alarm must not ring until somebody asks for the next text.
func (g *gate) show(idle bool) {
	g.mu.Lock()
	// real time: the end of that pause
	if idle && g.wait > 0 && time.Now().After(g.until) {
		g.until, g.wait = time.Time{}, 0
		g.paused.Set(0)
	}
	g.mu.Unlock()
	g.breaker.State()
}

// open tells whether a call might be made now.
func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	// real time: the end of that pause
	return !time.Now().Before(g.until) && g.breaker.State() != gobreaker.StateOpen
}

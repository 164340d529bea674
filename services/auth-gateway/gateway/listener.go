package gateway

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// listening is the listener of people, which knows their connections. At the end the server closes those that wait for a
// next request, and waits for all others: for one over which nothing came yet, or half a request, as long as somebody
// likes. It must end before that.
type listening struct {
	net.Listener

	mu   sync.Mutex
	open map[*caught]struct{}
	// deaf is set when no connection is listened to any more.
	deaf atomic.Bool
}

func newListening(l net.Listener) *listening {
	return &listening{Listener: l, open: make(map[*caught]struct{})}
}

// caught is one connection.
type caught struct {
	net.Conn
	of *listening
	mu sync.Mutex // held while its deadline is set
}

// Accept waits for the next connection.
func (l *listening) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	out := &caught{Conn: c, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[out] = struct{}{}
	return out, nil
}

// Close ends a connection.
func (c *caught) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SetReadDeadline bounds the next read; where nobody is listened to any more, that is over already.
func (c *caught) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of.deaf.Load() {
		t = over
	}
	return c.Conn.SetReadDeadline(t)
}

// over is a time that is past.
var over = time.Unix(1, 0)

// deafen listens to nobody any more. Answers to what was asked in full still go out.
func (l *listening) deafen() {
	l.deaf.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.SetReadDeadline(over) // it may be gone
	}
}

// hearOut is how long requests may still be finished after the end was asked for.
const hearOut = 2 * time.Second

// longestDelay leaves time to finish within [service.StopTimeout].
const longestDelay = 5 * time.Second

// leave goes on as before for STOP_DELAY, in which whoever sends people here may learn that this gateway is not ready any
// more. Connections are given up one by one meanwhile.
func (g *gateway) leave(ctx context.Context) {
	g.leaving.Store(true)
	notice := time.NewTimer(g.settings.StopDelay)
	defer notice.Stop()
	select {
	case <-notice.C:
	case <-ctx.Done():
	}
}

// stop answers what was asked and ends.
func (l *listening) stop(ctx context.Context, app *fiber.App) error {
	deaf := time.AfterFunc(hearOut, l.deafen)
	defer deaf.Stop()
	return app.ShutdownWithContext(ctx)
}

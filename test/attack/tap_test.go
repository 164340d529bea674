package attack

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// tap stands on the wire between the product and one of its parts and keeps all that passes, both ways.
type tap struct {
	l net.Listener

	mu    sync.Mutex
	ways  []*strings.Builder // one per connection and direction, so that what is said is in one piece
	conns []net.Conn
	cut   bool
}

// listenIn puts a tap before an address until the test ends.
func listenIn(tb testing.TB, target string) *tap {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	t := &tap{l: l}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close() // the caller sees that nobody is there
				continue
			}
			t.mu.Lock()
			t.conns = append(t.conns, near, far)
			if t.cut {
				t.hangUp()
			}
			t.mu.Unlock()
			go t.carry(far, near)
			go t.carry(near, far)
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		t.cuts(true)
	})
	return t
}

// cuts cuts the wire, or mends it: who calls meanwhile is hung up on.
func (t *tap) cuts(cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut = cut; cut {
		t.hangUp()
	}
}

// hangUp ends every connection. The tap is locked.
func (t *tap) hangUp() {
	for _, c := range t.conns {
		_ = c.Close() // what was heard is kept
	}
	t.conns = nil
}

func (t *tap) addr() string { return t.l.Addr().String() }

func (t *tap) carry(to, from net.Conn) {
	heard := &strings.Builder{}
	t.mu.Lock()
	t.ways = append(t.ways, heard)
	t.mu.Unlock()
	_, _ = io.Copy(to, io.TeeReader(from, writer(func(p []byte) {
		t.mu.Lock()
		defer t.mu.Unlock()
		heard.Write(p)
	})))
	_, _ = to.Close(), from.Close()
}

// heard is all that passed.
func (t *tap) heard() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all strings.Builder
	for _, w := range t.ways {
		all.WriteString(w.String())
		all.WriteByte(0)
	}
	return all.String()
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

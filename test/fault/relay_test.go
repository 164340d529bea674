package fault

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// relay stands between one dispatcher and a part. What passes is given to up (from the dispatcher) or down, which send
// it on, or hold it, or return an error to cut the connection.
type relay struct {
	l        net.Listener
	target   string
	who      func() *life // who connects now
	read     func(*bufio.Reader) ([]byte, error)
	up, down func(c *link, chunk []byte, send func([]byte) error) error

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// link is one connection through a relay.
type link struct {
	life *life // whose connection it is

	mu    sync.Mutex
	asked command // the last command on it, whose answer comes next
}

var errCut = errors.New("cut")

// startRelay listens until the test ends.
func startRelay(tb testing.TB, target string, r *relay) *relay {
	tb.Helper()
	var err error
	if r.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	r.target, r.conns = target, make(map[net.Conn]bool)
	go r.accept()
	tb.Cleanup(func() {
		_ = r.l.Close()
		r.cut()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) accept() {
	for {
		near, err := r.l.Accept()
		if err != nil {
			return
		}
		go func() {
			far, err := net.Dial("tcp", r.target)
			if err != nil {
				_ = near.Close()
				return
			}
			c := &link{life: r.who()}
			r.keep(near, far)
			go r.pump(c, near, far, r.up)
			r.pump(c, far, near, r.down)
		}()
	}
}

func (r *relay) keep(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = true
	}
}

// cut ends every connection.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}

func (r *relay) pump(c *link, from, to net.Conn, pass func(*link, []byte, func([]byte) error) error) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, from)
		delete(r.conns, to)
	}()
	in := bufio.NewReaderSize(from, 64<<10)
	send := func(b []byte) error { _, err := to.Write(b); return err }
	for {
		chunk, err := r.read(in)
		if err != nil {
			return
		}
		if err := pass(c, chunk, send); err != nil {
			return
		}
	}
}

// some reads what there is: for a stream whose messages need not be told apart.
func some(in *bufio.Reader) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	b := make([]byte, in.Buffered())
	_, err := io.ReadFull(in, b)
	return b, err
}

// frame reads one frame of MongoDB's wire protocol: its length comes first.
func frame(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(4)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head)
	if n < 16 || n > 48_000_000 {
		return nil, errCut
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return b, err
}

// kind says what a command does to a challenge.
type kind int

const (
	otherCommand kind = iota
	reads
	reserves // an attempt, for one worker
	ends     // writes an outcome
)

// command is as much of a command as matters here.
type command struct {
	kind      kind
	challenge string // of reserves and ends
}

// readCommand recognizes what a dispatcher does to its challenges, whichever of the two update commands it uses. It looks
// for BSON's own spelling of names and values, so that no other text is taken for it.
func readCommand(frame []byte) command {
	c := command{}
	if bytes.Contains(frame, []byte("\x02find\x00")) || bytes.Contains(frame, []byte("\x02aggregate\x00")) {
		c.kind = reads
		return c
	}
	const name = "\x00\x0b\x00\x00\x00challenges\x00"
	if !bytes.Contains(frame, []byte("\x02findAndModify"+name)) && !bytes.Contains(frame, []byte("\x02update"+name)) {
		return c
	}
	c.challenge = text(frame, "_id")
	at := bytes.Index(frame, []byte("\x03$set\x00"))
	if at < 0 {
		return c
	}
	switch change := frame[at:]; {
	case bytes.Contains(change, []byte("\x09ended_at\x00")):
		c.kind = ends
	case text(change, "state") == "sending":
		c.kind = reserves
	}
	return c
}

// text is the first string of this name.
func text(raw []byte, name string) string {
	_, rest, ok := bytes.Cut(raw, []byte("\x02"+name+"\x00"))
	if !ok || len(rest) < 4 {
		return ""
	}
	n := binary.LittleEndian.Uint32(rest)
	if n == 0 || uint64(n) > uint64(len(rest)-4) {
		return ""
	}
	return string(rest[4 : 4+n-1])
}

package fault

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// front stands before a document store that goes on as it is, and does to its connections what networks and fail-overs
// do. It hears every write, and whether it was carried out.
type front struct {
	tb     testing.TB
	target string
	at     string

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
	shut  shut
	late  time.Duration
	// wanted is how often the reply to each kind of write is to be cut off, and cut how often it was.
	wanted int
	cut    map[string]int
	// counted is how often the store has counted a guess, by document and call.
	counted map[string]map[string]int
}

// shut says how a front turns connections away.
type shut int

const (
	open      shut = iota
	refusing       // nobody listens
	resetting      // connections are taken and reset
)

// startFront listens until the test ends.
func startFront(tb testing.TB, target string) *front {
	tb.Helper()
	f := &front{
		tb: tb, target: target, at: sut.FreeAddrs(tb, 1)[0], conns: make(map[net.Conn]bool),
		cut: make(map[string]int), counted: make(map[string]map[string]int),
	}
	f.listen()
	tb.Cleanup(func() { f.turn(refusing) })
	return f
}

func (f *front) listen() {
	l, err := net.Listen("tcp", f.at)
	if err != nil {
		f.tb.Error(err)
		return
	}
	f.mu.Lock()
	f.l = l
	f.mu.Unlock()
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(near)
		}
	}()
}

// turn changes how connections are taken; those that stand are reset when they are turned away.
func (f *front) turn(to shut) {
	f.mu.Lock()
	was := f.shut
	f.shut = to
	if to != open {
		for c := range f.conns {
			reset(c)
		}
	}
	if to == refusing {
		_ = f.l.Close()
	}
	f.mu.Unlock()
	if was == refusing && to != refusing {
		f.listen()
	}
}

// delay has every answer come later.
func (f *front) delay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = d
}

// cutReplies has the replies of writes cut off after they were carried out, so often for each kind; 0 is none.
func (f *front) cutReplies(wanted int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = wanted
}

// reset ends a connection as a host does that has forgotten it.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (f *front) serve(near net.Conn) {
	f.mu.Lock()
	turned := f.shut != open
	f.mu.Unlock()
	if turned {
		reset(near)
		return
	}
	far, err := net.Dial("tcp", f.target)
	if err != nil {
		reset(near)
		return
	}
	f.mu.Lock()
	f.conns[near] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.conns, near)
		f.mu.Unlock()
		_ = far.Close()
		_ = near.Close()
	}()
	asked := make(chan []byte, 16) // the writes under way, in their order
	go func() {
		defer close(asked)
		// The store ends what it has in hand, and what became of that is heard though nobody is there to be told.
		defer far.(*net.TCPConn).CloseWrite() //nolint:errcheck,forcetypeassert // it was dialled so
		in := bufio.NewReaderSize(near, 64<<10)
		for {
			chunk, err := frame(in)
			if err != nil {
				return
			}
			if _, ok := readWrite(chunk); ok {
				asked <- chunk
			}
			if _, err := far.Write(chunk); err != nil {
				return
			}
		}
	}()
	in := bufio.NewReaderSize(far, 64<<10)
	var under []byte
	for {
		answer, err := frame(in)
		if err != nil {
			return
		}
		for under == nil || binary.LittleEndian.Uint32(under[4:]) != binary.LittleEndian.Uint32(answer[8:]) {
			var more bool
			select {
			case under, more = <-asked:
			default:
				more = false
			}
			if !more {
				under = nil
				break
			}
		}
		if under != nil && f.hears(under, answer) {
			reset(near)
			return
		}
		f.mu.Lock()
		late := f.late
		f.mu.Unlock()
		if late > 0 {
			rest(f.tb.Context(), late)
		}
		if _, err := near.Write(answer); err != nil {
			return
		}
	}
}

// hears takes down what became of a write, and tells whether its reply is to be cut off.
func (f *front) hears(asked, answer []byte) bool {
	w, _ := readWrite(asked)
	if !carriedOut(answer) {
		return false
	}
	kind := w.kind()
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.call != "" {
		doc := fmt.Sprintf("%s/%s", w.coll, w.id)
		if f.counted[doc] == nil {
			f.counted[doc] = make(map[string]int)
		}
		f.counted[doc][w.call]++
	}
	// The first one of each kind, and then as it comes.
	if kind == "" || f.cut[kind] >= f.wanted || f.cut[kind] > 0 && rand.IntN(2) != 0 {
		return false
	}
	f.cut[kind]++
	return true
}

// cuts are how often the reply to each kind of write was cut off.
func (f *front) cuts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int, len(f.cut))
	for k, n := range f.cut {
		out[k] = n
	}
	return out
}

// guesses are how many calls were counted in a document; twice are those that were counted more than once.
func (f *front) guesses(doc string) (calls, twice int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.counted[doc] {
		calls++
		if n > 1 {
			twice++
		}
	}
	return calls, twice
}

package fault

import (
	"bytes"
	"sync"
)

// stage is where in its work on a challenge a dispatcher is caught.
type stage int

// The stages, in the order of time.
const (
	reservedStage stage = iota // the store has granted the attempt, and its answer is held
	unreadStage                // the request is at the endpoint's door, and not read
	callStage                  // the endpoint has the request, and holds its answer
	answeredStage              // the answer was given, and what the dispatcher writes next is held
	writtenStage               // the outcome is in the store; whatever is said to the bus is held
	ackStage                   // the outcome was told to the bus, too; the acknowledgement is held
)

// trap catches whoever works on a challenge at a stage. Held is told the life that was caught; then it hangs there until
// release, which lets what is held go its way, or drop, which makes it vanish.
type trap struct {
	challenge string
	stage     stage
	held      chan *life // gets one

	mu    sync.Mutex
	by    *life // who was caught; others pass
	armed *life // whose next words are the ones to hold, once the event before them has passed
	freed chan struct{}
	gone  bool
}

func newTrap(challenge string, s stage) *trap {
	return &trap{challenge: challenge, stage: s, held: make(chan *life, 1), freed: make(chan struct{})}
}

func (t *trap) release() { t.free(false) }
func (t *trap) drop()    { t.free(true) }

func (t *trap) free(gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.freed:
	default:
		t.gone = gone
		close(t.freed)
	}
}

// hold blocks the caller, who works for l, until the trap is freed; an error says that it was by drop.
func (t *trap) hold(l *life) error {
	t.mu.Lock()
	if t.by == nil {
		t.by = l
		t.held <- l
	}
	by := t.by
	t.mu.Unlock()
	if by != l {
		return nil
	}
	<-t.freed
	if t.gone {
		return errCut
	}
	return nil
}

// arm says that what l says next is to be held.
func (t *trap) arm(l *life) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed == nil {
		t.armed = l
	}
}

func (t *trap) armedFor(l *life) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.armed == l && l != nil
}

// traps are those that are set.
type traps struct {
	mu  sync.Mutex
	set map[*trap]bool
}

func (s *traps) add(t *trap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[*trap]bool)
	}
	s.set[t] = true
}

func (s *traps) remove(t *trap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, t)
}

// all lists the traps of a stage.
func (s *traps) all(at stage) []*trap {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*trap
	for t := range s.set {
		if t.stage == at {
			out = append(out, t)
		}
	}
	return out
}

// of is the trap of a challenge at a stage, or nil.
func (s *traps) of(challenge string, at stage) *trap {
	for _, t := range s.all(at) {
		if t.challenge == challenge {
			return t
		}
	}
	return nil
}

// toStore passes a dispatcher's command on to the store, unless it is what a trap waits for.
func (d *dispatcher) toStore(c *link, chunk []byte, send func([]byte) error) error {
	l := c.life
	cmd := readCommand(chunk)
	if cmd.kind != reads {
		for _, t := range d.house.traps.all(answeredStage) {
			if t.armedFor(l) && bytes.Contains(chunk, []byte(t.challenge)) {
				if err := t.hold(l); err != nil {
					return err
				}
			}
		}
	}
	c.mu.Lock()
	c.asked = cmd
	c.mu.Unlock()
	if cmd.kind == reserves {
		d.house.book.asks(cmd.challenge, l)
	}
	return send(chunk)
}

// fromStore passes the store's answer on.
func (d *dispatcher) fromStore(c *link, chunk []byte, send func([]byte) error) error {
	l := c.life
	c.mu.Lock()
	cmd := c.asked
	c.asked = command{}
	c.mu.Unlock()
	switch cmd.kind {
	case reserves:
		if !bytes.Contains(chunk, []byte(cmd.challenge)) {
			break // refused: it was not as the worker had read it
		}
		d.house.book.grants(cmd.challenge, l)
		if t := d.house.traps.of(cmd.challenge, reservedStage); t != nil {
			if err := t.hold(l); err != nil {
				return err
			}
		}
		if t := d.house.traps.of(cmd.challenge, unreadStage); t != nil {
			t.arm(l)
		}
	case ends:
		for _, at := range []stage{writtenStage, ackStage} {
			if t := d.house.traps.of(cmd.challenge, at); t != nil {
				t.arm(l)
			}
		}
	}
	return send(chunk)
}

// acks is how an acknowledgement of a job begins, whatever it says.
var acks = []byte("PUB $JS.ACK.SALLYPORT_JOBS")

// toBus passes on what a dispatcher says to the bus.
func (d *dispatcher) toBus(c *link, chunk []byte, send func([]byte) error) error {
	l := c.life
	for _, t := range d.house.traps.all(writtenStage) {
		if t.armedFor(l) {
			if err := t.hold(l); err != nil {
				return err
			}
		}
	}
	for _, t := range d.house.traps.all(ackStage) {
		at := bytes.Index(chunk, acks)
		if !t.armedFor(l) || at < 0 {
			continue
		}
		if err := send(chunk[:at]); err != nil {
			return err
		}
		chunk = chunk[at:]
		if err := t.hold(l); err != nil {
			return err
		}
	}
	return send(chunk)
}

// fromBus passes on what the bus says.
func (d *dispatcher) fromBus(_ *link, chunk []byte, send func([]byte) error) error {
	return send(chunk)
}

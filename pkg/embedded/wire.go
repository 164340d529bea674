package embedded

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/FerretDB/wire/wirebson"
)

// MongoDB's wire protocol, as much of it as the front has to understand. A frame is a header of four little-endian
// int32 (length of the frame, request id, id of the request answered, operation) and a body.
const (
	headerLen = 16
	maxFrame  = 48_000_000 // MongoDB's limit, and the document store's

	opQuery = 2004 // only the first greeting of a connection
	opMsg   = 2013 // everything else

	flagChecksum   = 1 << 0
	flagMoreToCome = 1 << 1 // in a request: the client wants no answer
)

var errFrame = errors.New("not a MongoDB frame")

// readFrame reads one whole frame, header included. A length out of bounds is refused before anything is kept, and
// memory grows with what has arrived, not with what was announced. io.EOF means that the stream ended between frames.
func readFrame(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head))
	if n < headerLen || n > maxFrame {
		return nil, fmt.Errorf("%w: length %d", errFrame, n)
	}
	var b bytes.Buffer
	b.Grow(int(min(n, 16<<10)))
	if _, err := io.CopyN(&b, r, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b.Bytes(), nil
}

func opCode(frame []byte) int32    { return int32(binary.LittleEndian.Uint32(frame[12:])) } //nolint:gosec // as on the wire
func requestID(frame []byte) int32 { return int32(binary.LittleEndian.Uint32(frame[4:])) }  //nolint:gosec // as on the wire

// newFrame makes an OP_MSG frame with one document and no flags.
func newFrame(id, answers int32, doc *wirebson.Document) ([]byte, error) {
	raw, err := doc.Encode()
	if err != nil {
		return nil, err
	}
	n := headerLen + 5 + len(raw)
	f := make([]byte, headerLen+5, n)
	binary.LittleEndian.PutUint32(f, uint32(n))           //nolint:gosec // bounded by maxFrame
	binary.LittleEndian.PutUint32(f[4:], uint32(id))      //nolint:gosec // as on the wire
	binary.LittleEndian.PutUint32(f[8:], uint32(answers)) //nolint:gosec // as on the wire
	binary.LittleEndian.PutUint32(f[12:], opMsg)
	return append(f, raw...), nil // flags and section kind stay zero
}

// command is what the front reads in an OP_MSG request: its document, the document sequences folded into it as arrays
// (which means the same). Values inside it still share memory with the frame.
type command struct {
	doc        *wirebson.Document
	moreToCome bool
}

// name returns the command's name, the first key of its document.
func (c command) name() string { return c.doc.Command() }

// db returns the database that the command addresses, or "".
func (c command) db() string {
	s, _ := c.doc.Get("$db").(string)
	return s
}

// maxTime returns how long the client waits for the answer (drivers send it from their own time-out), zero for ever.
func (c command) maxTime() time.Duration {
	switch ms := c.doc.Get("maxTimeMS").(type) {
	case int32:
		return time.Duration(ms) * time.Millisecond
	case int64:
		return time.Duration(ms) * time.Millisecond
	case float64:
		return time.Duration(ms * float64(time.Millisecond))
	}
	return 0
}

// collection returns the collection that the command addresses, or "" where its first value is no string.
func (c command) collection() string {
	_, v := c.doc.GetByIndex(0)
	s, _ := v.(string)
	return s
}

// parseCommand reads an OP_MSG frame. It checks lengths, not the contents of nested documents.
func parseCommand(frame []byte) (command, error) {
	if len(frame) < headerLen+4 || opCode(frame) != opMsg {
		return command{}, fmt.Errorf("%w: no OP_MSG", errFrame)
	}
	flags := binary.LittleEndian.Uint32(frame[headerLen:])
	rest := frame[headerLen+4:]
	if flags&flagChecksum != 0 {
		if len(rest) < 4 {
			return command{}, fmt.Errorf("%w: no checksum", errFrame)
		}
		rest = rest[:len(rest)-4]
	}
	c := command{moreToCome: flags&flagMoreToCome != 0}
	sequences := map[string]*wirebson.Array{}
	for len(rest) > 0 {
		kind := rest[0]
		rest = rest[1:]
		switch kind {
		case 0:
			raw, tail, err := cutDocument(rest)
			if err != nil {
				return command{}, err
			}
			if c.doc != nil {
				return command{}, fmt.Errorf("%w: two bodies", errFrame)
			}
			if c.doc, err = raw.Decode(); err != nil {
				return command{}, fmt.Errorf("%w: %w", errFrame, err)
			}
			rest = tail
		case 1:
			if len(rest) < 4 {
				return command{}, fmt.Errorf("%w: short sequence", errFrame)
			}
			n := int64(binary.LittleEndian.Uint32(rest))
			if n < 5 || n > int64(len(rest)) {
				return command{}, fmt.Errorf("%w: sequence of %d bytes", errFrame, n)
			}
			name, docs, found := bytes.Cut(rest[4:n], []byte{0})
			if !found {
				return command{}, fmt.Errorf("%w: sequence without a name", errFrame)
			}
			a := wirebson.MakeArray(1)
			for len(docs) > 0 {
				raw, tail, err := cutDocument(docs)
				if err != nil {
					return command{}, err
				}
				if err := a.Add(raw); err != nil {
					return command{}, fmt.Errorf("%w: %w", errFrame, err)
				}
				docs = tail
			}
			sequences[string(name)] = a
			rest = rest[n:]
		default:
			return command{}, fmt.Errorf("%w: section of kind %d", errFrame, kind)
		}
	}
	if c.doc == nil || c.doc.Len() == 0 {
		return command{}, fmt.Errorf("%w: no command", errFrame)
	}
	for name, a := range sequences {
		if err := c.doc.Add(name, a); err != nil {
			return command{}, fmt.Errorf("%w: %w", errFrame, err)
		}
	}
	return c, nil
}

// cutDocument splits the BSON document at the start of b from what follows it.
func cutDocument(b []byte) (doc wirebson.RawDocument, tail []byte, err error) {
	n, err := wirebson.FindRaw(b)
	if err != nil || n < 5 || n > len(b) {
		return nil, nil, fmt.Errorf("%w: broken document", errFrame)
	}
	return b[:n], b[n:], nil
}

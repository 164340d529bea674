package embedded

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/FerretDB/wire/wirebson"
)

// sequenceFrame is an OP_MSG as drivers send updates: a body, and the statements in a section of their own.
func sequenceFrame(tb testing.TB, flags uint32) []byte {
	tb.Helper()
	encode := func(d *wirebson.Document) []byte {
		raw, err := d.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		return raw
	}
	section := append([]byte("updates\x00"), encode(wirebson.MustDocument("q", wirebson.MustDocument("_id", "a", "n", int32(1)), "u", wirebson.MustDocument()))...)
	body := binary.LittleEndian.AppendUint32(nil, flags)
	body = append(body, 1)
	body = binary.LittleEndian.AppendUint32(body, uint32(len(section)+4))
	body = append(body, section...)
	body = append(body, 0)
	body = append(body, encode(wirebson.MustDocument("update", "things", "$db", "db"))...)
	if flags&flagChecksum != 0 {
		body = append(body, 1, 2, 3, 4)
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)+headerLen))
	head = binary.LittleEndian.AppendUint32(head, 7)
	head = binary.LittleEndian.AppendUint32(head, 0)
	return append(binary.LittleEndian.AppendUint32(head, opMsg), body...)
}

func TestParseCommand(t *testing.T) {
	for _, flags := range []uint32{0, flagChecksum, flagMoreToCome} {
		frame := sequenceFrame(t, flags)
		got, err := readFrame(bufio.NewReader(bytes.NewReader(append(frame, "next"...))))
		if err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("read %x, %v", got, err)
		}
		c, err := parseCommand(got)
		if err != nil {
			t.Fatal(err)
		}
		if c.name() != "update" || c.db() != "db" || c.collection() != "things" || c.moreToCome != (flags == flagMoreToCome) {
			t.Errorf("flags %d: parsed %s of %s.%s, more to come %v", flags, c.name(), c.db(), c.collection(), c.moreToCome)
		}
		if target, ok := rewritable(c); !ok || target.id != "a" || target.rest.Get("n") != int32(1) {
			t.Errorf("flags %d: target %+v, %v", flags, target, ok)
		}
	}
}

func TestReadFrameErrors(t *testing.T) {
	frame := sequenceFrame(t, 0)
	for n := range frame {
		_, err := readFrame(bufio.NewReader(bytes.NewReader(frame[:n])))
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Errorf("%d of %d bytes: got %v, want %v", n, len(frame), err, want)
		}
	}
	for _, length := range []uint32{0, headerLen - 1, maxFrame + 1, 1 << 31} {
		if _, err := readFrame(bufio.NewReader(bytes.NewReader(binary.LittleEndian.AppendUint32(nil, length)))); !errors.Is(err, errFrame) {
			t.Errorf("length %d: got %v", length, err)
		}
	}
}

// FuzzCommand feeds frames to all that looks into them before the store does: nothing may panic, and what is parsed
// must survive being written again.
func FuzzCommand(f *testing.F) {
	f.Add(sequenceFrame(f, 0))
	f.Add(sequenceFrame(f, flagChecksum))
	f.Add(updateFrame(f))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < headerLen {
			return
		}
		c, err := parseCommand(frame)
		if err != nil {
			return
		}
		refused(c)
		rewritable(c)
		again, err := newFrame(requestID(frame), 0, c.doc)
		if err != nil {
			return
		}
		c2, err := parseCommand(again)
		if err != nil {
			t.Fatalf("parsed once, not twice: %v", err)
		}
		if c2.name() != c.name() || c2.db() != c.db() || c2.collection() != c.collection() {
			t.Errorf("parsed as %s of %s.%s, then as %s of %s.%s", c.name(), c.db(), c.collection(), c2.name(), c2.db(), c2.collection())
		}
	})
}

package roster

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
)

// Line is a line of a file, or a record of CSV.
type Line struct {
	// Number is where it begins, from 1.
	Number int
	Person Person
	// Wrong is all that is wrong with it; nil if it can be used.
	Wrong []Problem

	raw    []byte
	record []string
}

// Reader reads people from a file, one at a time. It holds one line.
type Reader struct {
	in     *bufio.Reader
	number int
	// Overflow gets lines that are too long to be held, where it is set.
	Overflow io.Writer

	csv    *csv.Reader
	bound  *bound
	header []string
	first  []string // the header as it stands
	last   int      // where the last record began
}

// ErrEnd is returned where reading cannot go on: it is not known where the next line begins.
var ErrEnd = errors.New("reading cannot go on behind this line")

// NewReader looks at the beginning of a file: an object is JSON Lines, anything else CSV. A byte order mark is skipped.
func NewReader(in io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(in, LongestLine+2)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = b.Discard(3) // they are there
	}
	r := &Reader{in: b}
	for {
		head, err := b.Peek(1)
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		switch head[0] {
		case '\n':
			r.number++
			fallthrough
		case ' ', '\t', '\r':
			_, _ = b.Discard(1) // it is there
			continue
		case '{':
			return r, nil
		}
		r.bound = &bound{in: b}
		r.csv = csv.NewReader(r.bound)
		r.csv.FieldsPerRecord = -1
		return r, nil
	}
}

// IsCSV tells whether the file is CSV.
func (r *Reader) IsCSV() bool { return r.csv != nil }

// Next reads the next person, or [io.EOF]. An error is a fault of the file's reader. [ErrEnd] comes with a line that says
// why nothing behind it can be read.
func (r *Reader) Next() (Line, error) {
	if r.csv != nil {
		return r.nextRecord()
	}
	for {
		raw, long, err := r.line()
		if err != nil {
			return Line{}, err
		}
		l := Line{Number: r.number, raw: raw}
		switch {
		case long:
			l.raw, l.Wrong = nil, []Problem{tooLong}
		case len(bytes.TrimSpace(raw)) == 0:
			continue
		default:
			l.Person, l.Wrong = ParseLine(raw)
		}
		return l, nil
	}
}

// line reads up to the end of a line. One that is too long is read over.
func (r *Reader) line() (raw []byte, long bool, err error) {
	raw, err = r.in.ReadSlice('\n')
	if err == nil || errors.Is(err, io.EOF) && len(raw) > 0 {
		r.number++
		raw = bytes.TrimSuffix(bytes.TrimSuffix(bytes.Clone(raw), []byte("\n")), []byte("\r"))
		return raw, len(raw) > LongestLine, nil
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		if r.Overflow != nil {
			if _, err := r.Overflow.Write(raw); err != nil {
				return nil, true, err
			}
		}
		raw, err = r.in.ReadSlice('\n')
	}
	if long && (err == nil || errors.Is(err, io.EOF)) {
		r.number++
		if r.Overflow != nil {
			_, err = r.Overflow.Write(append(bytes.TrimSuffix(raw, []byte("\n")), '\n'))
			return nil, true, err
		}
		return nil, true, nil
	}
	return nil, long, err
}

func (r *Reader) nextRecord() (Line, error) {
	r.bound.left = LongestLine
	record, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return Line{}, io.EOF
	}
	l := Line{}
	var broken *csv.ParseError
	switch {
	case errors.Is(err, errTooLong):
		l.Number, l.Wrong = max(r.number, r.last)+1, []Problem{tooLong}
		return l, ErrEnd
	case errors.As(err, &broken):
		l.Number, l.Wrong = r.number+broken.StartLine, []Problem{{"", Malformed, "The quotes of this line do not match."}}
		return l, ErrEnd
	case err != nil:
		return l, err
	}
	at, _ := r.csv.FieldPos(0)
	l.Number, l.record = r.number+at, record
	r.last = l.Number
	if r.header == nil {
		if r.header, l.Wrong = ParseHeader(record); l.Wrong != nil {
			return l, ErrEnd
		}
		r.first = record
		return r.nextRecord()
	}
	l.Person, l.Wrong = ParseRecord(r.header, record)
	return l, nil
}

// Write writes lines as they stood in the file, those of CSV under their header. It is for the bad ones, to be mended.
func (r *Reader) Write(out io.Writer, l Line, first bool) error {
	if r.csv == nil {
		if l.raw == nil {
			return nil // too long: it went to Overflow
		}
		_, err := out.Write(append(bytes.Clone(l.raw), '\n'))
		return err
	}
	w := csv.NewWriter(out)
	if first {
		_ = w.Write(r.first) // its error is kept
	}
	_ = w.Write(l.record) // its error is kept
	w.Flush()
	return w.Error()
}

// bound ends a record of CSV that is too long, such as one whose quote is never closed.
type bound struct {
	in   io.Reader
	left int
}

var errTooLong = errors.New("a record is too long")

func (b *bound) Read(p []byte) (int, error) {
	if b.left <= -4096 { // the CSV reader reads so much ahead
		return 0, errTooLong
	}
	n, err := b.in.Read(p)
	b.left -= n
	return n, err
}

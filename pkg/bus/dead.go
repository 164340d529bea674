package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/contract"
)

// Headers of a dead letter, beside the event's own.
const (
	headerDeadReason  = "Sallyport-Dead-Reason"
	headerDeadSubject = "Sallyport-Dead-Subject"
	headerDeadCount   = "Sallyport-Dead-Deliveries"
	// headerDeadSize stands on a letter whose event was too large to be kept: how large it was.
	headerDeadSize = "Sallyport-Dead-Size"
)

// Sizes of events, headers included.
const (
	// maxEvent is the largest event that a stream takes.
	maxEvent = 64 << 10
	// maxDead is the largest dead letter: the whole event, and what is said of it.
	maxDead = 2 * maxEvent
	// keptOfData and keptOfHeader are what is left of an event that is larger all the same, because it came over a
	// stream that somebody configured otherwise.
	keptOfData, keptOfHeader = 4 << 10, 256
	// keptOfReason is enough for any error.
	keptOfReason = 1 << 10
)

// bury writes the dead letter first and terminates the message second: on a work queue Term deletes it.
func (b *Bus) bury(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	// The sequence alone would not do: a stream that is made again counts from one.
	id := fmt.Sprintf("%s-%s-%d-%d", b.name, meta.Stream, meta.Sequence.Stream, meta.Timestamp.UnixNano())
	if _, err := b.js.PublishMsg(ctx, b.letter(msg, meta, why), jetstream.WithMsgID(id)); err != nil {
		b.log.Error("dead letter not written", slog.String("subject", msg.Subject()), slog.Any("error", err))
		_ = msg.NakWithDelay(5 * time.Second) // it comes again, and so does this attempt
		return consumedRetried
	}
	b.log.Error("event is dead", slog.String("subject", msg.Subject()), slog.Uint64("sequence", meta.Sequence.Stream), slog.Any("error", why))
	if err := msg.TermWithReason("dead letter " + id); err != nil {
		b.log.Warn("dead event not terminated", slog.String("subject", msg.Subject()), slog.Any("error", err))
	}
	return consumedDead
}

// letter is what is kept of an event that this service cannot use.
func (b *Bus) letter(msg jetstream.Msg, meta *jetstream.MsgMetadata, why error) *nats.Msg {
	reason := why.Error()
	l := &nats.Msg{Subject: contract.DeadSubject(b.name), Data: msg.Data(), Header: nats.Header{
		headerDeadReason:         {reason[:min(len(reason), keptOfReason)]},
		headerDeadSubject:        {msg.Subject()},
		headerDeadCount:          {strconv.FormatUint(meta.NumDelivered, 10)},
		contract.HeaderEventID:   {eventID(msg, meta)},
		contract.HeaderVersion:   {msg.Headers().Get(contract.HeaderVersion)},
		contract.HeaderRequestID: {msg.Headers().Get(contract.HeaderRequestID)},
	}}
	if size := l.Size(); size > maxDead {
		l.Header.Set(headerDeadSize, strconv.Itoa(len(l.Data)))
		l.Data = l.Data[:min(len(l.Data), keptOfData)]
		for _, own := range []string{contract.HeaderEventID, contract.HeaderVersion, contract.HeaderRequestID} {
			v := l.Header.Get(own)
			l.Header.Set(own, v[:min(len(v), keptOfHeader)])
		}
	}
	return l
}

// eventID names what happened, whatever the message that says so is called.
func eventID(msg jetstream.Msg, meta *jetstream.MsgMetadata) string {
	return cmp.Or(
		msg.Headers().Get(contract.HeaderEventID), msg.Headers().Get(jetstream.MsgIDHeader),
		fmt.Sprintf("%s-%d", meta.Stream, meta.Sequence.Stream),
	)
}

// DeadLetter is a message that a service could not use.
type DeadLetter struct {
	Sequence            uint64
	Service             contract.Service
	Subject, Reason     string
	Deliveries, Request string
	At                  time.Time
	// ID is the event's, as in [Delivery].
	ID string
	// Data is the event's, and may hold anything; only its beginning where Size says that there was more.
	Data []byte
	Size int

	version string
}

// whole is false for a letter that is only the beginning of its event.
func (l DeadLetter) whole() bool { return l.Size == len(l.Data) }

// Replayable says why a letter cannot be replayed; nil if it can.
func (l DeadLetter) Replayable() error {
	if _, ok := streamOf(l.Subject); !ok {
		return contract.Refuse(contract.InvalidRequest, "Dead letter %d cannot be replayed: %q is not an event of this version.", l.Sequence, l.Subject)
	}
	if !l.whole() {
		return contract.Refuse(contract.InvalidRequest, "Dead letter %d cannot be replayed: of its %d bytes only the first %d were kept.", l.Sequence, l.Size, len(l.Data))
	}
	return nil
}

// streamOf is the stream of an event's subject, which must be one of [contract.Messages].
func streamOf(subject string) (contract.Stream, bool) {
	all := contract.Messages()
	n := slices.IndexFunc(all, func(m contract.Message) bool { return m.Stream != "" && m.Subject == subject })
	if n < 0 {
		return "", false
	}
	return all[n].Stream, true
}

// DeadLetters lists the dead letters, oldest first, at most limit.
func (b *Bus) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	var out []DeadLetter
	for l, err := range b.AllDeadLetters(ctx) {
		if err != nil {
			return nil, err
		}
		if len(out) == limit {
			break
		}
		out = append(out, l)
	}
	return out, nil
}

// AllDeadLetters goes through the dead letters that there are now, oldest first; those that come meanwhile are left
// out. It ends with the first error.
func (b *Bus) AllDeadLetters(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		s, err := b.deadStream(ctx)
		if err != nil {
			yield(DeadLetter{}, err)
			return
		}
		last := s.CachedInfo().State.LastSeq
		for seq := uint64(1); seq <= last; seq++ {
			// The server goes on from seq to the first that is still there.
			m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(contract.DeadSubject(">")))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("dead letters from %d: %w", seq, err))
				return
			}
			if seq = m.Sequence; seq > last || !yield(deadLetter(m), nil) {
				return
			}
		}
	}
}

// DeadLetter reads one; [contract.NotFound] where there is none of this sequence, or no more.
func (b *Bus) DeadLetter(ctx context.Context, seq uint64) (DeadLetter, error) {
	s, err := b.deadStream(ctx)
	if err != nil {
		return DeadLetter{}, err
	}
	return readDead(ctx, s, seq)
}

// Replay publishes a dead letter's event again and then deletes the letter. Every service that consumes the event gets
// it, under the event's own id, as after a lost acknowledgement; one that still cannot use it writes a new dead letter.
// Cut short, it is simply done again. It refuses what [DeadLetter.Replayable] refuses; an error that is no refusal
// leaves the letter where it is.
func (b *Bus) Replay(ctx context.Context, seq uint64) error {
	s, err := b.deadStream(ctx)
	if err != nil {
		return err
	}
	l, err := readDead(ctx, s, seq)
	if err != nil {
		return err
	}
	if err := l.Replayable(); err != nil {
		return err
	}
	stream, _ := streamOf(l.Subject)
	msg := &nats.Msg{Subject: l.Subject, Data: l.Data, Header: nats.Header{
		contract.HeaderEventID:   {l.ID},
		contract.HeaderVersion:   {l.version},
		contract.HeaderRequestID: {l.Request},
	}}
	// The moment is part of the name: sequences begin again with a stream that is made again.
	id := fmt.Sprintf("replay-%d-%d", seq, l.At.UnixNano())
	bound, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if _, err := b.js.PublishMsg(bound, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(string(stream))); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", seq, err)
	}
	b.log.Warn("dead letter is replayed", about(l)...)
	return deleteDead(ctx, s, seq)
}

// Drop deletes a dead letter, and overwrites it on the disk.
func (b *Bus) Drop(ctx context.Context, seq uint64) error {
	s, err := b.deadStream(ctx)
	if err != nil {
		return err
	}
	l, err := readDead(ctx, s, seq)
	if err != nil {
		return err
	}
	b.log.Warn("dead letter is dropped", about(l)...)
	return deleteDead(ctx, s, seq)
}

// about is what a log may know of a letter.
func about(l DeadLetter) []any {
	return []any{
		slog.Uint64("sequence", l.Sequence), slog.String("service", string(l.Service)), slog.String("subject", l.Subject),
		slog.String("event", l.ID), slog.String("request_id", l.Request), slog.String("reason", l.Reason),
	}
}

func (b *Bus) deadStream(ctx context.Context) (jetstream.Stream, error) {
	s, err := b.js.Stream(ctx, string(contract.StreamDead))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, contract.Refuse(contract.Conflict, "There is no stream %s here: no service has ever used this NATS.", contract.StreamDead)
	}
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	return s, nil
}

func readDead(ctx context.Context, s jetstream.Stream, seq uint64) (DeadLetter, error) {
	m, err := s.GetMsg(ctx, max(seq, 1)) // the server looks for no 0
	if seq == 0 || errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, contract.Refuse(contract.NotFound, "There is no dead letter %d, or no more.", seq)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("dead letter %d: %w", seq, err)
	}
	return deadLetter(m), nil
}

func deleteDead(ctx context.Context, s jetstream.Stream, seq uint64) error {
	if err := s.SecureDeleteMsg(ctx, seq); err != nil {
		if _, gone := readDead(ctx, s, seq); contract.CodeOf(gone) == contract.NotFound {
			return nil // somebody else was faster
		}
		return fmt.Errorf("delete dead letter %d: %w", seq, err)
	}
	return nil
}

func deadLetter(m *jetstream.RawStreamMsg) DeadLetter {
	l := DeadLetter{
		Sequence: m.Sequence, Service: contract.Service(strings.TrimPrefix(m.Subject, contract.DeadSubject(""))),
		Subject: m.Header.Get(headerDeadSubject), Reason: m.Header.Get(headerDeadReason),
		Deliveries: m.Header.Get(headerDeadCount), Request: m.Header.Get(contract.HeaderRequestID), At: m.Time,
		ID:   m.Header.Get(contract.HeaderEventID),
		Data: m.Data, Size: len(m.Data), version: m.Header.Get(contract.HeaderVersion),
	}
	if size, err := strconv.Atoi(m.Header.Get(headerDeadSize)); err == nil {
		l.Size = size
	}
	return l
}

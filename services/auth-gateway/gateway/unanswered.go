package gateway

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// This file answers: what becomes of a code whose answer was lost?
//
// A code may have been spent by a call that nobody answered: the store carried out the write, and its reply was cut off.
// Whoever types it again, in the same sign-in or session, asks under the id of that call, and its owner says what it would
// have said then: right is right, and counts once.
//
// What is asked under an old id is not counted again, and is compared as of when it was: against another step the same six
// digits would be another guess. Each lost answer is asked for again once.

// unanswered are the last codes whose answers were lost, the oldest first.
type unanswered []lostAnswer

// lostAnswer is one of them: the call that asked, and the code, sealed for the services.
type lostAnswer struct {
	Call string          `json:"call"`
	Code contract.Sealed `json:"code"`
}

const (
	// lostMost is how many are remembered: of a few requests at once, one has the right code.
	lostMost = 4
	// lostCode is the longest text that is remembered; a code is shorter, however it is written.
	lostCode = 64
	// lostWithin bounds the write: the person has waited for the answer that did not come.
	lostWithin = 500 * time.Millisecond
)

// take returns the call that asked about this code, and what is left without it; "" where none did.
func (u unanswered) take(seal fieldSealer, who contract.Account, code secret.String) (call string, left unanswered) {
	for _, l := range u {
		typed, err := seal.OpenField(l.Code, contract.PurposeTypedCode, who)
		if call == "" && err == nil && subtle.ConstantTimeCompare(spelled(typed), spelled(code)) == 1 {
			call = l.Call
			continue
		}
		left = append(left, l)
	}
	return call, left
}

// spelled is a typed code without what people type between its characters, and without case: "123 456" is "123456".
func spelled(code secret.String) []byte {
	return []byte(strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code.Reveal())))
}

// with is u and one more.
func (u unanswered) with(l lostAnswer) unanswered {
	out := append(append(unanswered(nil), u...), l)
	return out[max(0, len(out)-lostMost):]
}

// lost is what to remember of a call, false where there was an answer or the text cannot be a code.
func (f *signIns) lost(who contract.Account, call string, code secret.String, err error) (lostAnswer, bool) {
	text := code.Reveal()
	if contract.CodeOf(err) != contract.Unavailable || text == "" || len(text) > lostCode {
		return lostAnswer{}, false
	}
	sealed, err := f.sealCode(code, who)
	return lostAnswer{Call: call, Code: sealed}, err == nil
}

// asking is a context under which the owner of a factor is asked about a code typed in a sign-in, and the call's id: that
// of the call whose answer was lost, if this code was typed before. The sign-in no longer remembers it then.
func (f *signIns) asking(ctx context.Context, s signIn, revision uint64, code secret.String) (context.Context, string, signIn, uint64, error) {
	for try := 1; ; try++ {
		call, left := s.Unanswered.take(f.seal, s.account(), code)
		if call == "" {
			call = bus.NewID()
			return bus.Asking(ctx, call), call, s, revision, nil
		}
		now := s
		now.Unanswered = left
		now, moved, err := f.advance(ctx, now, revision, stepNothing)
		if err == nil {
			return bus.Asking(ctx, call), call, now, moved, nil
		}
		if !errors.Is(err, errWentOn) || try == noteTries {
			return ctx, "", s, revision, err
		}
		latest, newer, readErr := f.kv.Get(ctx, s.ID)
		if readErr != nil || latest.Status != s.Status {
			return ctx, "", s, revision, err
		}
		s, revision = latest, newer
	}
}

// noteUnanswered remembers a call in its sign-in, if err says that nobody knows what became of it. A fault forgets it: the
// code is told wrong then, and is safe.
func (f *signIns) noteUnanswered(ctx context.Context, s signIn, revision uint64, call string, code secret.String, err error) {
	l, ok := f.lost(s.account(), call, code, err)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lostWithin)
	defer cancel()
	now := s
	for range noteTries {
		now.Unanswered = now.Unanswered.with(l)
		_, _, err = f.advance(ctx, now, revision, stepNothing)
		if !errors.Is(err, errWentOn) {
			break
		}
		var readErr error
		if now, revision, readErr = f.kv.Get(ctx, s.ID); readErr != nil || now.Status != s.Status {
			break
		}
	}
	if err != nil {
		f.log.Warn("lost answer not noted", slog.String("request_id", bus.RequestID(ctx)), slog.Any("error", err))
	}
}

// stepUpCodes are what a session remembers of codes whose answers were lost in a step-up.
func stepUpCodes(v *session) *unanswered { return &v.Unanswered }

// codesOf are the same of codes that prove the authenticator being set up: apart, because a call is asked again about the
// same thing only.
func codesOf(enrolment string) func(*session) *unanswered {
	return func(v *session) *unanswered {
		if v.Enrolling == nil || v.Enrolling.Enrolment != enrolment {
			return new(unanswered) // another one is set up by now
		}
		return &v.Enrolling.Unanswered
	}
}

// asking is [signIns.asking] of a session.
func (g *gateway) asking(ctx context.Context, s session, code secret.String, of func(*session) *unanswered) (context.Context, string, error) {
	var call string
	if len(*of(&s)) > 0 {
		if _, err := g.sessions.change(ctx, s.ID, func(v *session) {
			call, *of(v) = of(v).take(g.flow.seal, s.account(), code)
		}); err != nil {
			return ctx, "", err
		}
	}
	if call == "" {
		call = bus.NewID()
	}
	return bus.Asking(ctx, call), call, nil
}

// noteUnanswered is [signIns.noteUnanswered] of a session.
func (g *gateway) noteUnanswered(ctx context.Context, s session, call string, code secret.String, err error, of func(*session) *unanswered) {
	l, ok := g.flow.lost(s.account(), call, code, err)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lostWithin)
	defer cancel()
	if _, err := g.sessions.change(ctx, s.ID, func(v *session) { *of(v) = of(v).with(l) }); err != nil {
		g.svc.Log.Warn("lost answer not noted", slog.String("request_id", bus.RequestID(ctx)), slog.Any("error", err))
	}
}

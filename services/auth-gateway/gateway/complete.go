package gateway

import (
	"context"
	"errors"
	"slices"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// This file answers: when does a sign-in end in a session?
//
// Between the first question and the last answer of a sign-in lie minutes, in which an admin may disable the person, reset
// them, or turn their population off and on. So account and policy are looked at once more, and after the session is
// written. Whoever changes something first writes the change and then ends sessions: either the change is seen here, or
// the session is seen there.
//
//   - Account: the desk changes it, then ends the person's sessions.
//   - Reset: policy-svc raises the person's generation, then tells a gateway, which ends the sessions of an older one. A
//     session has the generation of its sign-in, so that no clock has a part in it: one that is written after the reset was
//     told is refused here, by the same generation. What is left is a gateway that hears of a reset before its watch has
//     brought a session that was written before it; but the watch is one hop, and between the two lie the look here, the
//     reset's own write by a majority, and the telling.
//   - Off and on: ends no session of before, for it asks at the next sign-in. One whose factor was alive when policy was
//     looked at is a session of before; any other is refused here.
//   - A factor that is enrolled meanwhile: see [session.endedBy].
//
// Until the look is done nobody has the session's token, and the sign-in is not complete. So if there is no answer, the
// session is ended and the sign-in stands where it stood: the same code, typed again, is right again. Only a last write that
// was done and not heard of, and that cannot be read either, costs the person their code.
//
// Who was let through with nothing but the password was so by policy's answer a moment ago, and is not asked about again.

var errOver = contract.Refuse(contract.Expired, "This sign-in is over. Please sign in again.")

// finish moves a sign-in to its end and hands out the session if that end is complete.
func (f *signIns) finish(ctx context.Context, s signIn, revision uint64, way step, methods []string) (outcome, error) {
	s.Methods = methods
	if to, ok := next(s.Status, way); !ok || to != StatusComplete {
		moved, err := f.end(ctx, s, revision, way)
		return outcome{signIn: moved}, err
	}
	opened, err := f.prepare(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	moved, err := f.end(ctx, s, revision, way)
	if err != nil {
		f.sessions.takeBack(ctx, opened.session)
		return outcome{}, err
	}
	moved.Who = opened.Who
	return f.handOut(ctx, moved, opened), nil
}

// end writes the end of a sign-in. A code that was right is spent: that a wrong one beside it left a note must not cost the
// person theirs.
func (f *signIns) end(ctx context.Context, s signIn, revision uint64, way step) (signIn, error) {
	moved, _, err := f.advance(ctx, s, revision, way)
	for errors.Is(err, errWentOn) {
		now, latest, readErr := f.kv.Get(ctx, s.ID)
		if readErr != nil || now.Status != s.Status || now.Enrolment != s.Enrolment || now.Challenge != s.Challenge {
			return signIn{}, err
		}
		now.Methods = s.Methods
		moved, _, err = f.advance(ctx, now, latest, way)
	}
	if contract.CodeOf(err) == contract.Unavailable {
		// It may be done, and only the answer lost.
		if now, _, readErr := f.kv.Get(ctx, s.ID); readErr == nil && now.Status == moved.Status && now.CompletedAt.Equal(moved.CompletedAt) && slices.Equal(now.Methods, moved.Methods) {
			f.counts.moved(now, way)
			return now, nil
		}
	}
	return moved, err
}

// open hands out the session of a sign-in that is complete. Only who created it so, or let its browser in, calls this.
func (f *signIns) open(ctx context.Context, s signIn, methods []string) (outcome, error) {
	s.Methods = methods
	opened, err := f.prepare(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	s.Who = opened.Who
	return f.handOut(ctx, s, opened), nil
}

// prepared is a session that nobody has yet.
type prepared struct {
	session
	token secret.String
	news  bool // to the lists
}

// prepare writes the session of a sign-in and then looks at everything once more on which it rests.
func (f *signIns) prepare(ctx context.Context, s signIn) (prepared, error) {
	v := session{Portal: s.Portal, User: s.User, Who: s.Who, Methods: s.Methods, ExpiresAt: f.now().Add(sessionLife), CanEnable: s.CanEnable, Epoch: s.Epoch}
	if len(s.Methods) > 1 {
		v.EnrolledAt = s.EnrolledAt
	}
	v, token, err := f.sessions.open(ctx, v)
	if err != nil {
		return prepared{}, err
	}
	u, err := f.current(ctx, s)
	who := s.sees(u)
	if err == nil {
		err = f.stands(ctx, s, who)
	}
	if err == nil && who != s.Who {
		v, err = f.sessions.change(ctx, v.ID, func(v *session) { v.Who = who })
	}
	if err != nil {
		f.sessions.takeBack(ctx, v)
		return prepared{}, err
	}
	return prepared{v, token, !u.SignedIn || u.Mirror.Locked}, nil
}

// handOut is the outcome of a sign-in that is complete.
func (f *signIns) handOut(ctx context.Context, s signIn, p prepared) outcome {
	now := f.now()
	noteSession(ctx, f.log, p.session)
	f.arrived(s.account(), now, p.news)
	f.counts.complete(s, s.Methods, now)
	return outcome{signIn: s, session: &p.session, token: p.token}
}

// current is the account of a sign-in as it is now. One that was disabled or deleted since, or whose password is
// another than the one that began the sign-in, is a refusal.
func (f *signIns) current(ctx context.Context, s signIn) (user, error) {
	u, err := f.accounts.byID(ctx, s.account())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return user{}, err
	}
	if err != nil || u.Disabled || u.Deleted || s.shutTo(u) || u.PasswordAt.After(s.CreatedAt) {
		return user{}, errOver
	}
	return u, nil
}

// stands asks policy whether what was done in a sign-in is still what it asks of the person. Who needed no factor was let
// through by its answer a moment ago, and is not asked about again: unless they came through the portal door, whose
// browser has a minute.
func (f *signIns) stands(ctx context.Context, s signIn, who profile) error {
	if len(s.Methods) < 2 && s.Door == nil {
		return nil
	}
	d, err := f.still(ctx, s.Portal, who)
	if err == nil && (d.Epoch.Person != s.Epoch.Person || !s.stillProves(d)) {
		err = errOver
	}
	return err
}

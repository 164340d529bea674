// Package totp answers: is this the code that this person's authenticator app shows now, and who gets in without it?
//
// It keeps the secrets of authenticator apps and the hashes of recovery codes. rfc6238.go (time steps and codes),
// codes.go (recovery codes) and guard.go (what a guess is answered) are pure functions of values and the time; store.go
// is every write there is; enrol.go, verify.go, recovery.go and operator.go are the calls, in terms of those.
//
// What all calls with a code have in common: a guess is counted, in a write of its own, before anything is compared;
// a right one is accepted by a second write, whose guard makes it the only one. Both writes leave the id of the call
// behind, which makes the calls idempotent on any number of replicas: a repeated call that was accepted is told so
// again; one that was counted, and of which nobody knows the end (a crash, a lost reply), is compared without being
// counted again, and accepted by the same guard.
package totp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/trace"
)

// Settings are what this service is told.
type Settings struct {
	service.Settings
}

// Validate returns what is wrong with the settings beyond their types.
func (s *Settings) Validate() []string { return s.Problems() }

// Start starts the service and returns it ready.
func Start(ctx context.Context, env service.Env) (*service.Service, error) {
	s, err := start(ctx, env)
	if err != nil {
		return nil, err
	}
	return s.svc, nil
}

func start(ctx context.Context, env service.Env) (*server, error) {
	settings, err := service.Load[Settings](contract.TOTP, env.Vars)
	if err != nil {
		return nil, err
	}
	svc, err := service.Open(ctx, contract.TOTP, env, settings.Settings)
	if err != nil {
		return nil, err
	}
	s := &server{svc: svc, state: newState(svc.DB), metrics: newMetrics(svc.Registerer())}
	s.office = &Office{state: s.state, outbox: svc.Outbox, clock: svc.Clock, relay: svc.Outbox.Relay}
	if err := s.serve(ctx); err != nil {
		return nil, svc.Abandon(ctx, err)
	}
	return s, nil
}

// server answers the calls. Safe for concurrent use; all that it knows is in the store.
type server struct {
	svc     *service.Service
	state   state
	office  *Office
	metrics *metrics
}

// serve takes the service's messages.
func (s *server) serve(ctx context.Context) error {
	b := s.svc.Bus
	if err := s.svc.Reseal(ctx, keptSealed()); err != nil {
		return err
	}
	return errors.Join(
		bus.Handle(b, contract.TOTPBegin, s.begin),
		bus.Handle(b, contract.TOTPConfirm, s.confirm),
		bus.Handle(b, contract.TOTPVerify, s.verify),
		bus.Handle(b, contract.TOTPRegenerate, s.regenerate),
		bus.Handle(b, contract.TOTPRecover, s.recover),
		bus.Handle(b, contract.TOTPStatus, s.status),
		bus.Handle(b, contract.TOTPUnlock, s.unlock),
		bus.Consume(ctx, b, contract.EnrolmentReset, bus.ConsumeOptions{}, s.reset),
	)
}

// now is the time by which everything is decided, as precise as the store keeps it.
func (s *server) now() time.Time { return asKept(s.svc.Clock.Now()) }

// asKept is a time as the store keeps it.
func asKept(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// guess starts a call with a code. A call without an id cannot be repeated.
func (s *server) guess(ctx context.Context, who contract.Account) guess {
	call := bus.CallID(ctx)
	if call == "" {
		call = bus.NewID()
	}
	return guess{id: documentID(who), call: call, now: s.now()}
}

// typed opens a code that a person typed. One that does not open was not sealed for this person by one of us.
func (s *server) typed(who contract.Account, sealed contract.Sealed) (secret.String, error) {
	if err := checkAccount(who); err != nil {
		return secret.String{}, err
	}
	code, err := s.svc.Keys.Bus.OpenField(sealed, contract.PurposeTypedCode, who)
	if err != nil {
		return secret.String{}, fmt.Errorf("typed code: %w", err)
	}
	return code, nil
}

// checkAccount makes sure that no two people have the same document.
func checkAccount(who contract.Account) error {
	const longest = 128
	switch {
	case who.Portal == "" || len(who.Portal) > longest || strings.Contains(who.Portal, "/"):
		return invalid("portal", "There is no such portal.")
	case who.User == "" || len(who.User) > longest:
		return invalid("user", "There is no such user.")
	}
	return nil
}

func invalid(field, sentence string) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, "%s", sentence)
	e.Field = field
	return e
}

// looks bounds how often a call looks at a document that others change under its hands.
const looks = 5

// errBusy is when that was not enough. The caller tries again.
func errBusy() *contract.Error {
	return contract.Wait(contract.Unavailable, time.Second, "Several requests came at once. Please try again.")
}

// reset removes what is older than a reset. A newer authenticator is not touched, however late the event comes.
//
// Recovery codes go with the factor: whoever asks for a reset may have lost them together with the phone, and a
// stranger who has them must not outlive it. A recovery code's own reset leaves the others of its set.
func (s *server) reset(ctx context.Context, d bus.Delivery[contract.ResetFact]) error {
	who := d.Message.Account
	if err := checkAccount(who); err != nil {
		return bus.Dead(err)
	}
	if d.Message.Cause != contract.ResetByRecovery {
		if err := s.state.dropSet(ctx, documentID(who), d.Message.At); err != nil {
			return err
		}
	}
	return s.raise(ctx, who, d.Message.Epoch.Person)
}

// raise brings what is kept of a person to a generation.
//
// This also starts both counts again: a reset is the way out of a factor that too many wrong codes disabled, and it is
// an admin's act or a recovery code's. The first to learn of a generation does it, once: the event, or a new
// enrolment that overtook it.
func (s *server) raise(ctx context.Context, who contract.Account, person int64) error {
	removed, err := s.state.reset(ctx, documentID(who), person)
	if err != nil {
		return err
	}
	if removed {
		s.svc.Log.InfoContext(ctx, "authenticator removed by a reset", slog.String("portal", who.Portal),
			slog.String("user", who.User), slog.String("request_id", bus.RequestID(ctx)), trace.Attr(ctx))
	}
	return nil
}

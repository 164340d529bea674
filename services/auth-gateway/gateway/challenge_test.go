package gateway

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
)

// TestB24AResendOutlivesAnotherChange: opening a text kills the code before it, so the sign-in must come to name the new
// one, whatever else was noted in it while the text was opened; but not where the sign-in has gone on.
func TestB24AResendOutlivesAnotherChange(t *testing.T) {
	w := servicetest.New(t)
	kv, err := bus.OpenKV[signIn](t.Context(), w.Bus(contract.AuthGateway), contract.SignIns)
	if err != nil {
		t.Fatal(err)
	}
	flow := &signIns{kv: kv, bus: w.Bus(contract.AuthGateway), now: w.Clock.Now, log: slog.New(slog.DiscardHandler), counts: newMetrics(prometheus.NewRegistry())}
	now := w.Clock.Now()
	expires, lock := now.Add(5*time.Minute), now.Add(30*time.Second)

	// What others do to the sign-in while its text is opened: each is one write.
	var meanwhile []func(*signIn)
	err = bus.Handle(w.Bus(contract.SMSDispatcher), contract.SMSOpen, func(ctx context.Context, req contract.SMSOpenRequest) (contract.SMSOpenReply, error) {
		for _, change := range meanwhile {
			s, revision, err := kv.Get(ctx, req.Flow)
			if err != nil {
				return contract.SMSOpenReply{}, err
			}
			change(&s)
			if _, err := kv.Update(ctx, req.Flow, s, revision); err != nil {
				return contract.SMSOpenReply{}, err
			}
		}
		return contract.SMSOpenReply{Destination: "xxx-xxx-9443", ResendAt: lock, ExpiresAt: expires}, nil
	})
	if err != nil {
		t.Fatal(err)
	}

	locked := func(s *signIn) { s.LockedUntil = lock }
	for name, c := range map[string]struct {
		meanwhile []func(*signIn)
		lost      bool // the new text is not noted
	}{
		"nothing":             {nil, false},
		"a lock is noted":     {[]func(*signIn){locked}, false},
		"two notes":           {[]func(*signIn){locked, func(s *signIn) { s.LimitedUntil = lock }}, false},
		"an older text":       {[]func(*signIn){func(s *signIn) { s.Challenge, s.CodeExpiresAt = "other", expires.Add(-time.Second) }}, false},
		"a newer text":        {[]func(*signIn){func(s *signIn) { s.Challenge, s.CodeExpiresAt = "other", expires.Add(time.Second) }}, true},
		"it is complete":      {[]func(*signIn){func(s *signIn) { s.Status = StatusComplete }}, true},
		"an app is asked for": {[]func(*signIn){func(s *signIn) { s.Factor = contract.FactorTOTP }}, true},
		"a new enrolment":     {[]func(*signIn){func(s *signIn) { s.Enrolment = bus.NewID() }}, true},
	} {
		meanwhile = c.meanwhile
		s := signIn{
			ID: bus.NewID(), Portal: "p", User: "u", Status: StatusChallenge, Factor: contract.FactorSMS, Enrolment: "e", Challenge: "first",
			CreatedAt: now, ExpiresAt: now.Add(signInLife), CodeExpiresAt: now.Add(4 * time.Minute),
		}
		revision, err := kv.Create(t.Context(), s.ID, s)
		if err != nil {
			t.Fatal(err)
		}
		out, err := flow.text(t.Context(), portal{PublicURL: "https://portal.example"}, s, revision, "")
		kept, _, readErr := kv.Get(t.Context(), s.ID)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if c.lost {
			want := s
			for _, change := range c.meanwhile {
				change(&want)
			}
			if contract.CodeOf(err) != contract.Conflict || kept.Challenge != want.Challenge || kept.Status != want.Status {
				t.Errorf("%s: %v, and the sign-in is %s with %q", name, err, kept.Status, kept.Challenge)
			}
			continue
		}
		if err != nil || kept.Challenge == "first" || kept.Challenge != out.Challenge || !kept.CodeExpiresAt.Equal(expires) || !kept.Resent {
			t.Errorf("%s: %v, and the sign-in keeps %q, the answer %q", name, err, kept.Challenge, out.Challenge)
		}
		if len(c.meanwhile) > 0 && name != "an older text" && !kept.LockedUntil.Equal(lock) {
			t.Errorf("%s: what was noted meanwhile is lost", name)
		}
	}
}

// TestB24ANoteThatNeverFitsIsGivenUp: where every write meets another change, the text is given up, not tried for ever.
func TestB24ANoteThatNeverFitsIsGivenUp(t *testing.T) {
	w := servicetest.New(t)
	kv, err := bus.OpenKV[signIn](t.Context(), w.Bus(contract.AuthGateway), contract.SignIns)
	if err != nil {
		t.Fatal(err)
	}
	flow := &signIns{kv: kv, bus: w.Bus(contract.AuthGateway), now: w.Clock.Now, log: slog.New(slog.DiscardHandler), counts: newMetrics(prometheus.NewRegistry())}
	s := signIn{ID: bus.NewID(), Status: StatusEnroll, Factor: contract.FactorSMS}
	revision, err := kv.Create(t.Context(), s.ID, s)
	if err != nil {
		t.Fatal(err)
	}
	for tries, want := range map[int]contract.Code{noteTries - 1: "", noteTries: contract.Conflict} {
		noted := 0
		_, err := flow.noteText(t.Context(), s, revision, time.Time{}, func(n *signIn) {
			if noted++; noted <= tries { // somebody else is first
				if now, latest, err := kv.Get(t.Context(), s.ID); err != nil {
					t.Error(err)
				} else if _, err := kv.Update(t.Context(), s.ID, now, latest); err != nil {
					t.Error(err)
				}
			}
			n.Challenge = "new"
		})
		if contract.CodeOf(err) != want {
			t.Errorf("after %d changes: %v", tries, err)
		}
	}
}

// TestB26PausedOnlyWhileItWaits: that texts are paused is told of one that waits, and of no other; the other ways are
// offered with it.
func TestB26PausedOnlyWhileItWaits(t *testing.T) {
	w := servicetest.New(t)
	flow := &signIns{bus: w.Bus(contract.AuthGateway), now: w.Clock.Now, log: slog.New(slog.DiscardHandler), counts: newMetrics(prometheus.NewRegistry())}
	now := w.Clock.Now()
	var reply contract.SMSStatusReply
	err := bus.Handle(w.Bus(contract.SMSDispatcher), contract.SMSStatus, func(context.Context, contract.SMSStatusRequest) (contract.SMSStatusReply, error) {
		return reply, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{flow: flow, svc: &service.Service{Clock: w.Clock}}
	for _, c := range []struct {
		delivery contract.Delivery
		paused   bool
		want     bool
	}{
		{contract.DeliveryQueued, true, true},
		{contract.DeliveryQueued, false, false},
		{contract.DeliverySent, true, false},
		{contract.DeliveryFailed, true, false},
	} {
		reply = contract.SMSStatusReply{Delivery: c.delivery, Paused: c.paused, ResendAt: now, RequestedAt: now}
		out, err := flow.look(t.Context(), signIn{
			ID: bus.NewID(), Portal: "p", User: "u", Status: StatusChallenge, Factor: contract.FactorSMS, Challenge: "c", ExpiresAt: now.Add(signInLife), PublishedAt: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		v := g.view(out)
		offered := c.want || c.delivery == contract.DeliveryFailed
		if v.Paused != c.want || v.Delivery != string(c.delivery) || (len(v.OtherWays) > 0) != offered {
			t.Errorf("%s, paused %v: the sign-in says %q, paused %v, and offers %v", c.delivery, c.paused, v.Delivery, v.Paused, v.OtherWays)
		}
	}
}

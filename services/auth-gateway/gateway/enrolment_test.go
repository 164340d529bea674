package gateway

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
)

// TestTwoBeginOneEnrolment: whoever finds that the other one has noted it meanwhile goes on, unless the sign-in has gone on.
func TestTwoBeginOneEnrolment(t *testing.T) {
	w := servicetest.New(t)
	kv, err := bus.OpenKV[signIn](t.Context(), w.Bus(contract.AuthGateway), contract.SignIns)
	if err != nil {
		t.Fatal(err)
	}
	flow := &signIns{kv: kv, bus: w.Bus(contract.AuthGateway), now: w.Clock.Now, log: slog.New(slog.DiscardHandler), counts: newMetrics(prometheus.NewRegistry())}
	for name, c := range map[string]struct {
		meanwhile func(*signIn)
		lost      bool
	}{
		"nothing":              {nil, false},
		"the other began":      {func(s *signIn) { s.Started = true }, false},
		"a lock is noted":      {func(s *signIn) { s.Locked = true }, false},
		"another enrolment":    {func(s *signIn) { s.Enrolment, s.Started = "e2", true }, true},
		"it is complete":       {func(s *signIn) { s.Status = StatusComplete }, true},
		"to sign in once more": {func(s *signIn) { s.Status = StatusRelogin }, true},
	} {
		now := w.Clock.Now()
		s := signIn{ID: bus.NewID(), Portal: "p", User: "u", Status: StatusEnroll, Factor: contract.FactorTOTP, Enrolment: "e", CreatedAt: now, ExpiresAt: now.Add(signInLife)}
		revision, err := kv.Create(t.Context(), s.ID, s)
		if err != nil {
			t.Fatal(err)
		}
		if c.meanwhile != nil {
			other := s
			c.meanwhile(&other)
			if _, err := kv.Update(t.Context(), s.ID, other, revision); err != nil {
				t.Fatal(err)
			}
		}
		got, err := flow.started(t.Context(), s, revision)
		if c.lost != (contract.CodeOf(err) == contract.Conflict) || !c.lost && (err != nil || !got.Started || got.Enrolment != "e") {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
		if kept, _, err := kv.Get(t.Context(), s.ID); err != nil || !c.lost && !kept.Started || name == "a lock is noted" && !kept.Locked {
			t.Errorf("%s: %v, kept %+v", name, err, kept)
		}
	}
}

package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service/servicetest"
)

// watching opens the sessions of one gateway on a bus that several share.
func watching(t *testing.T, w *servicetest.World) *sessions {
	t.Helper()
	s, err := openSessions(t.Context(), w.Bus(contract.AuthGateway), w.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// create opens a session of somebody who was never reset.
func (s *sessions) create(ctx context.Context, portalID string, who profile, methods []string) (session, secret.String, error) {
	return s.open(ctx, session{Portal: portalID, User: who.ID, Who: who, Methods: methods, ExpiresAt: s.now().Add(sessionLife)})
}

func TestARevokedSessionIsDeadOnEveryGatewayAndStaysDead(t *testing.T) {
	w := servicetest.New(t)
	here, there := watching(t, w), watching(t, w)
	v, token, err := here.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := there.check(t.Context(), token.Reveal()); err != nil || got.User != "u" {
		t.Fatalf("the other gateway sees %+v, %v", got, err)
	}
	if err := here.end(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, "the other gateway hears of the revocation", func() bool {
		_, err := there.check(t.Context(), token.Reveal())
		return contract.CodeOf(err) == contract.Unauthenticated
	})
	// What was read before the revocation must not bring the session back, neither before nor after the watch says so.
	for _, s := range []*sessions{here, there} {
		s.put(v.ID, &v, 1)
		if _, err := s.check(t.Context(), token.Reveal()); contract.CodeOf(err) != contract.Unauthenticated {
			t.Errorf("a late read revived the session: %v", err)
		}
	}
	if _, err := here.change(t.Context(), v.ID, func(*session) {}); contract.CodeOf(err) != contract.Unauthenticated {
		t.Errorf("a revoked session was changed: %v", err)
	}
}

func TestOnlyOlderSessionsEndWithAReset(t *testing.T) {
	w := servicetest.New(t)
	s := watching(t, w)
	who := profile{ID: "u"}
	_, old, err := s.create(t.Context(), "p", who, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(time.Minute)
	reset := w.Clock.Now()
	w.Clock.Add(time.Minute)
	_, young, err := s.open(t.Context(), session{
		Portal: "p", User: who.ID, Who: who, Methods: []string{"pwd", "otp"}, ExpiresAt: w.Clock.Now().Add(sessionLife), Epoch: contract.Epoch{Population: 1, Person: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := s.create(t.Context(), "p", profile{ID: "v"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	fact := contract.ResetFact{At: reset, Epoch: contract.Epoch{Population: 1, Person: 1}}
	if err := s.endThose(t.Context(), contract.Account{Portal: "p", User: "u"}, func(v session) bool { return v.resetBy(fact) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(t.Context(), old.Reveal()); contract.CodeOf(err) != contract.Unauthenticated {
		t.Errorf("a session from before the reset lives on: %v", err)
	}
	for name, token := range map[string]string{"a session from after the reset": young.Reveal(), "another person's session": other.Reveal()} {
		if _, err := s.check(t.Context(), token); err != nil {
			t.Errorf("%s is dead: %v", name, err)
		}
	}
}

// A gateway that cannot see the bucket may not know all of a person's sessions: it refuses to end "all", so that whoever
// asked asks again.
func TestWhoCannotSeeTheSessionsEndsNone(t *testing.T) {
	w := servicetest.New(t)
	seeing := watching(t, w)
	v, token, err := seeing.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	blind, err := openSessions(t.Context(), w.Bus(contract.AuthGateway), w.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"all": blind.endOthers(t.Context(), v.account(), ""), "some": blind.endThose(t.Context(), v.account(), func(session) bool { return true }),
	} {
		if contract.CodeOf(err) != contract.Unavailable {
			t.Errorf("it ended %s: %v", name, err)
		}
	}
	if _, err := seeing.check(t.Context(), token.Reveal()); err != nil {
		t.Error(err)
	}
}

// What could not be ended is dead here, and is ended everywhere by whoever tries again.
func TestARevocationThatFailedIsTriedAgain(t *testing.T) {
	w := servicetest.New(t)
	here, there := watching(t, w), watching(t, w)
	v, token, err := here.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := here.endOthers(late, v.account(), ""); err == nil {
		t.Fatal("it was ended without time")
	}
	if _, err := here.check(t.Context(), token.Reveal()); contract.CodeOf(err) != contract.Unauthenticated {
		t.Errorf("it lives on where it was to end: %v", err)
	}
	if err := here.endOthers(t.Context(), v.account(), ""); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, "the other gateway hears of it", func() bool {
		_, err := there.check(t.Context(), token.Reveal())
		return contract.CodeOf(err) == contract.Unauthenticated
	})
	if l := here.list(v.account()); len(l) != 0 {
		t.Errorf("still listed: %+v", l)
	}
}

// A session that is used by many requests at once, after a minute, is written once.
func TestASessionIsTouchedOnceAMinute(t *testing.T) {
	w := servicetest.New(t)
	s := watching(t, w)
	other, err := openSessions(t.Context(), w.Bus(contract.AuthGateway), w.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	var writes, latest atomic.Uint64
	if err := other.kv.Watch(t.Context(), func(_ string, _ *session, revision uint64) { writes.Add(1); latest.Store(revision) }); err != nil {
		t.Fatal(err)
	}
	v, token, err := s.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(sessionTouch)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := s.check(t.Context(), token.Reveal()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	kept, revision, err := s.kv.Get(t.Context(), v.ID)
	if err != nil || !kept.SeenAt.Equal(w.Clock.Now()) {
		t.Errorf("%v, seen at %v", err, kept.SeenAt)
	}
	servicetest.Eventually(t, "another gateway hears of the last write", func() bool { return latest.Load() == revision })
	if n := writes.Load(); n > 2 { // the first may be replaced before it is heard of
		t.Errorf("%d writes, want the first and one more", n)
	}
	if err := s.end(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(sessionTouch)
	if err := s.touch(t.Context(), held{session: kept, revision: revision}, w.Clock.Now()); contract.CodeOf(err) != contract.Unauthenticated {
		t.Errorf("a session that is over is used on: %v", err)
	}
}

func TestARemovalKeepsTheSessionItCameFrom(t *testing.T) {
	w := servicetest.New(t)
	s := watching(t, w)
	own, token, err := s.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := s.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd", "otp"})
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(time.Minute)
	fact := contract.ResetFact{At: w.Clock.Now(), Epoch: contract.Epoch{Population: 1, Person: 1}, Keep: own.ID}
	if err := s.endThose(t.Context(), own.account(), func(v session) bool { return v.resetBy(fact) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(t.Context(), other.Reveal()); contract.CodeOf(err) != contract.Unauthenticated {
		t.Errorf("another session lives on: %v", err)
	}
	if _, err := s.check(t.Context(), token.Reveal()); err != nil {
		t.Errorf("the session that asked is dead: %v", err)
	}
}

func TestASessionThatRisesIsAnother(t *testing.T) {
	w := servicetest.New(t)
	s := watching(t, w)
	old, token, err := s.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd"})
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(time.Minute)
	// Where it proves nothing by the time it is written, the old one goes on, and there is no other.
	over := contract.Refuse(contract.Conflict, "over")
	by := contract.Confirmation{FactorInfo: contract.FactorInfo{Since: w.Clock.Now()}, Epoch: contract.Epoch{Population: 2}}
	if _, _, err := s.rise(t.Context(), old, []string{"pwd", "otp"}, by, func(context.Context) error { return over }); !errors.Is(err, over) {
		t.Fatal(err)
	}
	if _, err := s.check(t.Context(), token.Reveal()); err != nil || len(s.list(old.account())) != 1 {
		t.Errorf("after a rise that was none: %v, %d sessions", err, len(s.list(old.account())))
	}
	risen, other, err := s.rise(t.Context(), old, []string{"pwd", "otp"}, by, func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(t.Context(), token.Reveal()); contract.CodeOf(err) != contract.Unauthenticated {
		t.Errorf("the old token works: %v", err)
	}
	got, err := s.check(t.Context(), other.Reveal())
	if err != nil || got.ID == old.ID || !got.ExpiresAt.Equal(old.ExpiresAt) || !got.AuthTime.Equal(w.Clock.Now()) || got.User != "u" || got.Epoch != by.Epoch || !got.EnrolledAt.Equal(by.Since) {
		t.Errorf("the new session: %+v, %v", got, err)
	}
	// The newest stands first, and a session that has ended stands nowhere.
	w.Clock.Add(time.Second)
	later, _, err := s.create(t.Context(), "p", profile{ID: "u"}, []string{"pwd"})
	if err != nil {
		t.Fatal(err)
	}
	if l := s.list(old.account()); len(l) != 2 || l[0].ID != later.ID || l[1].ID != risen.ID {
		t.Errorf("the list: %+v", l)
	}
	if err := s.endOwn(t.Context(), contract.Account{Portal: "p", User: "v"}, later.ID); contract.CodeOf(err) != contract.NotFound {
		t.Errorf("somebody else ended it: %v", err)
	}
}

// Who was in before a reset is out, and who came afterwards is not, whatever the clocks of two machines say.
func TestResetsGoByGenerationsAndNotByClocks(t *testing.T) {
	at := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	reset := contract.ResetFact{At: at, Epoch: contract.Epoch{Population: 3, Person: 2}, Keep: "K"}
	of := func(person int64, opened time.Time) session {
		return session{ID: "S", Epoch: contract.Epoch{Population: 3, Person: person}, AuthTime: opened}
	}
	kept := of(1, at.Add(-time.Minute))
	kept.ID = "K"
	for name, c := range map[string]struct {
		s    session
		want bool
	}{
		"from before, by a clock that is ahead":   {of(1, at.Add(time.Minute)), true},
		"from after, by a clock that is behind":   {of(2, at.Add(-time.Minute)), false},
		"from after the next reset":               {of(3, at), false},
		"the one in which the factor was removed": {kept, false},
	} {
		if c.s.resetBy(reset) != c.want {
			t.Errorf("%s: %t", name, !c.want)
		}
	}
}

func TestWhomANewFactorSignsOut(t *testing.T) {
	at := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	fact := contract.EnrolmentFact{FactorInfo: contract.FactorInfo{Enrolment: "E2", Since: at}}
	for name, c := range map[string]struct {
		s    session
		want bool
	}{
		"by the password alone, before":         {session{AuthTime: at.Add(-1)}, true},
		"by the password alone, later":          {session{AuthTime: at}, false},
		"by the factor of before, however late": {session{AuthTime: at.Add(time.Minute), EnrolledAt: at.Add(-1)}, true},
		"by this factor, and a clock is behind": {session{AuthTime: at.Add(-time.Minute), EnrolledAt: at}, false},
		"by the factor after it":                {session{AuthTime: at.Add(time.Hour), EnrolledAt: at.Add(time.Hour)}, false},
		"the one in which it was set up":        {session{AuthTime: at.Add(-1), Enrolling: &enrolling{Enrolment: "E2"}}, false},
		"one in which another was to be set up": {session{AuthTime: at.Add(-1), Enrolling: &enrolling{Enrolment: "E1"}}, true},
	} {
		if c.s.endedBy(fact) != c.want {
			t.Errorf("%s: %t", name, !c.want)
		}
	}
}

func TestParallelChangesOfASessionAreAllMade(t *testing.T) {
	w := servicetest.New(t)
	s := watching(t, w)
	v, _, err := s.create(t.Context(), "p", profile{ID: "u"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const writers = 8
	done := make(chan error, writers)
	for range writers {
		go func() {
			_, err := s.change(t.Context(), v.ID, func(v *session) { v.Methods = append(v.Methods, "x") })
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if now, _, err := s.kv.Get(t.Context(), v.ID); err != nil || len(now.Methods) != writers {
		t.Errorf("%d of %d changes were kept, %v", len(now.Methods), writers, err)
	}
}

// The password comparison of nobody's account takes a real hash, and an empty hash matches nothing.
func TestNobodysPasswordNeverMatches(t *testing.T) {
	p, err := newPasswords(64, 1, 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{"", "nobody's password", "x"} {
		if ok, err := p.match(t.Context(), "", secret.New(typed)); ok || err != nil {
			t.Errorf("%q matched no hash at all: %v, %v", typed, ok, err)
		}
	}
	hash, err := p.hash(t.Context(), secret.New("right"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := p.match(t.Context(), hash, secret.New("right")); !ok || err != nil {
		t.Errorf("the right password: %v, %v", ok, err)
	}
	if ok, err := p.match(t.Context(), hash, secret.New("wrong")); ok || err != nil {
		t.Errorf("a wrong password: %v, %v", ok, err)
	}
}

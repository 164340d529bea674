package totp

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
)

// model is what must be true of one person, in a few lines: the rules of the service without store, bus or replicas.
type model struct {
	person            int64
	guess, codesGuess lockout.State
	pending, active   *device
	codes             []string
	resetAt           time.Time
	spent             []string // codes of the active authenticator that were accepted
	names             int
}

type device struct {
	enrolment, app string
	expires        time.Time
	last           int64
}

// count counts a guess, or says why not.
func (m *model) count(s *lockout.State, now time.Time) contract.Code {
	if !s.Allowed(now) {
		return contract.Locked
	}
	s.Failures++
	s.LastAt = now
	return ""
}

// TestAnyHistory holds the service, asked on either replica, against the model, over random histories.
func TestAnyHistory(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // nobody asked for more
		if err := f.Value.Set("40"); err != nil {
			t.Fatal(err)
		}
	}
	h := newHouse(t)
	people := 0
	rapid.Check(t, func(rt *rapid.T) {
		people++
		p := h.person(fmt.Sprintf("u%d", people))
		p.tb = rt
		m := &model{}
		var repeat func(*server) error // the last call, once more
		var outcome contract.Code

		replica := func(t *rapid.T) *server { return []*server{h.a, h.b}[rapid.IntRange(0, 1).Draw(t, "replica")] }
		expect := func(t *rapid.T, err error, want contract.Code, s lockout.State) {
			t.Helper()
			if got := contract.CodeOf(err); got != want {
				t.Fatalf("answer is %v, want %q", err, want)
			}
			if want == contract.InvalidCode {
				if e := contract.AsError(err); left(e) != s.Left() {
					t.Fatalf("%d attempts left, want %d", left(e), s.Left())
				}
			}
		}
		begin := func(t *rapid.T) {
			m.names++
			repeat = nil
			name := fmt.Sprintf("en%d", m.names)
			p.epoch.Person = m.person
			app, _, err := p.begin(name)
			expect(t, err, "", m.guess)
			m.pending = &device{enrolment: name, app: app, expires: h.Clock.Now().Add(10 * time.Minute)}
		}
		reset := func() {
			m.person++
			m.guess.Failures, m.codesGuess.Failures = 0, 0
			m.pending, m.active = nil, nil
		}
		verify := func(t *rapid.T, code string, right func() bool) {
			p.current = "none"
			want := contract.NotFound
			if m.active != nil {
				p.current = m.active.enrolment
				if want = m.count(&m.guess, h.Clock.Now()); want == "" && !right() {
					want = contract.InvalidCode
				}
			}
			call, req := once(), contract.TOTPVerifyRequest{Account: p.who, Enrolment: p.current, Code: p.typed(code)}
			repeat = func(s *server) error { _, err := s.verify(call, req); return err }
			outcome = want
			expect(t, repeat(replica(t)), want, m.guess)
			if want == "" {
				m.guess.Failures = 0
				m.spent = append(m.spent, code)
			}
		}
		confirm := func(t *rapid.T, code string, step int64) {
			now := h.Clock.Now()
			want := contract.Expired
			if now.Before(m.pending.expires) {
				if want = m.count(&m.guess, now); want == "" && step == 0 {
					want = contract.InvalidCode
				}
			}
			call, req := once(), contract.TOTPConfirmRequest{Account: p.who, Enrolment: m.pending.enrolment, Code: p.typed(code)}
			repeat = func(s *server) error { _, err := s.confirm(call, req); return err }
			outcome = want
			expect(t, repeat(replica(t)), want, m.guess)
			if want == "" {
				m.guess.Failures = 0
				m.active, m.pending, m.spent = m.pending, nil, []string{code}
				m.active.last = step
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"begin": begin,
			"begin again": func(t *rapid.T) {
				if m.pending == nil {
					t.Skip("nothing is pending")
				}
				p.epoch.Person = m.person
				app, _, err := p.begin(m.pending.enrolment)
				if !h.Clock.Now().Before(m.pending.expires) {
					expect(t, err, contract.Expired, m.guess)
				} else if expect(t, err, "", m.guess); app != m.pending.app {
					t.Fatalf("another seed")
				}
			},
			"confirm": func(t *rapid.T) {
				if m.pending == nil {
					t.Skip("nothing is pending")
				}
				steps := rapid.IntRange(-1, 1).Draw(t, "steps")
				confirm(t, p.code(m.pending.app, steps), stepAt(h.Clock.Now())+int64(steps))
			},
			"confirm wrongly": func(t *rapid.T) {
				if m.pending == nil {
					t.Skip("nothing is pending")
				}
				confirm(t, p.wrongCode(m.pending.app), 0)
			},
			"verify": func(t *rapid.T) {
				if m.active == nil {
					verify(t, "123456", nil)
					return
				}
				steps := rapid.IntRange(-1, 1).Draw(t, "steps")
				verify(t, p.code(m.active.app, steps), func() bool {
					step := stepAt(h.Clock.Now()) + int64(steps)
					fresh := step > m.active.last
					m.active.last = max(m.active.last, step)
					return fresh
				})
			},
			"guess": func(t *rapid.T) {
				if m.active == nil {
					t.Skip("nothing is active")
				}
				verify(t, p.wrongCode(m.active.app), func() bool { return false })
			},
			"type no code": func(t *rapid.T) {
				want, open := contract.Locked, m.guess
				if m.guess.Allowed(h.Clock.Now()) {
					if want = contract.InvalidCode; open.Left() == 0 {
						open = lockout.State{} // the lock is over
					}
				}
				p.current = "none"
				expect(t, p.verifyOn(replica(t), "12345"), want, open)
			},
			"use a code again": func(t *rapid.T) {
				if m.active == nil || len(m.spent) == 0 {
					t.Skip("no code is spent")
				}
				code := rapid.SampledFrom(m.spent).Draw(t, "code")
				at := rapid.IntRange(1, 5).Draw(t, "gap")
				verify(t, code[:at]+rapid.SampledFrom([]string{"", " ", "-"}).Draw(t, "spelling")+code[at:], func() bool { return false })
			},
			"repeat the last call": func(t *rapid.T) {
				if repeat == nil || outcome == contract.Locked || outcome == contract.Expired {
					t.Skip("nothing to repeat")
				}
				expect(t, repeat(replica(t)), outcome, m.guess)
			},
			"time goes by": func(t *rapid.T) {
				h.Clock.Add(rapid.SampledFrom([]time.Duration{time.Second, period, time.Minute, 5 * time.Minute, time.Hour}).Draw(t, "by"))
				repeat = nil
			},
			"reset": func(t *rapid.T) {
				reset()
				repeat = nil
				if err := replica(t).reset(context.Background(), p.resetEvent(m.person)); err != nil {
					t.Fatalf("reset: %v", err)
				}
				m.codes, m.resetAt = nil, h.Clock.Now()
				if m.names == 0 { // there was nothing that could have heard of it
					p.epoch.Person = m.person
				}
			},
			"unlock": func(t *rapid.T) {
				now := h.Clock.Now()
				_, app := m.guess.LockedUntil(now)
				_, codes := m.codesGuess.LockedUntil(now)
				want := contract.Code("")
				if m.guess.Disabled() || !app && m.codesGuess.Disabled() {
					want = contract.Conflict
				}
				reply, err := replica(t).unlock(once(), p.unlocking(bus.NewID()))
				if contract.CodeOf(err) != want || reply.Unlocked != (want == "" && (app || codes)) {
					t.Fatalf("unlock: %+v, %v; want %q of %+v and %+v", reply, err, want, m.guess, m.codesGuess)
				}
				if want == "" && app {
					m.guess.Failures = 0
				}
				if want == "" && codes && !m.codesGuess.Disabled() {
					m.codesGuess.Failures = 0
				}
			},
			"a late reset": func(t *rapid.T) {
				event := p.resetEvent(rapid.Int64Range(0, m.person).Draw(t, "person"))
				event.Message.At = m.resetAt.Add(-time.Millisecond) // the clock of a test stands still: nothing else was made just then
				if err := replica(t).reset(context.Background(), event); err != nil {
					t.Fatalf("reset: %v", err)
				}
			},
			"begin before the reset is heard of": func(t *rapid.T) {
				if m.names == 0 || len(m.codes) > 0 {
					t.Skip("only what is there hears of it")
				}
				reset()
				repeat = nil
				begin(t)
			},
			"regenerate": func(t *rapid.T) {
				m.codes = p.regenerate()
			},
			"recover": func(t *rapid.T) {
				if len(m.codes) == 0 {
					t.Skip("no codes")
				}
				i := rapid.IntRange(0, len(m.codes)-1).Draw(t, "code")
				want := m.count(&m.codesGuess, h.Clock.Now())
				call, req := bus.NewID(), contract.RecoverRequest{Account: p.who, Code: p.typed(m.codes[i]), Epoch: p.epoch}
				reply, err := replica(t).recover(bus.WithCallID(context.Background(), call), req)
				expect(t, err, want, m.codesGuess)
				if want != "" {
					return
				}
				m.codesGuess.Failures = 0
				again, err := replica(t).recover(bus.WithCallID(context.Background(), call), req)
				if expect(t, err, "", m.codesGuess); again != reply || reply.CodesLeft != len(m.codes)-1 {
					t.Fatalf("recovered: %+v, again: %+v", reply, again)
				}
				m.codes = append(m.codes[:i:i], m.codes[i+1:]...)
			},
			"guess a recovery code": func(t *rapid.T) {
				want := m.count(&m.codesGuess, h.Clock.Now())
				if want == "" {
					want = contract.InvalidCode
				}
				_, err := p.recoverOn(once(), replica(t), "0000-0000-0000-0000")
				expect(t, err, want, m.codesGuess)
			},
			"": func(t *rapid.T) {
				doc := p.kept()
				if doc.Guess.Failures != m.guess.Failures || (doc.Active == nil) != (m.active == nil) || (doc.Pending == nil) != (m.pending == nil) {
					t.Fatalf("kept: %+v\nmodel: %+v", doc, m)
				}
				if m.active != nil && doc.LastStep != m.active.last {
					t.Fatalf("last step %d, want %d", doc.LastStep, m.active.last)
				}
			},
		})
	})
}

package e2e

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestNothingToldIsLostByKill9: what an answer has said is true after a crash at that very moment: an enrolment, a
// used code, a skip, a failure, a session, a sign-out.
func TestNothingToldIsLostByKill9(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	crash := func() {
		t.Helper()
		p.Kill9()
		p.Resume()
	}
	for round, email := range []string{agent, admin, second} {
		s := p.BeginSignIn(email)
		key := enrolment(t, p, s).Key
		used := p.Code(key)
		done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(used)))
		crash() // at the very moment of the answer
		who(t, p, done.Session.Token)
		s = p.BeginSignIn(email)
		stands(t, s, "challenge")
		// The code that confirmed is spent; it may have run out of its window meanwhile, and is refused either way.
		sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(used)), 422, "invalid_code")
		used = p.Code(key)
		done = p.Verify(s, used)
		crash()
		who(t, p, done.Session.Token)
		if got := look(t, p, s).Status; got != "complete" {
			t.Errorf("round %d: the sign-in stands at %q after the crash", round, got)
		}
		again := p.BeginSignIn(email)
		stands(t, again, "challenge")
		a := p.Do("POST", again.Path("/verify"), again.Token, code(used))
		sut.Expect(t, a, 422, "invalid_code")
		if left := a.Problem().AttemptsLeft; left == nil || *left != 4 {
			t.Errorf("round %d: attempts_left %v, want 4", round, left)
		}
		crash()
		// The failure before the crash still counts.
		a = p.Do("POST", again.Path("/verify"), again.Token, code(sut.WrongCode(t, key, p.Now())))
		if left := a.Problem().AttemptsLeft; left == nil || *left != 3 {
			t.Errorf("round %d: attempts_left %v after a crash, want 3: %s", round, left, a)
		}
		sut.Expect(t, p.Do("DELETE", "/v1/session", done.Session.Token, nil), 204, "")
		crash()
		dead(t, p, done.Session.Token)
		stands(t, p.Verify(again, p.Code(key)), "complete")
	}
	// A skip, and a number.
	s := p.BeginSignIn(temp)
	stands(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil)), "complete")
	crash()
	stands(t, p.BeginSignIn(temp), "complete")
	p.EnrolSMS(clerk, clerkPhone)
	crash()
	p.SignInSMS(clerk, clerkPhone)
	// A message that was promised is sent, though the process died at once.
	s = p.BeginSignIn(clerk)
	crash()
	sut.Eventually(t, 30*time.Second, "the message is handed over", func() bool { return look(t, p, s).Delivery == "sent" })
	if len(p.Messages(clerkPhone)) == 0 {
		// It had been handed over before the crash, and the inbox does not outlive the process.
		p.Advance(time.Minute)
		sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/resend"), s.Token, nil))
	}
	stands(t, p.Verify(s, p.LastCode(clerkPhone)), "complete")
}

// TestKill9UnderLoad kills the product five times amid sign-ins, and looks after each whether every code that was
// accepted stayed used and every factor stayed enrolled.
func TestKill9UnderLoad(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	agentKey, _ := p.EnrolTOTP(agent)
	adminKey, _ := p.EnrolTOTP(admin)
	people := map[string]string{agent: agentKey, admin: adminKey}
	for round := range 5 {
		now := p.Advance(2 * time.Hour) // locks are over, and no code of before is in its window
		fresh := map[string]string{agent: sut.CodeAt(t, agentKey, now), admin: sut.CodeAt(t, adminKey, now)}
		accepted, sessions := make(map[string]int), []string{}
		var mu sync.Mutex
		var load sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		completed := make(chan struct{}, 100)
		for email := range people {
			for range 2 {
				load.Go(func() {
					for ctx.Err() == nil {
						a, err := p.Try(ctx, "POST", "/v1/sign-ins", "", sut.Credentials(email))
						var s sut.SignIn
						if err != nil || a.Status != http.StatusCreated || a.Decode(&s) != nil {
							continue // it is being killed
						}
						a, err = p.Try(ctx, "POST", s.Path("/verify"), s.Token, code(fresh[email]))
						if err != nil || a.Decode(&s) != nil {
							continue
						}
						mu.Lock()
						if s.Status == "complete" && s.Session != nil {
							accepted[email]++
							sessions = append(sessions, s.Session.Token)
							completed <- struct{}{}
						}
						mu.Unlock()
					}
				})
			}
		}
		// Each round kills at another moment: before the first success, at it, or after it.
		if round > 0 {
			select {
			case <-completed:
			case <-time.After(20 * time.Second):
				t.Error("no sign-in was completed in 20 seconds")
			}
		}
		if round > 2 {
			select {
			case <-completed:
			case <-time.After(20 * time.Second):
				t.Error("no second sign-in was completed in 20 seconds")
			}
		}
		p.Kill9()
		stop()
		load.Wait()
		p.Resume()
		for email, n := range accepted {
			if n > 1 {
				t.Errorf("round %d: one code of %s was accepted %d times", round, email, n)
			}
		}
		for _, session := range sessions {
			who(t, p, session)
		}
		for email, k := range people {
			s := p.BeginSignIn(email)
			stands(t, s, "challenge")
			if accepted[email] > 0 {
				if a := p.Do("POST", s.Path("/verify"), s.Token, code(fresh[email])); a.Status == http.StatusOK {
					t.Errorf("round %d: a used code of %s was accepted after the crash", round, email)
				}
			}
			p.Advance(time.Hour)
			s = p.BeginSignIn(email)
			stands(t, p.Verify(s, p.Code(k)), "complete")
		}
	}
}

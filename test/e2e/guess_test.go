package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// tally counts answers by status and code.
func tally(answers []sut.Answer) map[string]int {
	out := make(map[string]int)
	for _, a := range answers {
		if c := a.Problem().Code; c != "" {
			out[c]++
		} else {
			out[http.StatusText(a.Status)]++
		}
	}
	return out
}

// parallel sends requests at once and returns their answers; one that fails to come fails the test.
func parallel(t *testing.T, p *sut.Product, n int, request func(i int) (path, token string, body any)) []sut.Answer {
	t.Helper()
	answers, errs := make([]sut.Answer, n), make([]error, n)
	var begin, done sync.WaitGroup
	begin.Add(1)
	for i := range n {
		done.Go(func() {
			path, token, body := request(i)
			begin.Wait()
			answers[i], errs[i] = p.Try(t.Context(), "POST", path, token, body)
		})
	}
	begin.Done()
	done.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// signIns begins so many sign-ins of one person, one after the other: a crowd at the password is not the point.
func signIns(p *sut.Product, email string, n int) []sut.SignIn {
	var out []sut.SignIn
	for range n {
		out = append(out, p.BeginSignIn(email))
	}
	return out
}

// once fails the test unless exactly one answer let somebody in. None did only where an answer was lost for want of time.
func once(t *testing.T, what string, got map[string]int) {
	t.Helper()
	if n := got["OK"]; n > 1 || n == 0 && got["unavailable"] == 0 || got["internal"] > 0 {
		t.Errorf("%s: %v; want exactly one OK", what, got)
	}
}

// others fails the test unless every answer that is not counted here says to come back later: a machine that has
// more to do than it can may refuse any of them, and must let nobody in for it.
func others(t *testing.T, what string, got map[string]int, all int, counted ...string) {
	t.Helper()
	for _, c := range append(counted, "locked", "unavailable") {
		all -= got[c]
	}
	if all != 0 {
		t.Errorf("%s: %v; want nothing but %q, locked and unavailable", what, got, counted)
	}
	if n := got["unavailable"]; n > 0 {
		t.Logf("%s: %d were refused for want of time", what, n)
	}
}

// TestOneCodeOpensOneDoor: one right code at fifty sign-ins at once completes exactly one.
func TestOneCodeOpensOneDoor(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	doors := signIns(p, agent, 50)
	c := p.Code(key)
	got := tally(parallel(t, p, len(doors), func(i int) (string, string, any) { return doors[i].Path("/verify"), doors[i].Token, code(c) }))
	once(t, "one code at fifty sign-ins", got)
	others(t, "one code at fifty sign-ins", got, len(doors), "OK", "invalid_code")
	// The same sign-in, fifty times.
	p.Advance(time.Hour)
	s := p.BeginSignIn(agent)
	c = p.Code(key)
	got = tally(parallel(t, p, 50, func(int) (string, string, any) { return s.Path("/verify"), s.Token, code(c) }))
	once(t, "one code fifty times at one sign-in", got)
	if status := look(t, p, s).Status; status != "complete" {
		t.Errorf("the sign-in stands at %q", status)
	}

	// A text message's code, and the code that confirms a number.
	first := p.BeginSignIn(clerk)
	sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", first.Path("/enrollment"), first.Token, phone(clerkPhone)))
	c = p.LastCode(clerkPhone)
	got = tally(parallel(t, p, 20, func(int) (string, string, any) { return first.Path("/enrollment/confirm"), first.Token, code(c) }))
	once(t, "one code confirms a number twenty times", got)
	seen := len(p.Messages(clerkPhone))
	s = p.BeginSignIn(clerk)
	c = p.CodeAfter(clerkPhone, seen)
	got = tally(parallel(t, p, 20, func(int) (string, string, any) { return s.Path("/verify"), s.Token, code(c) }))
	once(t, "one texted code twenty times", got)

	// A recovery code.
	p.Advance(time.Hour)
	session := p.SignInTOTP(agent, key)
	type codes struct {
		Codes []string `json:"codes"`
	}
	recovery := sut.Want[codes](t, http.StatusOK, p.Do("POST", "/v1/account/recovery-codes", session, nil)).Codes[0]
	doors = signIns(p, agent, 20)
	got = tally(parallel(t, p, len(doors), func(i int) (string, string, any) {
		return doors[i].Path("/recover"), doors[i].Token, map[string]string{"recovery_code": recovery}
	}))
	once(t, "one recovery code at twenty sign-ins", got)
}

// TestParallelGuessesAreCounted: of two hundred guesses over twenty sign-ins five are looked at, and no more.
func TestParallelGuessesAreCounted(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(agent)
	const guesses = 200
	doors := signIns(p, agent, 20)
	wrong := sut.WrongCode(t, key, p.Now())
	answers := parallel(t, p, guesses, func(i int) (string, string, any) {
		// One door among them is another one altogether: a step-up, which counts on the same counter.
		if i%10 == 9 {
			return "/v1/session/step-up", session, map[string]string{"password": sut.DemoPassword, "code": wrong}
		}
		s := doors[i%len(doors)]
		return s.Path("/verify"), s.Token, code(wrong)
	})
	got := tally(answers)
	told := got["invalid_code"]
	if n := told; n < 1 || n > 5 {
		t.Errorf("%d guesses: %v; want at most 5 looked at", guesses, got)
	}
	others(t, "two hundred guesses", got, guesses, "invalid_code")
	for _, a := range answers {
		if a.Problem().Code == "locked" {
			retryAfter(t, a, 30*time.Second)
			break
		}
	}
	p.Advance(30 * time.Second)
	answers = parallel(t, p, 50, func(i int) (string, string, any) {
		return doors[i%20].Path("/verify"), doors[i%20].Token, code(wrong)
	})
	// On a slow machine some of the five before had no answer in time: typed again in its sign-in, each is told now, and is
	// no other guess.
	if got = tally(answers); got["invalid_code"] > 10-told {
		t.Errorf("50 guesses after the lock: %v; want at most 5 looked at, and %d of before told", got, 5-told)
	}
	others(t, "fifty guesses after the lock", got, 50, "invalid_code")
}

// TestLockOpensAndGrows: five wrong codes close the factor for thirty seconds, five more for sixty; the right code
// opens nothing meanwhile, and clears the count afterwards. Restarts, new sign-ins and resends lower nothing.
func TestLockOpensAndGrows(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	s := p.BeginSignIn(agent)
	round := func(wait time.Duration) {
		t.Helper()
		for left := 4; left >= 0; left-- {
			a := p.Do("POST", s.Path("/verify"), s.Token, code(sut.WrongCode(t, key, p.Now())))
			sut.Expect(t, a, 422, "invalid_code")
			pr := a.Problem()
			if pr.AttemptsLeft == nil || *pr.AttemptsLeft != left {
				t.Errorf("attempts_left: %v, want %d", pr.AttemptsLeft, left)
			}
			if left == 0 {
				near(t, "locked_until", pr.LockedUntil, p.Now().Add(wait), 10*time.Second)
			}
		}
		a := p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, p.Now())))
		sut.Expect(t, a, 429, "locked")
		retryAfter(t, a, wait)
		near(t, "locked_until", a.Problem().LockedUntil, p.Now().Add(wait), 10*time.Second)
	}
	round(30 * time.Second)
	p.Restart()
	s = p.BeginSignIn(agent)
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, p.Now()))), 429, "locked")
	p.Advance(30 * time.Second)
	round(60 * time.Second)
	p.Advance(30 * time.Second)
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.CodeAt(t, key, p.Now()))), 429, "locked")
	p.Advance(30 * time.Second)
	stands(t, p.Verify(s, p.Code(key)), "complete")
	s = p.BeginSignIn(agent)
	a := p.Do("POST", s.Path("/verify"), s.Token, code(sut.WrongCode(t, key, p.Now())))
	if left := a.Problem().AttemptsLeft; left == nil || *left != 4 {
		t.Errorf("attempts_left after a right code: %v; it clears the count", left)
	}
	// A wrong password moves no counter: an outsider can lock nobody out.
	for range 10 {
		sut.Expect(t, p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": agent, "password": "guess"}), 401, "invalid_credentials")
	}
	stands(t, p.Verify(s, p.Code(key)), "complete")
}

// TestFiftyFailuresDisable: after fifty in a row no code helps any more, whatever the time.
func TestFiftyFailuresDisable(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	for range 10 {
		s := p.BeginSignIn(agent)
		for range 5 {
			sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(sut.WrongCode(t, key, p.Now()))), 422, "invalid_code")
		}
		p.Advance(time.Hour)
	}
	p.Advance(24 * time.Hour)
	s := p.BeginSignIn(agent)
	a := p.Do("POST", s.Path("/verify"), s.Token, code(p.Code(key)))
	sut.Expect(t, a, 429, "locked")
	if !a.Problem().LockedUntil.IsZero() {
		t.Errorf("a disabled factor says it opens at %v", a.Problem().LockedUntil)
	}
}

package attack

import (
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// volley sends many requests at once to a product that is killed when the first code was looked at, brings it back, and
// returns the answers that came.
func volley(t *testing.T, p *sut.Product, n int, body any) []sut.Answer {
	t.Helper()
	var signIns []sut.SignIn
	for range 4 {
		signIns = append(signIns, p.BeginSignIn(agent))
	}
	var mu sync.Mutex
	var answers []sut.Answer
	var dead sync.Once
	atOnce(n, func(i int) {
		s := signIns[i%len(signIns)]
		a, err := p.Try(t.Context(), http.MethodPost, s.Path("/verify"), s.Token, body)
		if err != nil {
			return // who was asking when it died hears nothing
		}
		mu.Lock()
		answers = append(answers, a)
		mu.Unlock()
		// Who finds the account locked hears so at once, while five codes are still looked at.
		if oneOf(verdict(a), in, wrongCode) {
			dead.Do(p.Kill9)
		}
	})
	dead.Do(p.Kill9) // if nobody heard anything
	p.Resume()
	return answers
}

// agent is somebody of the demo.
const agent = "agent@demo.test"

// TestRule08ACrashGivesNothingBack kills the product with kill -9 in the middle of guesses, and in the middle of one right
// code that is typed many times, and goes on where it was: no guess is given back, and no code is new again.
func TestRule08ACrashGivesNothingBack(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off"})})
	key, _ := p.EnrolTOTP(agent)

	db, err := store.Connect(t.Context(), store.Options{URI: p.StoreURI(), Database: "sallyport_totp_svc", Name: "attack", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bounded(t, db.Close) })
	read := func() kept {
		t.Helper()
		k, err := store.Of[kept](db, "authenticators").Get(t.Context(), "demo/agent-demo")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	spent := false
	for try := 0; try < 4 && !spent; try++ { // a busy machine may kill it each time before any code is looked at
		p.Advance(2 * sut.Step)
		step, code := stepOf(p.Now()), p.Code(key)
		entered := 0
		for range 3 {
			for _, a := range volley(t, p, 40, typed(code)) {
				if verdict(a) == in {
					entered++
				}
			}
		}
		s := p.BeginSignIn(agent)
		if verdict(p.Do(http.MethodPost, s.Path("/verify"), s.Token, typed(code))) == in {
			entered++
		}
		if entered > 1 {
			t.Errorf("one code let in %d times, over three crashes", entered)
		}
		spent = read().LastStep >= step
	}
	if !spent {
		t.Error("no right code was looked at: nothing was tried")
	}

	p.Advance(time.Hour)
	p.SignInTOTP(agent, key) // the owner comes in, and the count starts again
	begun := p.Now()
	wrong := sut.WrongCode(t, key, p.Now())
	looked := 0
	for range 3 {
		for _, a := range volley(t, p, 40, typed(wrong)) {
			if verdict(a) == wrongCode {
				looked++
			}
		}
	}
	// The product's clock went on meanwhile: a lock may have opened.
	most, opens := 5, begun
	for _, wait := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute} {
		if opens = opens.Add(wait); p.Now().After(opens) {
			most += 5
		}
	}
	k := read()
	if looked > most || k.Guess.Failures > most || k.Guess.Failures < looked {
		t.Errorf("%d guesses were answered and %d are counted, over three crashes; want no more than %d, and none forgotten", looked, k.Guess.Failures, most)
	}
	if looked == 0 && k.Guess.Failures == 0 {
		t.Error("no guess was looked at: nothing was tried")
	}
	p.Advance(time.Hour)
	p.SignInTOTP(agent, key)
}

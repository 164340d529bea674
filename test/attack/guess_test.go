package attack

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/pkg/store"
	"sallyport/test/sut"
)

// kept is what is kept of a count of wrong codes, and of the last right one of an app.
type kept struct {
	Guess    lockout.State `bson:"guess"`
	LastStep int64         `bson:"last_step"`
}

// failures is how many wrong codes of a person are counted in a collection of a service.
func (h *house) failures(service contract.Service, collection string, p *person) int {
	h.t.Helper()
	k, err := store.Of[kept](h.store(service), collection).Get(h.t.Context(), p.account().Portal+"/"+p.user)
	if err != nil {
		h.t.Fatal(err)
	}
	return k.Guess.Failures
}

// guessAt types wrong codes at many doors at once and returns what was said. Whoever met a product without time comes
// back, twice at most.
func (h *house) guessAt(doors []try, wrong []string) map[string]int {
	answers := make([]sut.Answer, len(doors))
	var waiting []int
	for i := range doors {
		waiting = append(waiting, i)
	}
	for range 3 {
		atOnce(len(waiting), func(n int) { i := waiting[n]; answers[i] = doors[i](wrong[i%len(wrong)]) })
		waiting = slices.DeleteFunc(waiting, func(i int) bool { return verdict(answers[i]) != unavailable })
	}
	return tally(answers)
}

// TestRule08BruteForceLooksAtFiveCodesARound guesses an app's code from everywhere at once, round after round up to the
// end: over sign-ins, sessions, pages, API, step-ups and the confirmation of another app, under a new address each time,
// with parts that are restarted in between, and in the middle of it. However it is done, five codes are compared before
// the factor closes, and fifty before it closes for good.
func TestRule08BruteForceLooksAtFiveCodesARound(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	before := p.beginMany(t, 2)
	session := p.enrol(t)
	codes := p.recoveryCodes(t, session)
	doors := p.everyDoor(t, 100, before)
	for round := 1; round <= lockout.Limit/lockout.Round; round++ {
		compared, repeated := h.compared(), h.repeated()
		wait := lockout.Wait(round * lockout.Round)
		if round > 1 { // sign-ins and sessions from before the locks are over by themselves
			doors = nil
			for _, s := range p.beginMany(t, 5) {
				doors = append(doors, h.verifyDoor(t, s), h.verifyPage(t, s), h.verifyDoor(t, s), h.verifyPage(t, s))
			}
		}
		var parts sync.WaitGroup
		if round%3 == 1 { // nobody is asked to be there all the time
			parts.Go(func() { h.restart("totp 1", "totp 2") })
		}
		got := h.guessAt(doors, h.wrong(t, p.key, 50))
		parts.Wait()
		for range 3 { // what was refused for want of time tries again
			for k, n := range h.guessAt(doors, h.wrong(t, p.key, 50)) {
				got[k] += n
			}
		}
		only(t, fmt.Sprintf("round %d", round), got, append(refusals, "invalid_credentials")...)
		if n := h.compared() - compared - (h.repeated() - repeated); n > lockout.Round {
			t.Errorf("round %d: %d codes were compared; %v", round, n, got)
		}
		if n := h.failures(contract.TOTP, "authenticators", p); n != round*lockout.Round {
			t.Errorf("round %d: %d failures are counted, want %d; %v", round, n, round*lockout.Round, got)
		}
		if round%4 == 2 {
			h.restart("gateway 1")
		}
		// The right code is not looked at, whoever types it, until the time is over.
		if v := verdict(h.verifyDoor(t, p.begin(t))(h.appCode(t, p.key, 0))); v != locked {
			t.Fatalf("round %d: the right code at a closed factor: %s", round, v)
		}
		if round == lockout.Limit/lockout.Round {
			break
		}
		h.Clock.Add(wait - time.Second)
		if v := verdict(h.verifyDoor(t, p.begin(t))(h.appCode(t, p.key, 0))); v != locked {
			t.Errorf("round %d: the right code a second too early: %s", round, v)
		}
		h.Clock.Add(time.Second)
	}
	h.Clock.Add(48 * time.Hour)
	h.restart("totp 1", "totp 2", "gateway 1", "gateway 2")
	s := p.begin(t)
	if v := verdict(h.verifyDoor(t, s)(h.appCode(t, p.key, 0))); v != locked {
		t.Errorf("the right code after fifty wrong ones, two days later: %s", v)
	}
	// The owner has another way in, and a new app starts a new count.
	next := sut.Want[sut.SignIn](t, http.StatusOK, h.post(t, s.Path("/recover"), s.Token, recovery(codes[0])))
	if next.Status != "enroll" {
		t.Fatalf("after a recovery code the sign-in is %q", next.Status)
	}
	p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
	p.last = 0
	sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.post(t, s.Path("/enrollment/confirm"), s.Token, typed(p.code(t)))))
	p.signIn(t)
}

// TestRule08NothingButTheRightCodeLowersACount spends four guesses and does what might make the product forget them.
func TestRule08NothingButTheRightCodeLowersACount(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	four := func(t *testing.T, door func() try, wrong []string) {
		t.Helper()
		for i := range 4 {
			if v := verdict(door()(wrong[i])); v != wrongCode {
				t.Fatalf("guess %d: %s", i+1, v)
			}
		}
	}
	closed := func(t *testing.T, door try, wrong, right string) {
		t.Helper()
		if v := verdict(door(wrong)); v != wrongCode {
			t.Fatalf("the fifth guess: %s", v)
		}
		if v := verdict(door(right)); v != locked {
			t.Errorf("the right code after five guesses: %s", v)
		}
	}
	t.Run("an app that is set up", func(t *testing.T) {
		// Another sign-in, another seed, parts that start anew: the count is the person's.
		p := h.add(t, contract.Internal, 1)[0]
		var s sut.SignIn
		four(t, func() try {
			s = p.begin(t)
			p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
			return h.confirmDoor(t, s)
		}, []string{"000000", "111111", "222222", "333333"})
		h.restart("totp 1", "totp 2", "gateway 1", "gateway 2")
		s = p.begin(t)
		p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
		closed(t, h.confirmDoor(t, s), h.wrong(t, p.key, 1)[0], h.appCode(t, p.key, 0))
		h.Clock.Add(lockout.FirstWait)
		if v := verdict(h.confirmDoor(t, s)(h.appCode(t, p.key, 0))); v != in {
			t.Errorf("the owner's code after the lock: %s", v)
		}
	})
	t.Run("an app that is replaced", func(t *testing.T) {
		// The codes of the one that is set up count with those of the one that is there.
		p := h.add(t, contract.Internal, 1)[0]
		session := p.enrol(t)
		another := sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", session, nil)).Key
		four(t, func() try { return h.replaceDoor(t, session) }, h.wrong(t, another, 4))
		closed(t, h.verifyPage(t, p.begin(t)), h.wrong(t, p.key, 1)[0], h.appCode(t, p.key, 1))
		if v := verdict(h.replacePage(t, session)(h.appCode(t, another, 0))); v != locked {
			t.Errorf("the new app's right code: %s", v)
		}
	})
	t.Run("a telephone", func(t *testing.T) {
		p := h.add(t, contract.Organization, 1)[0]
		p.enrol(t)
		s := p.begin(t)
		code := h.inbox.CodeAfter(p.phone, 1)
		wrong := differentFrom(code)
		seen := len(h.inbox.Messages(p.phone))
		var signIns int
		four(t, func() try {
			if signIns++; signIns == 3 { // a new text, which takes a while
				h.Clock.Add(time.Minute)
				sut.Want[sut.SignIn](t, http.StatusOK, h.post(t, s.Path("/resend"), s.Token, nil))
				code = h.inbox.CodeAfter(p.phone, seen)
				wrong = differentFrom(code)
			}
			return h.verifyDoor(t, s)
		}, wrong)
		h.restart("sms", "gateway 2")
		closed(t, h.verifyPage(t, s), wrong[4], code)
		if got := p.begin(t); got.LockedUntil.IsZero() {
			t.Errorf("a new sign-in does not say that the telephone is closed: %+v", got)
		}
		h.Clock.Add(lockout.FirstWait)
		if v := verdict(h.verifyDoor(t, s)(code)); v != in {
			t.Errorf("the owner's code after the lock: %s", v)
		}
	})
	t.Run("recovery codes", func(t *testing.T) {
		p := h.add(t, contract.Internal, 1)[0]
		codes := p.recoveryCodes(t, p.enrol(t))
		wrong := func(i int) string { return fmt.Sprintf("0000-0000-0000-%04d", i) }
		for i := range 4 {
			if v := verdict(h.recoverDoor(t, p.begin(t))(wrong(i))); v != wrongCode {
				t.Fatalf("guess %d: %s", i+1, v)
			}
		}
		h.restart("totp 1", "totp 2", "gateway 1", "gateway 2")
		closed(t, h.recoverPage(t, p.begin(t)), wrong(5), codes[0])
		if v := verdict(h.verifyDoor(t, p.begin(t))(h.appCode(t, p.key, 1))); v != in { // the app is another factor, and it neither suffers nor helps
			t.Errorf("the app's code while recovery codes are closed: %s", v)
		}
		if v := verdict(h.recoverDoor(t, p.begin(t))(codes[0])); v != locked {
			t.Errorf("a right recovery code after a right code of the app: %s", v)
		}
		h.Clock.Add(lockout.FirstWait)
		if v := verdict(h.recoverDoor(t, p.begin(t))(codes[0])); v != in {
			t.Errorf("the owner's recovery code after the lock: %s", v)
		}
	})
}

// recoverDoor and recoverPage take a recovery code.
func (h *house) recoverDoor(t testing.TB, s sut.SignIn) try {
	return func(code string) sut.Answer { return h.post(t, s.Path("/recover"), s.Token, recovery(code)) }
}

func (h *house) recoverPage(t testing.TB, s sut.SignIn) try {
	return func(code string) sut.Answer {
		return h.submit(t, pages{path: "/sign-in/recover", signIn: s.Token, form: oneField("recovery_code", code)})
	}
}

// differentFrom are six codes that are not this one.
func differentFrom(code string) []string {
	var out []string
	for _, c := range []string{"000000", "111111", "222222", "333333", "444444", "555555", "666666"} {
		if c != code {
			out = append(out, c)
		}
	}
	return out[:6]
}

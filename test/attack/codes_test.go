package attack

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// try is one way to type a code: a door, and who stands before it.
type try func(code string) sut.Answer

// The doors at which the code of an authenticator app may be typed.
func (h *house) verifyDoor(t testing.TB, s sut.SignIn) try {
	return func(code string) sut.Answer { return h.post(t, s.Path("/verify"), s.Token, typed(code)) }
}

func (h *house) verifyPage(t testing.TB, s sut.SignIn) try {
	return func(code string) sut.Answer {
		return h.submit(t, pages{path: "/sign-in/code", signIn: s.Token, form: oneField("code", code)})
	}
}

func (h *house) confirmDoor(t testing.TB, s sut.SignIn) try {
	return func(code string) sut.Answer { return h.post(t, s.Path("/enrollment/confirm"), s.Token, typed(code)) }
}

func (h *house) confirmPage(t testing.TB, s sut.SignIn) try {
	return func(code string) sut.Answer {
		return h.submit(t, pages{path: "/sign-in/enroll/confirm", signIn: s.Token, form: oneField("code", code)})
	}
}

func (h *house) stepUpDoor(t testing.TB, session string) try {
	return func(code string) sut.Answer { return h.post(t, "/v1/session/step-up", session, proof(code)) }
}

// stepUpPage is a page that asks for password and code first. Once they were right it asks no more: a session serves
// for one try.
func (h *house) stepUpPage(t testing.TB, session string) try {
	return func(code string) sut.Answer {
		return h.submit(t, pages{path: "/account/recovery-codes", session: session, form: url.Values{"password": {sut.DemoPassword}, "code": {code}}})
	}
}

func (h *house) replaceDoor(t testing.TB, session string) try {
	return func(code string) sut.Answer {
		return h.post(t, "/v1/account/factors/totp/confirm", session, typed(code))
	}
}

func (h *house) replacePage(t testing.TB, session string) try {
	return func(code string) sut.Answer {
		return h.submit(t, pages{path: "/account/factors/totp/confirm", session: session, form: oneField("code", code)})
	}
}

// stale lets the proof of every session grow old, so that forms ask for it again.
func (h *house) stale() { h.Clock.Add(6 * time.Minute) }

// everyDoor are doors for one code of a person who has enrolled, over many sign-ins and sessions: as many tries as asked.
// It takes some minutes of the house's time.
func (p *person) everyDoor(t testing.TB, n int, before []sut.SignIn) []try {
	t.Helper()
	h := p.h
	var sessions []string
	for range 8 {
		sessions = append(sessions, p.signIn(t))
	}
	replacing := sessions[0]
	sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", replacing, nil))
	h.stale()
	var doors []try
	for _, s := range sessions[4:] {
		doors = append(doors, h.stepUpPage(t, s))
	}
	for i := range n / 5 {
		doors = append(doors, h.stepUpDoor(t, sessions[1+i%3]))
	}
	// Here it is another authenticator's, and wrong: one more of these, if they came first, would lock everybody out.
	for range 2 {
		doors = append(doors, h.replaceDoor(t, replacing), h.replacePage(t, replacing))
	}
	for i, s := range before {
		doors = append(doors, h.confirmDoor(t, s))
		if i%2 == 0 {
			doors = append(doors, h.confirmPage(t, s))
		}
	}
	signIns := p.beginMany(t, 20)
	for i := 0; len(doors) < n; i++ {
		s := signIns[i/2%len(signIns)]
		if i%2 == 0 {
			doors = append(doors, h.verifyDoor(t, s))
		} else {
			doors = append(doors, h.verifyPage(t, s))
		}
	}
	return doors
}

// refusals are what an attacker may hear instead of "come in": what is wrong with the code or with where they stand. Pages
// send them elsewhere.
var refusals = []string{wrongCode, locked, "conflict", "unauthenticated", "expired", fmt.Sprint(http.StatusSeeOther)}

// TestRule03OneRightCodeOpensOneDoor types one right code at two hundred doors at once (at fewer where a machine is slow), over both gateways: sign-ins by
// API and page, step-ups, confirmations of another authenticator, and sign-ins from before the factor was set up.
func TestRule03OneRightCodeOpensOneDoor(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	ways, crowd := []int{0, 1, -1}, 200
	for len(ways) > 0 {
		ahead := ways[0]
		p := h.add(t, contract.Internal, 1)[0]
		before := p.beginMany(t, 4)
		p.enrol(t)
		doors := p.everyDoor(t, crowd, before)
		// The codes of the step before, of this one and of the next are all right.
		code, accepted, repeated := h.appCode(t, p.key, ahead), h.counted(appVerifications, "accepted"), h.repeated()
		answers := make([]sut.Answer, len(doors))
		atOnce(len(doors), func(i int) { answers[i] = doors[i](spelt(code, i)) })
		got := tally(answers)
		if got[unavailable] > len(doors)/2 && got[in] <= 1 && crowd > 50 {
			crowd /= 2 // so many are too many for this machine: a smaller crowd shows more
		} else {
			ways = ways[1:]
			once(t, fmt.Sprintf("a code %d steps ahead at %d doors", ahead, len(doors)), got)
			only(t, "one code at many doors", got, append(refusals, in)...)
		}
		if n := h.counted(appVerifications, "accepted") - accepted; n > 1+h.repeated()-repeated {
			t.Errorf("totp-svc accepted the code %d times; %d calls were repeated", n, h.repeated()-repeated)
		}
		// Only what got in has a session.
		for _, a := range answers {
			if s := handedOut(a); s != "" && verdict(a) != in {
				t.Errorf("%s brings a session", a)
			}
		}
		// The owner is not kept out by it for longer than wrong codes do.
		h.Clock.Add(time.Minute)
		p.signIn(t)
	}
}

// TestRule03OneRightCodeAgainAndAgain has the same code arrive five times at once, before any of them is accepted, in many
// rounds: as many as are looked at together.
func TestRule03OneRightCodeAgainAndAgain(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	session := p.enrol(t)
	for range 40 {
		h.Clock.Add(sut.Step)
		code, answers := h.appCode(t, p.key, 0), make([]sut.Answer, 5)
		atOnce(len(answers), func(i int) { answers[i] = h.stepUpDoor(t, session)(code) })
		once(t, "five step-ups with one code", tally(answers))
		only(t, "five step-ups with one code", tally(answers), in, wrongCode, locked)
	}
}

// spelt writes a code in one of the ways that mean the same.
func spelt(code string, i int) string {
	switch i % 4 {
	case 1:
		return code[:3] + " " + code[3:]
	case 2:
		return code[:3] + "-" + code[3:]
	case 3:
		return " " + code + " "
	}
	return code
}

// TestRule03NoStepAtOrBelowTheLast tries steps in every order: what was accepted last, and all before it, are spent, at
// every door and after every restart.
func TestRule03NoStepAtOrBelowTheLast(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	type say struct {
		step int // of the app, seen from the start
		want string
	}
	for name, story := range map[string][]say{
		"at once":       {{0, in}, {0, wrongCode}, {1, in}, {1, wrongCode}},
		"backwards":     {{1, in}, {0, wrongCode}, {-1, wrongCode}, {1, wrongCode}},
		"from behind":   {{-1, in}, {-1, wrongCode}, {0, in}, {-1, wrongCode}, {1, in}, {0, wrongCode}},
		"outside":       {{-2, wrongCode}, {2, wrongCode}, {-20, wrongCode}, {0, in}},
		"far and wide":  {{2, wrongCode}, {1, in}, {2, wrongCode}, {-2, wrongCode}},
		"ahead is last": {{0, in}, {1, in}, {-1, wrongCode}, {0, wrongCode}, {1, wrongCode}},
	} {
		p := h.add(t, contract.Internal, 1)[0]
		p.enrol(t)
		h.Clock.Add(2 * sut.Step) // what confirmed the app lies behind
		for i, s := range story {
			signIn := p.begin(t)
			door := []try{h.verifyDoor(t, signIn), h.verifyPage(t, signIn)}[i%2]
			if got := verdict(door(h.appCode(t, p.key, s.step))); got != s.want {
				t.Errorf("%s: try %d, step %+d: %s; want %s", name, i+1, s.step, got, s.want)
			}
		}
	}
	p := h.add(t, contract.Internal, 1)[0]
	session := p.enrol(t)
	spent := h.appCode(t, p.key, 0)
	for range 2 { // as long as the code is in the window
		for what, door := range map[string]try{"sign-in": h.verifyDoor(t, p.begin(t)), "step-up": h.stepUpDoor(t, session)} {
			if got := verdict(door(spent)); got != wrongCode {
				t.Errorf("the code that confirmed the app, at the %s: %s", what, got)
			}
		}
		h.restart("totp 1", "totp 2", "gateway 1", "gateway 2")
		h.Clock.Add(sut.Step)
	}
	h.Clock.Add(sut.Step)
	ahead := h.appCode(t, p.key, 1)
	if got := verdict(h.stepUpDoor(t, session)(ahead)); got != in {
		t.Errorf("the next code, at a step-up: %s", got)
	}
	h.restart("totp 1", "totp 2")
	h.Clock.Add(2 * sut.Step) // it is the code of the step before by now
	if got := verdict(h.verifyDoor(t, p.begin(t))(ahead)); got != wrongCode {
		t.Errorf("the code of a step-up, later, at a sign-in: %s", got)
	}
	p.last = 0
	p.signIn(t)
}

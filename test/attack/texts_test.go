package attack

import (
	"net/http"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/test/sut"
)

// texted is a code that was sent, and the one door it is for.
type texted struct {
	of            *person
	purpose, code string
	door          try
}

func (c texted) String() string { return c.purpose + " of " + c.of.user }

// stepUpText has a code texted for a step-up.
func (p *person) stepUpText(t testing.TB, session string) string {
	t.Helper()
	seen := len(p.h.inbox.Messages(p.phone))
	sut.Expect(t, p.h.post(t, "/v1/session/step-up/send", session, nil), http.StatusOK, "")
	return p.h.inbox.CodeAfter(p.phone, seen)
}

// beginText gives address and password, and returns the code that was sent for it.
func (p *person) beginText(t testing.TB) (sut.SignIn, string) {
	t.Helper()
	seen := len(p.h.inbox.Messages(p.phone))
	s := p.begin(t)
	return s, p.h.inbox.CodeAfter(p.phone, seen)
}

// begunText begins the enrolment of a number, and returns the code that was sent to it.
func (p *person) begunText(t testing.TB) (sut.SignIn, string) {
	t.Helper()
	seen := len(p.h.inbox.Messages(p.phone))
	s := p.begin(t)
	sut.Want[sut.Enrollment](t, http.StatusCreated, p.h.post(t, s.Path("/enrollment"), s.Token, texts(p.phone)))
	return s, p.h.inbox.CodeAfter(p.phone, seen)
}

// TestRule05ATextedCodeOpensItsOwnDoor crosses every code with every door: other sign-ins of the same person, their
// step-up, the confirmation of a number, and the same of somebody else. Each opens one door, and only once.
func TestRule05ATextedCodeOpensItsOwnDoor(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Organization, 4)
	ada, bob := people[0], people[1]
	ada.enrol(t)
	bob.enrol(t)
	adas, bobs := ada.signIn(t), bob.signIn(t)
	var all []texted
	keep := func(of *person, purpose, code string, door try) { all = append(all, texted{of, purpose, code, door}) }
	for _, p := range people[2:] {
		s, code := p.begunText(t)
		keep(p, "confirmation", code, h.confirmDoor(t, s))
	}
	s, code := bob.beginText(t)
	keep(bob, "sign-in", code, h.verifyPage(t, s))
	s, code = ada.beginText(t)
	keep(ada, "sign-in", code, h.verifyDoor(t, s))
	h.Clock.Add(30 * time.Second) // the wait between two texts
	keep(bob, "step-up", bob.stepUpText(t, bobs), h.stepUpDoor(t, bobs))
	s, code = ada.beginText(t)
	keep(ada, "sign-in", code, h.verifyPage(t, s))
	h.Clock.Add(time.Minute)
	keep(ada, "step-up", ada.stepUpText(t, adas), h.stepUpDoor(t, adas))

	crossed := 0
	for i, from := range all {
		for j, to := range all {
			// Who has nothing in common but being texted is left out: codes live for five minutes, and five wrong ones close.
			if i == j || from.code == to.code || from.of != to.of && from.purpose != to.purpose {
				continue
			}
			v := verdict(to.door(from.code))
			if v == locked {
				h.Clock.Add(lockout.FirstWait)
				v = verdict(to.door(from.code))
			}
			if crossed++; v != wrongCode {
				t.Errorf("the code of the %s, at the %s: %s", from, to, v)
			}
		}
	}
	t.Logf("%d codes at doors that are not theirs", crossed)
	h.Clock.Add(lockout.FirstWait)
	for _, own := range all {
		if v := verdict(own.door(own.code)); v != in {
			t.Errorf("the code of the %s, at its own door: %s", own, v)
		}
		if v := verdict(own.door(own.code)); v == in {
			t.Errorf("the code of the %s, at its own door once more", own)
		}
	}
}

// TestRule05ANewTextKillsTheOldCode asks for another code, and waits: of a sign-in's codes the newest is good, for five
// minutes, once.
func TestRule05ANewTextKillsTheOldCode(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Organization, 1)[0]
	// A number that is to be confirmed.
	s, first := p.begunText(t)
	h.Clock.Add(30 * time.Second)
	seen := len(h.inbox.Messages(p.phone))
	sut.Want[sut.SignIn](t, http.StatusOK, h.post(t, s.Path("/resend"), s.Token, nil))
	second := h.inbox.CodeAfter(p.phone, seen)
	if v := verdict(h.confirmDoor(t, s)(first)); first != second && v != wrongCode {
		t.Errorf("the code before the last confirms the number: %s", v)
	}
	h.Clock.Add(5*time.Minute - time.Second)
	if a := h.post(t, s.Path("/enrollment/confirm"), s.Token, typed(second)); sut.Want[sut.SignIn](t, http.StatusOK, a).Status != "relogin" {
		t.Errorf("the last code, in its last second: %s", a)
	}

	// A sign-in.
	s, first = p.beginText(t)
	for range 3 {
		h.Clock.Add(2 * time.Minute)
		seen := len(h.inbox.Messages(p.phone))
		sut.Want[sut.SignIn](t, http.StatusOK, h.post(t, s.Path("/resend"), s.Token, nil))
		second = h.inbox.CodeAfter(p.phone, seen)
		for _, door := range []try{h.verifyDoor(t, s), h.verifyPage(t, s)} {
			if v := verdict(door(first)); first != second && v == in {
				t.Errorf("the code before the last: %s", v)
			}
		}
		first = second
		if v := verdict(h.verifyDoor(t, s)(differentFrom(second)[0])); !oneOf(v, wrongCode, locked) {
			t.Errorf("a wrong code: %s", v)
		}
	}
	h.Clock.Add(time.Minute) // longer than the locks of these wrong codes, shorter than the code's life
	if v := verdict(h.verifyDoor(t, s)(second)); v != in {
		t.Errorf("the last code: %s", v)
	}
	for _, door := range []try{h.verifyDoor(t, s), h.verifyPage(t, s)} {
		if v := verdict(door(second)); v == in {
			t.Errorf("the last code once more: %s", v)
		}
	}

	// Too late, at a sign-in and at a step-up.
	h.Clock.Add(time.Hour)
	s, late := p.beginText(t)
	h.Clock.Add(5 * time.Minute)
	if v := verdict(h.verifyDoor(t, s)(late)); v != "expired" {
		t.Errorf("a code after five minutes: %s", v)
	}
	h.Clock.Add(time.Hour)
	session := p.signIn(t)
	late = p.stepUpText(t, session)
	h.Clock.Add(5 * time.Minute)
	if v := verdict(h.stepUpDoor(t, session)(late)); v != "expired" {
		t.Errorf("a code after five minutes, at a step-up: %s", v)
	}
	p.signIn(t)
}

// TestRule05OneTextOpensOneDoor types one texted code a hundred times at once, over both gateways: at a sign-in, at a
// step-up, and where it confirms a number.
func TestRule05OneTextOpensOneDoor(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Organization, 1)[0]
	crowd := func(what, code string, doors ...try) {
		t.Helper()
		answers := make([]sut.Answer, 100)
		atOnce(len(answers), func(i int) { answers[i] = doors[i%len(doors)](spelt(code, i)) })
		got := tally(answers)
		once(t, what, got)
		only(t, what, got, append(refusals, in)...)
	}
	s, code := p.begunText(t)
	crowd("a number's first code", code, h.confirmDoor(t, s))
	s, code = p.beginText(t)
	crowd("a sign-in's code", code, h.verifyDoor(t, s), h.verifyPage(t, s))
	h.Clock.Add(time.Minute)
	session := p.signIn(t)
	crowd("a step-up's code", p.stepUpText(t, session), h.stepUpDoor(t, session))
	if got := h.counted(textVerifications, "right"); got < 3 {
		t.Errorf("%d codes were right, want some", got)
	}
}

// TestRule08TextsAreGuessedFiveTimes guesses a texted code from everywhere at once: more sign-ins, a step-up and more
// texts give no more than five guesses.
func TestRule08TextsAreGuessedFiveTimes(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Organization, 1)[0]
	p.enrol(t)
	session := p.signIn(t)
	h.stale()
	var doors []try
	codes := map[string]bool{p.stepUpText(t, session): true}
	for range 3 {
		h.Clock.Add(2 * time.Minute)
		s, code := p.beginText(t)
		codes[code] = true
		for range 20 {
			doors = append(doors, h.verifyDoor(t, s), h.verifyPage(t, s), h.stepUpDoor(t, session))
		}
	}
	var wrong []string
	for _, c := range []string{"100000", "200000", "300000", "400000", "500000", "600000", "700000", "800000"} {
		if !codes[c] {
			wrong = append(wrong, c)
		}
	}
	for round := 1; round <= 3; round++ {
		compared, repeated := h.counted(textVerifications, "right", "wrong"), h.repeated()
		got := h.guessAt(doors, wrong)
		only(t, "guesses at texts", got, append(refusals, "invalid_credentials")...)
		if n := h.counted(textVerifications, "right", "wrong") - compared - (h.repeated() - repeated); n > lockout.Round {
			t.Errorf("round %d: %d codes were compared; %v", round, n, got)
		}
		if n := h.failures(contract.SMSDispatcher, "phones", p); n != round*lockout.Round {
			t.Errorf("round %d: %d failures are counted; %v", round, n, got)
		}
		h.Clock.Add(lockout.Wait(round * lockout.Round))
	}
	h.Clock.Add(time.Hour) // unanswered texts make the next one wait
	p.signIn(t)
}

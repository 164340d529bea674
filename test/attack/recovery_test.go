package attack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/test/sut"
)

// TestRule06ARecoveryCodeOpensOneDoor uses one recovery code at forty sign-ins at once, in different spellings, and again
// afterwards: it is spent once, and its spelling does not matter.
func TestRule06ARecoveryCodeOpensOneDoor(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	session := p.enrol(t)
	codes := p.recoveryCodes(t, session)
	crowd := p.beginMany(t, 20)
	var doors []try
	for _, s := range crowd {
		doors = append(doors, h.recoverDoor(t, s), h.recoverPage(t, s))
	}
	answers := make([]sut.Answer, len(doors))
	atOnce(len(doors), func(i int) { answers[i] = doors[i](spellings(codes[0])[i%len(spellings(codes[0]))]) })
	// On a page, and in the API, the way goes on to a new factor: that is what it is to get in here.
	left := 0
	for _, s := range crowd {
		var now sut.SignIn
		if a := h.call(t, http.MethodGet, s.Path(""), s.Token, nil); a.Status == http.StatusOK && a.Decode(&now) == nil && now.Status == "enroll" {
			left++
		}
		if now.Session != nil {
			t.Errorf("a recovery code opens a session: %+v", now)
		}
	}
	got := tally(answers)
	if left > 1 || left == 0 && got[unavailable] == 0 {
		t.Errorf("one recovery code moved %d sign-ins on, want one: %v", left, got)
	}
	for _, a := range answers {
		if handedOut(a) != "" {
			t.Errorf("a recovery code opens a session: %s", a)
		}
	}
	// The old factor and the session of before are dead.
	if a := h.call(t, http.MethodGet, "/v1/session", session, nil); a.Status != http.StatusUnauthorized {
		t.Errorf("a session outlives the recovery: %s", a)
	}
	if s := p.begin(t); s.Status != "enroll" {
		t.Errorf("the old factor outlives the recovery: the next sign-in is %q", s.Status)
	}
}

// spellings are ways to write a recovery code that mean the same.
func spellings(code string) []string {
	flat := strings.ReplaceAll(code, "-", "")
	return []string{
		code, strings.ToLower(code), flat, strings.ToLower(flat), strings.ReplaceAll(code, "-", " "), " " + code + " ", "-" + code + "-",
		strings.Join(strings.Split(flat, ""), " "), strings.NewReplacer("0", "O", "1", "I").Replace(code), strings.NewReplacer("0", "o", "1", "l").Replace(code),
	}
}

// TestRule06AUsedRecoveryCodeIsUsed spends a code and tries it in thirty spellings, then tries the codes of other people,
// and those of before a new set was made. What is left of the set is the owner's.
func TestRule06AUsedRecoveryCodeIsUsed(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	p, mallory := people[0], people[1]
	theirs := mallory.recoveryCodes(t, mallory.enrol(t))
	session := p.enrol(t)
	old := p.recoveryCodes(t, session)
	codes := p.recoveryCodes(t, session)
	// refused tries a code that must be wrong. Before the fifth the lock is waited for.
	tries := 0
	refused := func(what, code string, want ...string) {
		t.Helper()
		if a := h.recoverDoor(t, p.begin(t))(code); !oneOf(verdict(a), want...) {
			t.Errorf("%s, %q: %s; want %q", what, code, a, want)
		}
		if tries++; tries%lockout.Round == 0 {
			h.Clock.Add(lockout.LongestWait)
		}
	}
	for _, c := range theirs[:2] {
		refused("a code of another", c, wrongCode)
	}
	for _, c := range old[:3] {
		refused("a code of the set before", c, wrongCode)
	}
	s := p.begin(t)
	if v := verdict(h.recoverPage(t, s)(codes[0])); v != "303" {
		t.Fatalf("the owner's own code: %s", v)
	}
	p.last = 0
	h.Clock.Add(sut.Step)
	p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
	sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.confirmDoor(t, s)(p.code(t))))
	tries = 0
	for _, c := range spellings(codes[0]) {
		refused("a used code", c, wrongCode)
	}
	before := h.counted(appRecoveries, "wrong", "accepted", "replayed")
	for _, c := range []string{
		"", codes[1][:18], codes[1] + "0", codes[1] + "\n", "\t" + codes[1], codes[1] + "\x00", strings.ReplaceAll(codes[1], "-", "\u2011"),
		strings.ReplaceAll(codes[1], "-", "\u00a0"), "\ufeff" + codes[1], codes[1][:4] + "\u200b" + codes[1][4:], strings.ReplaceAll(codes[1], "-", "_"),
		"Ａ" + codes[1][1:], codes[1] + codes[1], "U" + codes[1][1:], codes[1] + ";", "%20" + codes[1], codes[1] + "\u0301",
	} {
		if a := h.recoverDoor(t, p.begin(t))(c); !oneOf(verdict(a), noCode, "invalid_request") {
			t.Errorf("%q, which is no code: %s", c, a)
		}
	}
	if n := h.counted(appRecoveries, "wrong", "accepted", "replayed") - before; n != 0 {
		t.Errorf("what is no code was compared %d times", n)
	}
	again := p.recoveryCodes(t, p.signIn(t))
	refused("a code of the set before, unused", codes[1], wrongCode)
	if v := verdict(h.recoverDoor(t, p.begin(t))(spellings(again[0])[9])); v != in {
		t.Errorf("a code of the newest set in lower case: %s", v)
	}
}

// TestRule06RecoveryCodesAreGuessedFiveTimes guesses them from everywhere at once. Who has the password closes this door
// and no other.
func TestRule06RecoveryCodesAreGuessedFiveTimes(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	codes := p.recoveryCodes(t, p.enrol(t))
	for round := 1; round <= 3; round++ {
		var doors []try
		for _, s := range p.beginMany(t, 10) {
			for range 5 {
				doors = append(doors, h.recoverDoor(t, s), h.recoverPage(t, s))
			}
		}
		var wrong []string
		for i := range doors {
			wrong = append(wrong, fmt.Sprintf("%04d-0000-0000-%04d", round, i))
		}
		compared, repeated := h.counted(appRecoveries, "accepted", "wrong", "replayed"), h.repeated()
		got := h.guessAt(doors, wrong)
		only(t, "guesses at recovery codes", got, wrongCode, locked)
		if n := h.counted(appRecoveries, "accepted", "wrong", "replayed") - compared - (h.repeated() - repeated); n > lockout.Round {
			t.Errorf("round %d: %d recovery codes were compared; %v", round, n, got)
		}
		if n := h.failures(contract.TOTP, "recovery_sets", p); n != round*lockout.Round {
			t.Errorf("round %d: %d failures are counted; %v", round, n, got)
		}
		if v := verdict(h.recoverDoor(t, p.begin(t))(codes[0])); v != locked {
			t.Errorf("round %d: a right code: %s", round, v)
		}
		h.Clock.Add(sut.Step)
		if v := verdict(h.verifyDoor(t, p.begin(t))(h.appCode(t, p.key, 0))); v != in {
			t.Errorf("round %d: the app's code: %s", round, v)
		}
		h.Clock.Add(max(0, lockout.Wait(round*lockout.Round)-sut.Step) + time.Second)
	}
	if v := verdict(h.recoverDoor(t, p.begin(t))(codes[0])); v != in {
		t.Errorf("a right code after the locks: %s", v)
	}
}
